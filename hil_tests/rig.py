"""A rig: a labgrid environment with its budget. ``rigs/NAME.yaml`` and ``rigs/NAME.budget.toml``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from labgrid import Environment
from labgrid.target import Target

from hil_tests.budget import Budget
from hil_tests.errors import HilError

RIGS = Path(__file__).with_name("rigs")
# What a rung may be able to do or to measure. Each rig has a feature or says in its budget why not.
FEATURES = {
    "wall-clock": "times by the clock are times of an instrument",
    "instructions": "instructions are counted",
    "memory": "memory of processes reads true",
    "memory-limit": "the service can be given less memory",
    "service": "the instrument serves its pages",
    "systemd": "the service is systemd's",
    "power": "the record's disk logs its writes, and cuts are tried at any point of that log",
    "plug": "the power of the whole target can be cut",
    "disk": "the record's disk can be full, slow, read-only or fail",
    "clock": "the clock can be set",
    "camera-stack": "picamera2 and libcamera deliver the pictures",
    "throttling": "the firmware says whether the board was slowed down",
}


@dataclass(frozen=True)
class Rig:
    """``target`` has its drivers; nothing is activated yet."""

    name: str
    target: Target
    features: frozenset[str]
    budget: Budget


def names() -> list[str]:
    """All rigs of this checkout."""
    return sorted(path.stem for path in RIGS.glob("*.yaml"))


def load(name: str) -> Rig:
    """A rig by its name, or by the path of a YAML file with its budget beside it. Raises HilError."""
    path = Path(name) if name.endswith(".yaml") else RIGS / f"{name}.yaml"
    if not path.is_file():
        raise HilError(
            f"there is no rig {name!r}; choose from {', '.join(names())}, or give the path of a YAML file"
        )
    budget = Budget.read(path.with_suffix(".budget.toml"))
    environment = Environment(str(path))
    target = environment.get_target("main")
    if target is None:
        raise HilError(f"{path.name} names no target 'main'; see hil_tests/README.md")
    features = frozenset(environment.get_target_features() | environment.get_features())
    if unknown := features - FEATURES.keys():
        raise HilError(f"{path.name} has unknown features {sorted(unknown)}; choose from {sorted(FEATURES)}")
    if silent := FEATURES.keys() - features - budget.lacking.keys():
        raise HilError(f"{path.stem}.budget.toml must say in [lacking] why this rig has no {sorted(silent)}")
    return Rig(path.stem, target, features, budget)
