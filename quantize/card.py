"""The model card that travels in the bundle, made from the manifest alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from device.bundle import GateRow, Manifest

PATENT = (
    "The network design (Sharma et al., Sci Rep 12:8508, 2022) is the subject of patent application "
    "WO2023062764A1; its authors state that commercial use needs a licence."
)
ONE_LOOK = "One look at each region; the device takes the mean of four (docs/results.md)."
FAILURES = "The worst cases of the test parts, and what went wrong in them: docs/failures.md."
ENDS = ("_low", "_high")  # of an interval, after a figure's name
LIMITS = (
    "A research screening aid: neither a diagnosis nor a cleared medical device.",
    "Few images, few cameras and few populations were seen in training; expect worse figures on others.",
    "Where a set carries no patient ids, its split is by image or by look-alike group, and figures may flatter.",
    "The device refuses what it cannot measure (ungradable) rather than to guess.",
)

# What was seen among the worst of the test parts: docs/failures.md, tenohira evaluate.
LIMITS_OF_TASK = {
    "disc_finder": ("In highly myopic eyes the crescent beside the disc is outlined with it.",),
    "disc_cup": (
        "Crescents and atrophy beside the disc are outlined with it, dark sectors of the rim left out.",
        "A cup whose edge shows by the bend of vessels and not by its pallor is drawn too small, by up to 0.19 of "
        "the vertical cup-to-disc ratio. On a camera and a population that were not in training it may be wrong "
        "by 0.2 to 0.3 on average (docs/paper.md).",
    ),
    "glaucoma": (
        "Misses glaucoma in blurred photographs and where the cup is of ordinary size; refers large healthy cups "
        "and tilted discs.",
    ),
    "faz": (
        "In the deep plexus, whose zone has no sharp edge, outlines differ from the experts' by several "
        "capillaries' width; there is no telling from these images which is right.",
    ),
    "haemorrhage": (
        "Nothing marked does not mean that nothing is there: small haemorrhages are missed, and microaneurysms "
        "are not looked for. Not everything marked is one: look at the outlines.",
        "In four of five photographs without retinopathy it marks something, mostly one to three places: the "
        "fovea, the dark edge of the field, shadows beside the disc (docs/results.md).",
        "Trained on photographs of one camera (50 degrees), all of eyes with diabetic retinopathy.",
    ),
}


def model_card(manifest: Manifest) -> str:
    """MODEL_CARD.md for a manifest whose ``data`` has ``sets`` (name -> terms, citation, images by part),
    ``start`` where training did not start from random weights, and ``earlier`` sets of the runs before."""
    m = manifest
    sets = m.data["sets"]
    columns = sorted({name for figures in m.metrics.values() for name in figures if not name.endswith(ENDS)})
    sections = [
        f"# {m.name} {m.version}",
        f"Int8 {m.kind} network for {', '.join(m.classes)} in {m.modality} images. {m.licence}",
        "## Intended use",
        m.intended_use,
        "## Network",
        table(
            ("item", "value"),
            [
                ("input", f"{' x '.join(map(str, m.input.shape))} int8, pixel - 128"),
                (
                    "output",
                    f"{' x '.join(map(str, m.output.shape))} int8 logits, scale {m.output.scale:.6g}, "
                    f"zero point {m.output.zero_point}",
                ),
                ("operators, all int8", ", ".join(f"{name} {count}" for name, count in m.operators.items())),
                ("recipe", m.recipe.get("name", "")),
                ("made with", ", ".join(f"{name} {version}" for name, version in m.tools.items())),
                ("created", m.created),
            ],
        ),
        "## Training data",
        table(
            ("set", "terms", "train / val / test images", "source"),
            [
                (name, s["terms"], " / ".join(map(str, s["images"].values())), s["citation"])
                for name, s in sets.items()
            ]
            + [
                (name, s["terms"], f"through {s['run']}", s["citation"])
                for name, s in m.data.get("earlier", {}).items()
            ],
        ),
        *([f"Training started from {m.data['start']}."] if "start" in m.data else []),
        "## Figures of the network alone, float against int8 [95 % interval over patients, where they are known]",
        *([ONE_LOOK] if m.kind == "classification" else []),
        table(
            ("part", *columns),
            [(part, *(_figure(figures, name) for name in columns)) for part, figures in m.metrics.items()],
        )
        if m.metrics
        else "Not measured.",
    ]
    if m.gate:
        sections += ["## Clinical gate, int8 against float, validation part", gate_table(m.gate)]
    if m.operating_points:
        sections += [
            "## Operating points",
            table(
                ("name", "quantity", "threshold", "sensitivity", "specificity", "measured on"),
                [
                    (
                        p.name,
                        p.quantity,
                        f"{p.threshold:.4f}",
                        f"{p.sensitivity:.3f}",
                        f"{p.specificity:.3f}",
                        p.measured_on,
                    )
                    for p in m.operating_points
                ],
            ),
        ]
    limits = (*LIMITS, *LIMITS_OF_TASK.get(m.task, ()))
    sections += ["## Limits", "\n".join(f"* {line}" for line in limits), FAILURES, "## Patent", PATENT]
    return "\n\n".join(sections) + "\n"


def _figure(figures: dict[str, float], name: str) -> str:
    """One of them, with the ends of its interval where they are known; empty where it was not measured."""
    if name not in figures:
        return ""
    if name == "images":
        return f"{figures[name]:.0f}"
    ends = [f"{figures[name + end]:.4f}" for end in ENDS if name + end in figures]
    return f"{figures[name]:.4f}" + (f" [{', '.join(ends)}]" if ends else "")


def gate_table(rows: Iterable[GateRow]) -> str:
    """The clinical gate as a Markdown table."""
    return table(
        ("bound", "of", "images", "float", "int8", "value", "limit", "passed"),
        [
            (
                row.bound,
                row.of,
                str(row.images),
                *("" if v is None else f"{v:.4f}" for v in (row.floating, row.int8)),
                f"{row.value:.4f}",
                f"{row.limit:g}",
                "yes" if row.passed else "no",
            )
            for row in rows
        ],
    )


def licence(terms: dict[str, str]) -> str:
    """What the weights may be used for, from the terms of the sets that they were trained on."""
    restricted = [name for name, text in terms.items() if "research only" in text or "-NC" in text]
    if restricted:
        return f"For research use only: trained on {', '.join(restricted)}, whose terms allow no other."
    return f"CC BY 4.0: cite {', '.join(terms)}."


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in lines)
