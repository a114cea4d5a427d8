"""Recipes: one TOML file for each reported run. An unknown key is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec

from device.tasks import TASKS, Task
from train.errors import RecipeError

FOLDER = Path(__file__).with_name("recipes")


class NetworkSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which network, and its knobs; ``kind`` is a name that ``train.networks.build`` knows."""

    kind: str = "lwbna"
    width: int = 32
    depth: int = 4
    growth: int = 1  # classifier only: channels multiply by this at each level
    narrowing_factor: int = 2
    narrowing_steps: int = 4
    stem: bool = False
    attention: bool = True  # this and the next: ablations of lwbna
    skips: str = "add"  # or "concatenate", "none"
    dropout: float = 0.3
    outputs: int = 0  # 0: as many as the task has classes


class DataSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Training sets, each repeated so many times an epoch; the best epoch is chosen on ``validate``.

    With a teacher, a set may have no labels; it cannot be one of those to validate on."""

    sets: dict[str, int]
    validate: tuple[str, ...] = ()  # default: every training set
    images: Annotated[int, msgspec.Meta(ge=0)] = 0  # of each set's training part, the same ones each time; 0: all
    left_out: tuple[int, int] | None = None  # (k, n): the k-th of n parts of that (from 0) is not trained on


class TrainingSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Loss and schedule."""

    epochs: int = 100
    patience: int = 40  # epochs without a better validation figure
    batch: int = 8
    precision: str = "float32"  # or "bfloat16": of the passes; weights, loss and validation stay float32
    optimizer: str = "adamw"  # or "adam"
    lr: float = 2e-3
    schedule: str = "cosine"  # or "constant"
    warmup_epochs: float = 2.0
    weight_decay: float = 1e-3
    dice_weight: float = 1.0
    ce_weight: float = 1.0
    label_smoothing: float = 0.0
    ema: float = 0.0  # decay a step of the averaged weights that are validated and kept; 0: none
    init: str = ""  # run (NAME or folder) whose weights, or encoder, start this network
    teacher: str = ""  # run whose probabilities are a target beside the labels, and where there are none
    teacher_weight: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5  # of it where there is a label


class AugmentSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Strengths: 0 is off, 1 as far as the cameras of these sets differ, more goes beyond them."""

    geometry: float = 1.0
    photometry: float = 1.0
    region: float = 1.0  # jitter of the region of interest
    flip_vertical: bool = False
    rotate_degrees: float = 20.0


Limit = Annotated[float, msgspec.Meta(ge=0)]


class GateSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What int8 may cost against float on the validation part; beyond it ``tenohira quantize`` writes no bundle.

    Shifts are means, and limits half-widths of the 95 % limits of agreement (Bland and Altman, Lancet 327:307,
    1986), of int8 minus float. A bound that a task has no figure for is not evaluated.
    """

    dice_drop: Limit = 0.002  # of each structure's mean Dice
    auc_drop: Limit = 0.003
    sensitivity_drop: Limit = 0.01  # at each operating point
    changed_verdicts: Limit = 0.005  # share of screenings, at each operating point; or one photograph's, if more
    vcdr_shift: Limit = 0.005  # a tenth and a half of 0.05, the ratio's mean error, which a repeat easily changes
    vcdr_limits: Limit = 0.025
    area_shift_percent: Limit = 1.0  # of the FAZ; graders and repeated scans differ by several percent
    area_limits_percent: Limit = 5.0


class QuantizationSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How ranges become those of a bundle, and fine-tuning in the device's int8 arithmetic before it is made
    (whose other settings are those above)."""

    calibration_images: Annotated[int, msgspec.Meta(ge=1)] = 128  # of the training parts, whose extremes they are
    clipping_images: Annotated[int, msgspec.Meta(ge=0)] = 0  # ranges are narrowed on so many; 0: the extremes stay
    correction_images: Annotated[int, msgspec.Meta(ge=0)] = 0  # int8 is corrected on so many; 0: it is not
    epochs: Annotated[int, msgspec.Meta(ge=0)] = 0  # of fine-tuning
    lr: float = 1e-4


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that decides a run, but for the data root and the machine."""

    name: str
    task: str
    size: int
    data: DataSpec
    network: NetworkSpec = NetworkSpec()
    training: TrainingSpec = TrainingSpec()
    augment: AugmentSpec = AugmentSpec()
    gate: GateSpec = GateSpec()
    quantization: QuantizationSpec = QuantizationSpec()
    seed: int = 1
    deterministic: bool = True
    note: str = ""

    @property
    def task_spec(self) -> Task:
        """The task's fixed properties."""
        return TASKS[self.task]

    @property
    def outputs(self) -> int:
        """Output channels of the network."""
        return self.network.outputs or len(self.task_spec.classes)


def read_recipe(name_or_path: str | Path) -> Recipe:
    """Read a shipped recipe by name, or any TOML file by path. Raises RecipeError, naming the offending key."""
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = FOLDER / f"{name_or_path}.toml"
    if not path.is_file():
        shipped = ", ".join(sorted(p.stem for p in FOLDER.glob("*.toml")))
        raise RecipeError(f"no recipe {str(name_or_path)!r}; shipped recipes: {shipped} (or give a .toml file)")
    try:
        recipe = msgspec.toml.decode(path.read_bytes(), type=Recipe)
    except msgspec.ValidationError as error:
        raise RecipeError(f"{path.name}: {error}; correct that line") from error
    except msgspec.DecodeError as error:
        raise RecipeError(f"{path.name} is not valid TOML: {error}; correct that line") from error
    if recipe.task not in TASKS:
        raise RecipeError(f"{path.name}: unknown task {recipe.task!r}; known: {', '.join(TASKS)}")
    for key, value, known in (
        ("training.optimizer", recipe.training.optimizer, ("adamw", "adam")),
        ("training.schedule", recipe.training.schedule, ("cosine", "constant")),
        ("network.skips", recipe.network.skips, ("add", "concatenate", "none")),
        ("training.precision", recipe.training.precision, ("float32", "bfloat16")),
    ):
        if value not in known:
            raise RecipeError(f"{path.name}: {key} is {value!r}; choose {' or '.join(known)}")
    return recipe


def as_dict(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain values, defaults included, for manifests and run folders."""
    return msgspec.to_builtins(recipe)
