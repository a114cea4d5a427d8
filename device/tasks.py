"""What each network is for: classes, modality and the quantities that are measured from its output."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """A task's fixed properties; input size and operating points are the bundle's."""

    name: str
    modality: str  # "fundus" or "octa"
    kind: str  # "segmentation" or "classification"
    classes: tuple[str, ...]  # one output channel each
    quantities: tuple[tuple[str, str], ...]  # (name, unit)
    # Pieces anywhere in the photograph, seen in tiles at its own resolution; else one structure, seen in a region.
    scattered: bool = False


TASKS: dict[str, Task] = {
    t.name: t
    for t in (
        Task("disc_finder", "fundus", "segmentation", ("disc",), (("disc_diameter", "px"),)),
        Task(
            "disc_cup",
            "fundus",
            "segmentation",
            ("disc", "cup"),
            (("vcdr", "1"), ("area_cdr", "1"), ("rim_disc_ratio", "1")),
        ),
        Task("glaucoma", "fundus", "classification", ("glaucoma",), (("glaucoma_probability", "1"),)),
        Task(
            "faz",
            "octa",
            "segmentation",
            ("faz",),
            (("area", "mm2"), ("perimeter", "mm"), ("circularity", "1"), ("axis_ratio", "1")),
        ),
        Task("haemorrhage", "fundus", "segmentation", ("haemorrhage",), (("area", "px"),), scattered=True),
        Task("vessels", "fundus", "segmentation", ("vessels",), (("area", "px"),), scattered=True),
    )
}

# The region of interest that these networks see: this many diameters of the disc (or FAZ) wide, centred on it.
ROI_DIAMETERS = {"disc_cup": 2.0, "glaucoma": 2.0, "faz": 2.5}
