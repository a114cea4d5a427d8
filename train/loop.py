"""The training loop: one for segmentation and classification, for one process or many.

Exact resume: an example's randomness depends on (seed, epoch, index) alone, and the checkpoint of each epoch
holds weights, averages, optimizer and torch's generators (the GPU's too, which draws what dropout leaves out
there); a killed run continues as if nothing had happened.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress, TimeElapsedColumn, TimeRemainingColumn
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset

from train import tiles
from train.augment import example
from train.datasets import Sample, load_split
from train.datasets.splits import fold_of
from train.errors import DataError, RunError
from train.inputs import Prepared, prepare
from train.losses import UNKNOWN, classification_loss, enlarge, segmentation_loss, taught
from train.networks import build
from train.recipe import DataSpec, Recipe
from train.run import Run, find_run, load_run

Report = Callable[[str], None]


class Examples(Dataset):
    """Prepared samples, repeated as the recipe says; item i of an epoch has a generator of its own."""

    def __init__(self, recipe: Recipe, prepared: Sequence[Prepared], augment: bool) -> None:
        self.recipe, self.prepared, self.augment = recipe, prepared, augment
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.prepared)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng((self.recipe.seed, self.epoch, i)) if self.augment else None
        p = self.prepared[i]
        x, y = example(self.recipe, p, rng)
        image = torch.from_numpy(x).permute(2, 0, 1)
        if self.recipe.task_spec.kind == "classification":
            return image, torch.tensor(float(p.sample.labels.get(self.recipe.task, UNKNOWN)))
        target = torch.from_numpy(y).permute(2, 0, 1).to(torch.int16)
        for c, name in enumerate(self.recipe.task_spec.classes):
            if name not in p.masks:  # nobody outlined it here: the loss leaves it out
                target[c] = UNKNOWN
        return image, target


@dataclass
class State:
    """What a checkpoint holds beside tensors."""

    epoch: int = 0  # epochs done
    best: float = -math.inf
    best_epoch: int = -1
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Machine:
    """Where it runs: device, and this process's place among ``world`` (torchrun sets the variables)."""

    device: torch.device
    rank: int = 0
    world: int = 1

    @classmethod
    def here(cls, device: str | None = None) -> Machine:
        """The GPU where there is one, else the CPU; joins torchrun's process group where started by it."""
        rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        cuda = device != "cpu" and torch.cuda.is_available()
        if world > 1 and not torch.distributed.is_initialized():
            torch.distributed.init_process_group("nccl" if cuda else "gloo")
        local = int(os.environ.get("LOCAL_RANK", "0"))
        return cls(torch.device(device or (f"cuda:{local}" if cuda else "cpu")), rank, world)

    def agreed(self, figures: dict[str, float]) -> dict[str, float]:
        """Rank 0's, on every rank: each has BatchNorm statistics of its own, and all must stop at one epoch."""
        if self.world == 1:
            return figures
        box = [figures]
        torch.distributed.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def leave(self) -> None:
        """Leave the process group once all have come this far; its threads abort a process that just ends."""
        if self.world > 1:
            torch.distributed.barrier()
            torch.distributed.destroy_process_group()


def train(
    recipe: Recipe,
    root: Path,
    folder: Path,
    machine: Machine,
    report: Report = print,
    workers: int = 0,
    stop_after: int | None = None,
    in_all: int | None = None,
    network: nn.Module | None = None,
    imitated: nn.Module | None = None,
) -> State:
    """Train ``recipe`` into ``folder``, continuing there if it holds a checkpoint.

    ``stop_after`` ends this call after so many epochs (the run stays resumable), ``in_all`` the run after so many
    of its schedule; ``network`` is trained on, where given, instead of the recipe's own; the logits of
    ``imitated``, where given, are the target instead of labels.
    Returns the state reached.
    Raises DataError where data are missing, RunError where the folder holds another recipe's run, or the recipe
    names one that is not there or is of another task.
    """
    torch.manual_seed(recipe.seed)
    torch.use_deterministic_algorithms(recipe.deterministic, warn_only=True)
    by_labels = not recipe.training.teacher and imitated is None
    training, validation = _load(recipe, root, report, by_labels)
    if network is None:
        network = build(recipe.network, recipe.outputs)
        if recipe.training.init:
            start_from(network, find_run(recipe.training.init))
    network.to(machine.device, memory_format=torch.channels_last)
    teacher = _teacher(recipe, machine)
    averaged = (
        AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(recipe.training.ema), use_buffers=True)
        if recipe.training.ema
        else None
    )
    optimizer = _optimizer(recipe, network)
    state = _resume(folder, network, averaged, optimizer, machine, report)
    parallel = nn.parallel.DistributedDataParallel(network) if machine.world > 1 else network
    board = _board(folder) if machine.rank == 0 else contextlib.nullcontext()
    end = min(in_all or recipe.training.epochs, state.epoch + (stop_after or recipe.training.epochs))
    with board as writer, _progress() as progress:
        bar = progress.add_task(recipe.name, total=recipe.training.epochs, completed=state.epoch)
        while state.epoch < end and state.epoch - state.best_epoch <= recipe.training.patience:
            start = time.monotonic()
            loss = _one_epoch(
                recipe, parallel, averaged, optimizer, training, state.epoch, machine, workers, teacher, imitated
            )
            kept = averaged.module if averaged is not None else network
            found = machine.agreed(validate(recipe, kept, validation, machine))
            figures = {"epoch": state.epoch, "loss": loss, **found}
            state.seconds += time.monotonic() - start
            state.history.append(figures)
            better = figures["score"] > state.best
            if better:
                state.best, state.best_epoch = figures["score"], state.epoch
            state.epoch += 1
            if machine.rank == 0:
                if better:
                    _save(folder / "best.pt", {"model": kept.state_dict()})
                _checkpoint(folder, network, averaged, optimizer, state, machine.device)
                for name, value in figures.items():
                    writer.add_scalar(name, value, state.epoch)
                progress.update(bar, advance=1)
                if not progress.console.is_terminal:
                    report("  ".join(f"{k} {v:.4g}" for k, v in figures.items()) + ("  *" if better else ""))
    if machine.rank == 0 and state.history:
        _write_figures(folder, recipe, network, state)
    return state


def validate(recipe: Recipe, network: nn.Module, data: Examples, machine: Machine) -> dict[str, float]:
    """Validation figures of a network: ``score`` (mean Dice, or AUC) and its parts, at the input's resolution.
    Validation sets of a segmentation have every class outlined."""
    network.eval()
    logits, targets = [], []
    with torch.inference_mode():
        for x, y in DataLoader(data, batch_size=16):
            out = network(to_input(x, machine))
            logits.append(enlarge(out, recipe.size) if out.ndim == 4 else out)
            targets.append(y)
    z, t = torch.cat(logits).cpu(), torch.cat(targets)
    if recipe.task_spec.kind == "classification":
        loss = float(nn.functional.binary_cross_entropy_with_logits(z[:, 0], t))
        auc = float(roc_auc_score(t, z[:, 0]))
        by_set: dict[str, float] = {}
        sets = np.array([p.sample.set for p in data.prepared])
        for name in sorted(set(sets)):
            rows = torch.from_numpy(sets == name)
            if len(t[rows].unique()) == 2:
                by_set[f"auc_{name}"] = float(roc_auc_score(t[rows], z[rows, 0]))
        # the mean over sets, so that no camera is bought with another; the loss decides among equals
        score = float(np.mean(list(by_set.values()))) - 0.05 * loss
        return {"score": score, "auc": auc, "val_loss": loss, **by_set}
    p, t = z[:, : t.shape[1]] > 0, t > 127
    both = (p & t).sum((2, 3)) * 2.0
    total = p.sum((2, 3)) + t.sum((2, 3))
    if recipe.task_spec.scattered:  # a tile may hold a pixel of it, or none: all tiles are one picture
        both, total = both.sum(0, keepdim=True), total.sum(0, keepdim=True)
    dice = torch.where(total > 0, both / total.clamp(min=1), 1.0)  # both empty: agreement
    figures = {f"dice_{c}": float(d) for c, d in zip(recipe.task_spec.classes, dice.mean(0))}
    return {"score": float(dice.mean()), **figures}


def to_input(x: Tensor, machine: Machine) -> Tensor:
    """``uint8`` B x 3 x S x S to what networks are trained on: x / 255."""
    return x.to(machine.device, memory_format=torch.channels_last).float() / 255


def start_from(network: nn.Module, source: Path) -> None:
    """Start a network from another run's weights: all of them, or the encoder for a classifier."""
    from train.networks.narrow_classifier import NarrowClassifier, load_encoder
    from train.networks.pretrained import NarrowedLite0Classifier

    weights = torch.load(source / "best.pt", map_location="cpu", weights_only=True)["model"]
    if isinstance(network, NarrowClassifier | NarrowedLite0Classifier):
        load_encoder(network, weights)
    else:
        network.load_state_dict(weights)


def _load(recipe: Recipe, root: Path, report: Report, by_labels: bool) -> tuple[Examples, Examples]:
    training: list[Prepared] = []
    validation: list[Prepared] = []
    for name, times in recipe.data.sets.items():
        samples = [s for s in load_split(root, name, "train") if not is_left_out(recipe.data, name, s.id)]
        part = [prepare(recipe.task, s) for s in _some(samples, recipe.data.images)]
        if by_labels:
            _must_be_labelled(recipe, name, part)
        training += part * times
        report(f"{name}: {len(part)} training images x {times}")
    for name in recipe.data.validate or tuple(recipe.data.sets):
        part = [prepare(recipe.task, s) for s in load_split(root, name, "val")]
        _must_be_labelled(recipe, name, part)
        if recipe.task_spec.scattered:  # as many tiles of each photograph as in training, always the same ones
            part = [t for p in part for t in tiles.fixed(recipe, p, recipe.data.sets.get(name, 1))]
        validation += part
    if not training or not validation:
        raise DataError(f"recipe {recipe.name!r}: no training or no validation images; name sets in [data]")
    return Examples(recipe, training, True), Examples(recipe, validation, False)


def _teacher(recipe: Recipe, machine: Machine) -> Run | None:
    if not recipe.training.teacher:
        return None
    teacher = load_run(recipe.training.teacher)
    if teacher.recipe.task != recipe.task:
        name, known = recipe.training.teacher, teacher.recipe.task
        raise RunError(f"{name} has learnt {known}, this is {recipe.task}: name a teacher that has learnt that")
    teacher.network.to(machine.device, memory_format=torch.channels_last)
    return teacher


def _must_be_labelled(recipe: Recipe, name: str, part: Sequence[Prepared]) -> None:
    """Of a segmentation's sets, masks that are absent are left out of the loss one by one."""
    if recipe.task_spec.kind == "classification" and any(recipe.task not in p.sample.labels for p in part):
        raise DataError(
            f"{name} has no labels of {recipe.task}: to train on it, name a teacher in [training]; "
            "to validate, name other sets in [data] validate"
        )


def is_left_out(data: DataSpec, set_name: str, id: str) -> bool:
    """Whether an image of a training part is in the part of it that a run does not see."""
    if data.left_out is None:
        return False
    part, of = data.left_out
    return fold_of(set_name, id, of) == part


def _some(samples: list[Sample], count: int) -> list[Sample]:
    """The first ``count`` in the order of a hash of their ids: fewer are a subset of more. All where it is 0."""
    ordered = sorted(samples, key=lambda s: hashlib.sha256(s.id.encode()).hexdigest())
    return ordered[:count] if count else samples


def _optimizer(recipe: Recipe, network: nn.Module) -> torch.optim.Optimizer:
    spec = recipe.training
    if spec.optimizer == "adam":
        return torch.optim.Adam(network.parameters(), lr=spec.lr)
    # biases and BatchNorm are not decayed
    flat = [p for p in network.parameters() if p.ndim < 2]
    full = [p for p in network.parameters() if p.ndim >= 2]
    groups = [{"params": full, "weight_decay": spec.weight_decay}, {"params": flat, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=spec.lr)


def learning_rate(recipe: Recipe, epoch: float) -> float:
    """Linear warm-up, then a cosine down to a hundredth (or constant)."""
    spec = recipe.training
    if epoch < spec.warmup_epochs:
        return spec.lr * (epoch + 0.01) / spec.warmup_epochs
    if spec.schedule == "constant":
        return spec.lr
    share = (epoch - spec.warmup_epochs) / max(1e-9, spec.epochs - spec.warmup_epochs)
    return spec.lr * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, share))))


def _one_epoch(
    recipe, network, averaged, optimizer, data: Examples, epoch, machine: Machine, workers, teacher, imitated
) -> float:
    network.train()
    data.epoch = epoch
    batches = list(_batches(len(data), recipe, epoch, machine))
    half = recipe.training.precision == "bfloat16"
    total = 0.0
    for i, (x, y) in enumerate(DataLoader(data, batch_sampler=batches, num_workers=workers)):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe, epoch + i / len(batches))
        with torch.autocast(machine.device.type, torch.bfloat16, enabled=half):
            logits = network(to_input(x, machine))
        logits = logits.float()
        y = y.to(machine.device).float()
        if recipe.task_spec.kind == "segmentation":
            y = torch.where(y < 0, UNKNOWN, y / 255)
        if teacher is not None:
            y = taught(y, _says(teacher, to_input(x, machine)), recipe.training.teacher_weight)
        if imitated is not None:
            with torch.no_grad():
                target = imitated(to_input(x, machine))
            loss = nn.functional.mse_loss(logits, target)
        elif recipe.task_spec.kind == "classification":
            loss = classification_loss(logits, y, recipe.training)
        else:
            if y.shape[1] == 1:  # more outputs than classes (the paper's three): each learns the same mask
                y = y.expand(-1, logits.shape[1], -1, -1)
            loss = segmentation_loss(logits, y, recipe.training)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if averaged is not None:
            averaged.update_parameters(network.module if machine.world > 1 else network)
        total += float(loss.detach())
    return total / max(1, len(batches))


@torch.no_grad()
def _says(teacher: Run, x: Tensor) -> Tensor:
    """The teacher's probabilities of the same picture, at its own size: in the shape of the targets."""
    logits = teacher.network(enlarge(x, teacher.recipe.size))[:, : len(teacher.recipe.task_spec.classes)]
    return torch.sigmoid(logits[:, 0] if logits.ndim == 2 else enlarge(logits, x.shape[2]))


def _batches(count: int, recipe: Recipe, epoch: int, machine: Machine) -> Iterator[list[int]]:
    """This rank's share of each batch; every rank draws the same permutation."""
    order = np.random.default_rng((recipe.seed, epoch)).permutation(count).tolist()
    batch = recipe.training.batch
    for i in range(0, count - count % batch or count, batch):  # a last small batch would upset BatchNorm
        yield order[i : i + batch][machine.rank :: machine.world]


def _resume(folder: Path, network, averaged, optimizer, machine: Machine, report: Report) -> State:
    path = folder / "last.pt"
    if not path.is_file():
        return State()
    saved = torch.load(path, map_location=machine.device, weights_only=True)
    try:
        network.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        if averaged is not None:
            averaged.load_state_dict(saved["averaged"])
    except (RuntimeError, ValueError, KeyError) as error:
        raise RunError(
            f"{folder.name} holds a run of another recipe; give --out another folder ({error})"
        ) from error
    torch.set_rng_state(saved["rng"].cpu())
    if machine.device.type == "cuda" and "cuda_rng" in saved:
        torch.cuda.set_rng_state(saved["cuda_rng"].cpu(), machine.device)
    report(f"resumed after epoch {saved['state']['epoch']}")
    return State(**saved["state"])


def _checkpoint(folder: Path, network, averaged, optimizer, state: State, device: torch.device) -> None:
    _save(
        folder / "last.pt",
        {
            "model": network.state_dict(),
            "averaged": averaged.state_dict() if averaged is not None else {},
            "optimizer": optimizer.state_dict(),
            "rng": torch.get_rng_state(),
            "state": vars(state),
        }
        | ({"cuda_rng": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {}),
    )


def _save(path: Path, content: dict) -> None:
    """Whole or not at all, whenever the process dies."""
    part = path.with_suffix(".part")
    torch.save(content, part)
    os.replace(part, path)


def _write_figures(folder: Path, recipe: Recipe, network: nn.Module, state: State) -> None:
    keys = list(dict.fromkeys(k for row in state.history for k in row))
    with open(folder / "history.csv", "w", newline="") as file:
        out = csv.DictWriter(file, keys, lineterminator="\n")
        out.writeheader()
        out.writerows(state.history)
    figures = {
        "recipe": recipe.name,
        "seed": recipe.seed,
        "epochs": state.epoch,
        "best_epoch": state.best_epoch,
        "best": state.history[state.best_epoch],
        "seconds": round(state.seconds, 1),
        "parameters": sum(p.numel() for p in network.parameters()),
        "torch": torch.__version__,
    }
    (folder / "metrics.json").write_text(json.dumps(figures, indent=2) + "\n")
    _plot(folder / "curves.png", recipe, state)


def _plot(path: Path, recipe: Recipe, state: State) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), constrained_layout=True)
    epochs = [row["epoch"] for row in state.history]
    left.plot(epochs, [row["loss"] for row in state.history])
    left.set(xlabel="epoch", ylabel="training loss", title=recipe.name)
    for key in state.history[0]:
        if key.startswith(("dice", "auc")):
            right.plot(epochs, [row.get(key, math.nan) for row in state.history], label=key)
    right.axvline(state.best_epoch, color="0.6", lw=0.8)
    right.set(xlabel="epoch", ylabel="validation")
    right.legend(fontsize=8)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _board(folder: Path):
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(folder / "tensorboard")


def _progress() -> Progress:
    return Progress(*Progress.get_default_columns()[:3], TimeElapsedColumn(), TimeRemainingColumn())
