"""results.json of finished runs, read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hil_tests.errors import HilError

SCHEMA = 1
FILE = "results.json"
Results = dict[str, Any]  # see README.md for its fields
MACHINE = ("model", "cpu", "cores", "architecture")  # what must be equal for times to be comparable


def read(folder: Path) -> Results:
    """Of a run's folder. Raises HilError where there is none, or one of another schema."""
    try:
        results = json.loads((folder / FILE).read_text(encoding="utf-8"))
        schema = results["schema"]
    except OSError as error:
        raise HilError(f"{folder} is not the folder of a run: it has no {FILE} that can be read") from error
    except (ValueError, TypeError, KeyError) as error:
        raise HilError(f"{folder / FILE} is damaged: {error}; run the rig again") from error
    if schema != SCHEMA:
        raise HilError(
            f"{folder / FILE} has schema {schema}, this tenohira reads {SCHEMA}; use the one that wrote it"
        )
    return results


def machine(results: Results) -> str:
    """What tells machines apart, in words."""
    has = results["machine"]
    cores = f"{has['cores']} cores" if has.get("cores") else ""
    return ", ".join(filter(None, (has.get("model"), has.get("cpu"), cores, has.get("architecture")))) or "unknown"


def excused(results: Results) -> dict[str, str]:
    """Measurements that say nothing on the run's rung, with the reason; of those that have a limit."""
    return {
        v["budget"].rpartition(".")[0]: v["reason"]
        for v in results["verdicts"]
        if v["verdict"] == "not measurable"
    }


def day(results: Results) -> str:
    """When it began: 2026-11-24 11:30."""
    return str(results["started"])[:16].replace("T", " ")


def commit(results: Results) -> str:
    """Shortened, with a sign for changes that are not in it."""
    short = str(results.get("commit") or "")[:7] or "no commit"
    return short + ("+changes" if results.get("dirty") else "")
