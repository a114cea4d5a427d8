"""Tables and plots of the jobs that were measured, a section a study."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from msgspec import structs

from train import metrics
from train.describe import size_of
from train.evaluation import Case, pairs
from train.networks import build
from train.paper import plots
from train.paper.runner import Record
from train.paper.seeds import Done, Figure, by_image, networks, of_study
from train.paper.studies import ABLATIONS, NETWORKS, PROTOCOLS, STUDIES, TAUGHT, TEACHERS, UNSEEN
from train.recipe import NetworkSpec
from train.report import QUANTITIES, STRUCTURES, Row, between, markdown, median_of_defined, write_csv

REFERENCE = "U-Net"  # differences are to it ...
PLAIN = "width 32"  # ... and in the ablations to this
RIVALS = ("faz", "disc_cup", "haemorrhage", "vessels")  # of these, each network is held against each other
BESIDE = {  # stand in the tables of what they are held against
    "faz": ("longer", "classical"),
    "vessels": ("observers",),
}


def write_report(out: Path, protocol: str, done: Done) -> str:
    """Write report.md, its tables as CSV and its plots into ``out``. Returns the report."""
    out.mkdir(parents=True, exist_ok=True)
    sections = [f"# The paper's claims by the {protocol} protocol\n", _protocol(protocol, done)]
    tables = {"size": size_rows(PROTOCOLS[protocol].size)}
    for study in (s for s in STUDIES if s not in itertools.chain(TEACHERS, *BESIDE.values())):
        if not (found := of_study(done, study, *BESIDE.get(study, ()))):
            continue
        if study == "classifiers":
            tables[study] = classifier_rows(found)
            continue
        if study in UNSEEN:
            tables[study] = unseen_rows(found)
            tables[f"{study} agreement"] = unseen_agreement_rows(found)
            continue
        tables[study] = accuracy_rows(found, PLAIN if study == "ablations" else REFERENCE)
        if study in RIVALS:
            tables[f"{study} differences"] = difference_rows(of_study(done, study))
        if study in ("faz", "disc_cup"):
            tables[f"{study} agreement"] = agreement_rows(found)
    tables["taught"] = taught_rows(done)
    tables["pretrained"] = pretrained_rows(done)
    for name, rows in tables.items():
        if not rows:  # of studies that were cut short, or not begun
            continue
        write_csv(out / f"{name.replace(' ', '_')}.csv", rows)
        sections.append(f"## {name}\n\n{markdown(rows)}")
    plots.accuracy(out, done)
    plots.few_images(out, done)
    plots.frontier(out, done, PROTOCOLS[protocol].size)
    plots.agreement(out, done)
    text = "\n".join(sections)
    (out / "report.md").write_text(text, encoding="utf-8")
    return text


def size_rows(side: int) -> list[Row]:
    """Parameters and multiply-accumulates of every network with one output, here and at the paper's 320 pixels."""
    specs: dict[str, NetworkSpec] = {**NETWORKS, **ABLATIONS}
    sizes = {name: (size_of(build(s, 1), 320), size_of(build(s, 1), side)) for name, s in specs.items()}
    of_reference = sizes[REFERENCE][0]
    return [
        {
            "network": name,
            "parameters": f"{full.trainable:,}",
            f"of {REFERENCE}'s": _share(full.trainable, of_reference.trainable),
            "GMAC at 320": f"{full.macs / 1e9:.3f}",
            f"of {REFERENCE}'s ": _share(full.macs, of_reference.macs),
            f"GMAC at {side}": f"{small.macs / 1e9:.3f}",
        }
        for name, (full, small) in sizes.items()
    ]


def accuracy_rows(done: Done, reference: str) -> list[Row]:
    """Overlap and boundary of each network and structure, spread over seeds, and the paired difference."""
    rows = []
    for structure, words in STRUCTURES.items():
        figure = f"dice_{structure}"
        for images in sorted({j.recipe.data.images for j, _ in done}, key=lambda n: n or 10**9):
            of_count = [(j, r) for j, r in done if j.recipe.data.images == images]
            plain = by_image(of_count, reference, figure)
            for name in networks(of_count):
                found = by_image(of_count, name, figure)
                if not found:
                    continue
                seeds, dice = found.of_seeds, found.of_images
                row = {"network": name, "structure": words}
                if any(j.recipe.data.images for j, _ in done):
                    row["training images"] = str(images or "all")
                row |= {
                    "seeds": str(len(seeds)),
                    "images": str(len(dice)),
                    "Dice (mean ± SD over images)": f"{dice.mean():.4f} ± {dice.std():.4f}",
                    "95 % CI": between(found.interval()),
                    "lowest and highest seed": f"{seeds.min():.4f}, {seeds.max():.4f}" if len(seeds) > 1 else "",
                    f"Dice less {reference}'s [95 % CI]": _difference(found, plain, name == reference),
                    "HD95, px (median)": median_of_defined(by_image(of_count, name, f"hd95_{structure}").values),
                    "boundary F1": f"{by_image(of_count, name, f'bf1_{structure}').mean:.3f}",
                }
                if precision := by_image(of_count, name, f"ap_{structure}"):
                    row["average precision of pixels"] = f"{np.nanmean(precision.values):.3f}"
                rows.append(row)
    return rows


def difference_rows(done: Done) -> list[Row]:
    """Each network less each later one, image by image: Dice, and the average precision of pixels where it is."""
    rows = []
    for structure, words in STRUCTURES.items():
        for one, other in itertools.combinations(networks(done), 2):
            dice, precision = (
                _difference(*(by_image(done, name, f"{figure}_{structure}") for name in (one, other)))
                for figure in ("dice", "ap")
            )
            if dice:
                row = {"network": one, "less": other, "structure": words, "Dice [95 % CI]": dice}
                rows.append(row | ({"average precision of pixels [95 % CI]": precision} if precision else {}))
    return rows


def taught_rows(done: Done) -> list[Row]:
    """Dice of the small network with a teacher and without, and of the teacher: means over seeds."""
    rows = []
    for study, alone in TEACHERS.items():
        found = of_study(done, study, alone)
        for structure, words in STRUCTURES.items():
            taught, untaught, teacher = (
                by_image(found, name, f"dice_{structure}") for name in (TAUGHT, "width 32, stem", "LWBNA-Unet")
            )
            if not (taught and untaught and teacher):
                continue
            rows.append(
                {
                    "structure": words,
                    "seeds": f"{len(taught.values)}, {len(untaught.values)}",
                    "images": str(len(taught.whose)),
                    "Dice of the teacher": f"{teacher.mean:.4f}",
                    "taught": f"{taught.mean:.4f}",
                    "by labels alone": f"{untaught.mean:.4f}",
                    "difference [95 % CI]": _difference(taught, untaught),
                }
            )
    return rows


def unseen_rows(done: Done) -> list[Row]:
    """Dice on each set's test part, of networks that were trained on that set too and of those that were not."""
    rows = []
    for name, of_set in _left_out(done):
        for structure, words in STRUCTURES.items():
            known, new = (by_image(of_set, n, f"dice_{structure}") for n in ("all sets", f"without {name}"))
            if not (known and new):
                continue
            rows.append(
                {
                    "set": name,
                    "structure": words,
                    "seeds": f"{len(known.values)}, {len(new.values)}",
                    "images": str(len(known.whose)),
                    "Dice, trained on it too": f"{known.mean:.4f}",
                    "Dice, never seen": f"{new.mean:.4f}",
                    "difference [95 % CI]": _difference(new, known),
                    "worst image, never seen": f"{new.of_images.min():.3f}",
                }
            )
    return rows


def pretrained_rows(done: Done) -> list[Row]:
    """Dice of networks that started from ImageNet's weights less that of width 32 from random ones: on each set's
    test part, of networks that were trained on that set too and of those that were not."""
    rows = []
    random = dict(_left_out(of_study(done, UNSEEN[0])))
    for study in UNSEEN[1:]:
        (network,) = STUDIES[study][0]
        for name, of_set in _left_out(of_study(done, study)):
            for (structure, words), how in itertools.product(STRUCTURES.items(), ("all sets", f"without {name}")):
                one, other = (by_image(d, how, f"dice_{structure}") for d in (of_set, random.get(name, [])))
                if not (one and other):
                    continue
                rows.append(
                    {
                        "network": network,
                        "set": name,
                        "structure": words,
                        "trained on": how,
                        "seeds": f"{len(one.values)}, {len(other.values)}",
                        "images": str(len(one.whose)),
                        "Dice": f"{one.mean:.4f}",
                        "width 32, stem": f"{other.mean:.4f}",
                        "difference [95 % CI]": _difference(one, other),
                    }
                )
    return rows


def unseen_agreement_rows(done: Done) -> list[Row]:
    """What is measured on each set's test part against the manual outlines, by networks that saw that set and that
    did not."""
    return [{"set": name, **row} for name, of_set in _left_out(done) for row in agreement_rows(of_set)]


def classifier_rows(done: Done) -> list[Row]:
    """AUC of each classifier by set: means over seeds, and the paired difference to the narrowed one."""
    rows = []
    for name in dict.fromkeys(c.set for _, r in done for c in r.cases):
        of_set = [(j, _only(r, name)) for j, r in done]
        label = by_image(of_set, of_set[0][0].network, "label")
        labels, whose = label.values[0], label.whose
        scores = {network: by_image(of_set, network, "score").values for network in networks(of_set)}
        for network, of_network in scores.items():
            plain = scores["narrowed"]

            def difference(label: metrics.Floats, *both: metrics.Floats, n: int = len(of_network)) -> float:
                return _mean_auc(label, *both[:n]) - _mean_auc(label, *both[n:])

            paired = (
                difference(labels, *of_network, *plain),
                metrics.interval(difference, labels, *of_network, *plain, strata=labels, groups=whose),
            )
            spec = next(r.recipe for j, r in done if j.network == network)
            size = size_of(build(spec.network, 1), spec.size)
            at_95 = np.mean([metrics.sensitivity_at(labels, s, 0.95) for s in of_network])
            rows.append(
                {
                    "network": network,
                    "set": name,
                    "parameters": f"{size.trainable:,}",
                    "GMAC": f"{size.macs / 1e9:.3f}",
                    "seeds": str(len(of_network)),
                    "images (glaucoma)": f"{len(labels)} ({int(labels.sum())})",
                    "AUC": f"{_mean_auc(labels, *of_network):.4f}",
                    "95 % CI": between(
                        metrics.interval(_mean_auc, labels, *of_network, strata=labels, groups=whose)
                    ),
                    "sensitivity at 95 % specificity": f"{at_95:.3f}",
                    "AUC less the narrowed one's [95 % CI]": (
                        "" if network == "narrowed" else f"{paired[0]:+.4f} {between(paired[1])}"
                    ),
                }
            )
    return rows


def agreement_rows(done: Done) -> list[Row]:
    """Error, Bland-Altman bias with limits, Pearson's r against the manual outlines: each the mean over seeds."""
    rows = []
    for quantity, words in QUANTITIES.items():
        for name in networks(done):
            figures = [
                _agreement(r.cases, quantity)
                for j, r in done
                if j.network == name and len(pairs(r.cases, quantity)[0]) > 2
            ]
            if not figures:
                continue
            missing, error, bias, low, high, r = np.mean(figures, axis=0)
            digits = 4 if quantity == "vcdr" else 0
            rows.append(
                {
                    "network": name,
                    "quantity": words,
                    "not measured": f"{missing:.3g}",
                    "mean absolute error": f"{error:.{digits}f}",
                    "bias [95 % limits]": f"{bias:.{digits}f} {between((low, high), digits)}",
                    "Pearson r": f"{r:.3f}",
                }
            )
    return rows


def _left_out(done: Done) -> Iterator[tuple[str, Done]]:
    """Each set that some jobs left out, with those jobs and the ones of all sets, measured on that set alone."""
    for name in dict.fromkeys(j.unseen for j, _ in done if j.unseen):
        yield name, [(j, _only(r, name)) for j, r in done if j.unseen in ("", name)]


def _only(record: Record, name: str) -> Record:
    """The record's cases of one set."""
    return structs.replace(record, test=[v for v in record.test if v.set == name])


def _mean_auc(label: metrics.Floats, *scores: metrics.Floats) -> float:
    return float(np.mean([metrics.auc(label, s) for s in scores]))


def _agreement(cases: Sequence[Case], quantity: str) -> tuple[float, ...]:
    measured, reference = pairs(cases, quantity)
    missing = sum(bool(np.isnan(c.values.get(quantity, 0.0))) for c in cases)
    error = float(np.abs(measured - reference).mean())
    return (missing, error, *metrics.bland_altman(measured, reference), metrics.pearson(measured, reference))


def _difference(one: Figure, other: Figure, itself: bool = False) -> str:
    """One less the other, image by image; empty where it is the same network, or one is missing."""
    if itself or not (one and other):
        return ""
    difference = one.less(other)
    return f"{difference.mean:+.4f} {between(difference.interval())}"


def _protocol(protocol: str, done: Done) -> str:
    p = PROTOCOLS[protocol]
    machines = ", ".join(sorted({f"{r.machine}, torch {r.torch}" for _, r in done if r.epochs}))
    return (
        f"{p.size} x {p.size} pixels, {p.images_seen:,} training images seen a run, {p.precision}; "
        f"{len(done)} trainings, {sum(r.seconds for _, r in done) / 60:.0f} min of training on {machines}.\n"
    )


def _share(part: int, whole: int) -> str:
    if part == whole:
        return "1"
    return f"1/{whole / part:.1f}" if part < whole else f"{part / whole:.2f} times"
