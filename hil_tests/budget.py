"""A budget: what a rung must hold to, judged from what a run measured.

``NAME.budget.toml`` beside the rig has

* ``[sizes]``: how many captures, cuts, runs a whole run takes;
* ``[limits]``: ``"MEASUREMENT.STATISTIC" = { at_most | at_least = N, unit = "ms", status = "target" }``, or
  ``{ baseline = "NAME", within = 0.02, unit = "..." }`` against ``hil_tests/baselines/NAME.json``;
* ``[not_measurable]``: patterns of measurements that say nothing on this rung, with the reason;
* ``[lacking]``: features that the rung does not have, with the reason;
* ``[left_out]``: patterns of tests that the rung could run and does not, with the reason.

Statistics: ``p50 p95 p99`` and ``max`` of samples; ``steady`` (median of the second half), ``slope`` and ``peak``
of a series; ``value`` of one number. A limit whose measurement never came is *missing*, and the run fails.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from hil_tests import statistics
from hil_tests.errors import HilError

BASELINES = Path(__file__).with_name("baselines")
KINDS = ({"at_most"}, {"at_least"}, {"baseline", "within"})
SPARE = {"unit", "status", "why"}


@dataclass(frozen=True)
class Verdict:
    """One limit, judged. ``verdict`` is ``passed``, ``failed``, ``not measurable`` or ``missing``."""

    budget: str
    unit: str
    limit: str
    status: str
    verdict: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Budget:
    """See the module."""

    sizes: dict[str, int] = field(default_factory=dict)
    limits: dict[str, dict[str, Any]] = field(default_factory=dict)
    not_measurable: dict[str, str] = field(default_factory=dict)
    lacking: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def read(path: Path) -> Budget:
        """Raises HilError where the file is not there, or says what nobody understands."""
        try:
            content = tomllib.loads(path.read_text())
        except FileNotFoundError as error:
            raise HilError(f"the rig has no budget: {path.name} belongs beside its YAML file") from error
        except tomllib.TOMLDecodeError as error:
            raise HilError(f"{path.name} is not TOML: {error}") from error
        if unknown := content.keys() - Budget.__dataclass_fields__.keys():
            raise HilError(f"{path.name} has unknown tables {sorted(unknown)}")
        for name, limit in content.get("limits", {}).items():
            if (limit.keys() - SPARE) not in KINDS:
                raise HilError(
                    f"{path.name}: {name!r} needs at_most, at_least, or baseline and within; not {sorted(limit)}"
                )
            if name.rpartition(".")[2] not in statistics.STATISTICS:
                raise HilError(f"{path.name}: {name!r} must end in one of {', '.join(statistics.STATISTICS)}")
        return Budget(**content)

    def judge(self, measurements: dict[str, dict[str, Any]], excused: dict[str, str]) -> list[Verdict]:
        """Every limit. ``excused`` has patterns of measurements that this run could not take, with the reason."""
        return [self._judge(name, limit, measurements, excused) for name, limit in self.limits.items()]

    def excuse(self, measurement: str, more: dict[str, str] | None = None) -> str:
        """Why a measurement says nothing here; empty where it does."""
        reasons = {**(more or {}), **self.not_measurable}
        return next((why for pattern, why in reasons.items() if fnmatchcase(measurement, pattern)), "")

    def _judge(
        self, name: str, limit: dict[str, Any], measurements: dict[str, dict[str, Any]], excused: dict[str, str]
    ) -> Verdict:
        measured, _, statistic = name.rpartition(".")
        try:
            low_end, high_end, words = _ends(name, limit)
        except _NoBaselineError as error:
            return Verdict(name, limit.get("unit", ""), str(error), "baseline", "missing", reason=str(error))
        status = limit.get("status", "baseline" if "baseline" in limit else "confirmed")
        of = Verdict(name, limit.get("unit", ""), words, status, "missing")
        if why := self.excuse(measured, excused):
            return replace(of, verdict="not measurable", reason=why)
        if measured not in measurements:
            return replace(of, reason="nothing was measured; the test that measures it did not run or failed")
        measurement = measurements[measured]
        if of.unit and of.unit != (has := statistics.unit(measurement, statistic)):
            return replace(of, verdict="failed", reason=f"the limit is in {of.unit}, what was measured in {has}")
        found = statistics.estimate(measurement, statistic)
        # A slope that may be too steep is not passed: its whole interval must lie within the limit.
        if statistic == "slope":
            good = found.high is not None and low_end <= found.high <= high_end
        else:
            good = low_end <= found.value <= high_end
        return replace(
            of, verdict="passed" if good else "failed", value=found.value, low=found.low, high=found.high
        )


class _NoBaselineError(Exception):
    pass


def _ends(name: str, limit: dict[str, Any]) -> tuple[float, float, str]:
    """Between what the value must lie, and the same in words."""
    infinity = float("inf")
    if "at_most" in limit:
        return -infinity, limit["at_most"], f"at most {limit['at_most']:g}"
    if "at_least" in limit:
        return limit["at_least"], infinity, f"at least {limit['at_least']:g}"
    file = BASELINES / f"{limit['baseline']}.json"
    known = json.loads(file.read_text())["measurements"] if file.is_file() else {}
    if name not in known:
        raise _NoBaselineError(f"the baseline {file.name} has no {name}; make it with: tenohira hil baseline RUN")
    value, share = known[name], limit["within"]
    return value * (1 - share), value * (1 + share), f"{value:g} ± {share:.0%}"
