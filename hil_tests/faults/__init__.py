"""Deliberate faults, to see that a run catches them: ``tenohira hil --rig NAME --fault FAULT``.

Each module but this one and ``sitecustomize`` is a fault. It has ``put_in(part)``, which changes the instrument's
Python before the instrument is imported; ``part`` is what follows a colon in the fault's name, as in
``fsync:database``, and empty without one. Python runs ``sitecustomize`` by itself where this folder is in
PYTHONPATH, and that puts in the fault that TENOHIRA_HIL_FAULT names. So a fault needs nothing in the instrument
and no compiler, and it works on any target: copy the folder there, and set the two variables for the service. To
add one, add a module; what changes a part of the instrument waits with ``sitecustomize.when_imported``.
"""

from __future__ import annotations

from pathlib import Path

SWITCH = "TENOHIRA_HIL_FAULT"
FOLDER = Path(__file__).parent


def names() -> list[str]:
    """The faults there are, without their parts."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in ("__init__", "sitecustomize"))
