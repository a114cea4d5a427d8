"""What is compared: protocols, networks, and the jobs (one training and its test part) of each study.

Within a study every network has the same data, augmentation, loss, schedule and number of training images; no
setting was tuned for one of them. Jobs are in order of value and seed by seed, so that a table that was cut short
holds as much of every network.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from msgspec import structs

from train.datasets.splits import read_split
from train.recipe import AugmentSpec, DataSpec, NetworkSpec, Recipe, TrainingSpec


@dataclass(frozen=True)
class Protocol:
    """What a machine can afford: input side in pixels, training images a run sees, precision of the passes."""

    size: int
    images_seen: int
    precision: str


PROTOCOLS = {
    "cpu": Protocol(96, 1600, "float32"),  # 25 hours of one or two cores for 144 of its 191 trainings
    "gpu": Protocol(320, 24000, "bfloat16"),  # the paper's input
}

PAPER = NetworkSpec(kind="lwbna", width=128, dropout=0.3)
SMALL = NetworkSpec(kind="lwbna", width=32, stem=True, dropout=0.1)  # that of the shipped faz and haemorrhage
LITE0_UNET = NetworkSpec(kind="efficientnet_lite0_unet")
NARROWED_LITE0 = NetworkSpec(kind="narrowed_lite0", width=32, dropout=0.1)
NETWORKS = {
    "LWBNA-Unet": PAPER,
    "U-Net": NetworkSpec(kind="unet"),
    "DeepLabV3+": NetworkSpec(kind="deeplabv3plus"),
    "width 32, stem": SMALL,
}
_CONCATENATED = structs.replace(SMALL, skips="concatenate")  # best of the ablations on the validation part
_WIDTH_32 = NetworkSpec(kind="lwbna", width=32, dropout=0.1)
ABLATIONS = {  # at a width at which three seeds of each are affordable
    "width 32": _WIDTH_32,
    "width 32, no attention": structs.replace(_WIDTH_32, attention=False),
    "width 32, mid block not narrowed": structs.replace(_WIDTH_32, narrowing_factor=1),
    "width 32, skips concatenated": structs.replace(_WIDTH_32, skips="concatenate"),
    "width 32, no skips": structs.replace(_WIDTH_32, skips="none"),
    "width 16": structs.replace(_WIDTH_32, width=16),
    "width 16, stem": structs.replace(SMALL, width=16),
    "width 48, stem": structs.replace(SMALL, width=48),
    "width 32, stem, skips concatenated": _CONCATENATED,
}
# As shipped; and with channels that double at each level, where narrowing has more to take away.
_NARROWED = NetworkSpec(kind="narrow_classifier", width=32, narrowing_steps=3, stem=True, dropout=0.2)
_DOUBLING = structs.replace(_NARROWED, growth=2)
CLASSIFIERS = {
    "narrowed": _NARROWED,
    "not narrowed": structs.replace(_NARROWED, narrowing_factor=1),
    "doubling, narrowed": _DOUBLING,
    "doubling, not narrowed": structs.replace(_DOUBLING, narrowing_factor=1),
    "EfficientNet-B0": NetworkSpec(kind="efficientnet_b0", dropout=0.2),  # MobileNet's blocks
    "EfficientNet-Lite0, pretrained": NetworkSpec(kind="efficientnet_lite0", dropout=0.2),
    "narrowed Lite0, pretrained": NetworkSpec(
        kind="narrowed_lite0_classifier", width=64, narrowing_steps=3, dropout=0.2
    ),
}


@dataclass(frozen=True)
class Data:
    """A task with its sets, and how it is augmented."""

    task: str
    sets: dict[str, int]
    augment: AugmentSpec
    rounds: int = 1  # as many times the protocol's images are seen: small networks can afford it


FAZ = Data("faz", {"octa_faz": 1}, AugmentSpec(photometry=0.4, flip_vertical=True, rotate_degrees=180.0))
DISC_CUP = Data("disc_cup", {"refuge_crops": 1, "drishti_gs1": 3}, AugmentSpec())
_TILES = AugmentSpec(photometry=0.3, flip_vertical=True, rotate_degrees=180.0)
# Tiles of a photograph in an epoch; one round teaches nothing.
HAEMORRHAGE = Data("haemorrhage", {"idrid_a": 8}, _TILES, rounds=6)
VESSELS = Data("vessels", {"chase_db1": 20}, _TILES)
GLAUCOMA = Data(
    "glaucoma", {"acrima": 1, "refuge_crops": 1, "airogs_subset": 2}, AugmentSpec(flip_vertical=True), rounds=4
)
# As the shipped disc_cup is trained; IDRiD and PALM have no outlines of the cup.
CAMERAS = Data(
    "disc_cup", {"refuge_crops": 1, "drishti_gs1": 3, "idrid_a": 1, "palm_disc": 1}, AugmentSpec(), rounds=4
)
OUTLINED = ("refuge_crops", "drishti_gs1")  # disc and cup: validation is on these
SEEDS = (1, 2, 3)


@dataclass(frozen=True)
class Job:
    """One training and its evaluation: a cell of a study's table."""

    protocol: str
    study: str
    network: str
    seed: int
    recipe: Recipe
    unseen: str = ""  # the set whose test part is measured, where that is none of the recipe's

    @property
    def test_sets(self) -> tuple[str, ...]:
        """The sets whose test parts are measured."""
        return (self.unseen,) if self.unseen else tuple(self.recipe.data.sets)

    @property
    def name(self) -> str:
        """Of its run folder and its record; also the recipe's name."""
        return self.recipe.name


def jobs(protocol: str) -> list[Job]:
    """Every job of a protocol, those of most value first."""
    return [job for study in STUDIES for job in _jobs(protocol, study)]


TAUGHT = "width 32, stem, taught"
# What is compared, and on what; the order is that of value.
STUDIES: dict[str, tuple[dict[str, NetworkSpec], Data]] = {
    "faz": (NETWORKS, FAZ),
    "disc_cup": (NETWORKS, DISC_CUP),
    "classifiers": (CLASSIFIERS, GLAUCOMA),
    "unseen_sets": ({"width 32, stem": SMALL}, CAMERAS),  # one left out at a time
    "unseen_sets_pretrained": ({"EfficientNet-Lite0 U-Net, pretrained": LITE0_UNET}, CAMERAS),
    "unseen_sets_narrowed_lite0": ({"narrowed Lite0, pretrained": NARROWED_LITE0}, CAMERAS),
    "longer": (  # still the cheapest by far
        {"width 32, stem, longer": SMALL, "width 32, stem, skips concatenated, longer": _CONCATENATED},
        replace(FAZ, rounds=6),
    ),
    "taught_faz": ({TAUGHT: SMALL}, FAZ),  # by the published network, with the same seed and images
    "taught_disc_cup": ({TAUGHT: SMALL}, DISC_CUP),
    "ablations": (ABLATIONS, FAZ),
    "haemorrhage": (NETWORKS, HAEMORRHAGE),
    "vessels": (NETWORKS, VESSELS),
    "few_images": (NETWORKS, FAZ),  # the whole part is study faz
    "classical": ({"threshold, level set": NetworkSpec(kind="threshold")}, FAZ),
    "observers": ({"second observer": NetworkSpec(kind="observer")}, VESSELS),
}
TEACHERS = {"taught_faz": "faz", "taught_disc_cup": "disc_cup"}  # the study whose LWBNA-Unet teaches
UNSEEN = tuple(study for study in STUDIES if study.startswith("unseen_sets"))
UNTRAINED = ("classical", "observers")  # no weights, so one seed
FEW = (8, 16, 32)


def _jobs(protocol: str, study: str) -> Iterator[Job]:
    networks, data = STUDIES[study]
    if study in UNSEEN:
        (spec,) = networks.values()
        yield from _unseen(protocol, study, spec)
        return
    for seed in SEEDS[:1] if study in UNTRAINED else SEEDS:
        for images in FEW if study == "few_images" else (0,):
            for network, spec in networks.items():
                yield _job(protocol, study, network, spec, data, seed, images)


def _unseen(protocol: str, study: str, spec: NetworkSpec) -> Iterator[Job]:
    """Trained on all sets, and on all but one, which is then measured. All see as many images."""
    for seed in SEEDS:
        for left_out in ("", *CAMERAS.sets):
            sets = {name: times for name, times in CAMERAS.sets.items() if name != left_out}
            validate = tuple(s for s in OUTLINED if s in sets)
            name = f"without {left_out}" if left_out else "all sets"
            job = _job(protocol, study, name, spec, replace(CAMERAS, sets=sets), seed)
            of_data = structs.replace(job.recipe.data, validate=validate)
            yield replace(job, recipe=structs.replace(job.recipe, data=of_data), unseen=left_out)


def _job(
    protocol: str, study: str, network: str, spec: NetworkSpec, data: Data, seed: int, images: int = 0
) -> Job:
    p = PROTOCOLS[protocol]
    sets = data.sets
    if images:  # repeated, so that an epoch is as long as with all: the best is chosen among as many epochs
        all_of_them = training_images(DataSpec(sets=data.sets))
        sets = {name: times * round(all_of_them / images) for name, times in data.sets.items()}
    of_data = DataSpec(sets=sets, images=images)
    epochs = max(1, round(p.images_seen * data.rounds / training_images(of_data)))
    recipe = Recipe(
        name=_name(protocol, study, f"{network}, {images} images" if images else network, seed),
        task=data.task,
        size=p.size,
        data=of_data,
        network=spec,
        training=TrainingSpec(
            epochs=epochs,
            patience=epochs,
            batch=4,
            precision=p.precision,
            lr=1e-3,
            weight_decay=1e-2,
            teacher=f"paper/{_name(protocol, TEACHERS[study], 'LWBNA-Unet', seed)}" if study in TEACHERS else "",
        ),
        augment=data.augment,
        seed=seed,
    )
    return Job(protocol, study, network, seed, recipe)


def _name(protocol: str, study: str, network: str, seed: int) -> str:
    slug = "".join(c if c.isalnum() else "-" for c in network.lower().replace(",", "").replace("+", "plus"))
    return f"{protocol}-{study}-{slug}-seed{seed}"


def training_images(data: DataSpec) -> int:
    """Images of an epoch: those of each set's training part, as often as the recipe repeats them."""
    return sum(times * _distinct(name, data) for name, times in data.sets.items())


def distinct_images(data: DataSpec) -> int:
    """The same without repeats: how many images there are to learn from."""
    return sum(_distinct(name, data) for name in data.sets)


def _distinct(name: str, data: DataSpec) -> int:
    there = sum(part == "train" for _, part in read_split(name).values())
    return min(data.images or there, there)
