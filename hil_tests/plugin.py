"""The pytest plugin of ``tenohira hil``: fixtures, what is not measurable here, and the record of the run."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from labgrid.strategy.common import Strategy

from hil_tests import rig as rigs
from hil_tests.client import Client
from hil_tests.drivers.protocols import ClockProtocol, DiskProtocol, InstrumentProtocol
from hil_tests.facts import gather, throttled
from hil_tests.run import NotMeasurable, Run
from hil_tests.thermal import void

JOURNAL_TAIL = 4000  # characters of the service's journal that a failure shows


def pytest_addoption(parser: pytest.Parser) -> None:
    """What ``tenohira hil`` passes on."""
    group = parser.getgroup("tenohira hil")
    group.addoption("--rig", help="name of the rig")
    group.addoption("--run-folder", type=Path, help="where the run is kept")
    group.addoption("--fault", default=None, help="a deliberate fault")
    group.addoption("--seed", type=int, default=1)
    group.addoption("--size", action="append", default=[], metavar="NAME=N", help="another size than the rig's")
    group.addoption("--part", action="store_true", help="not all tests are run on purpose")


def pytest_configure(config: pytest.Config) -> None:
    """Load the rig at once: a wrong one is told before anything runs."""
    config.addinivalue_line(
        "markers", "needs(*features): what the rung must be able to do (hil_tests.rig.FEATURES)"
    )
    sizes = {name: int(n) for name, n in (each.split("=") for each in config.getoption("--size"))}
    rig = rigs.load(config.getoption("--rig"))
    run = Run(rig, config.getoption("--run-folder"), seed=config.getoption("--seed"), sizes=sizes,
              fault=config.getoption("--fault"))  # fmt: skip
    run.whole = not config.getoption("--part")
    config.stash[RUN] = run


RUN = pytest.StashKey[Run]()
STRATEGY = pytest.StashKey[Strategy]()


def _strategy(config: pytest.Config) -> Strategy:
    if STRATEGY not in config.stash:
        config.stash[STRATEGY] = config.stash[RUN].rig.target.get_driver("Strategy")
    return config.stash[STRATEGY]


@pytest.fixture(autouse=True)
def _needs(request: pytest.FixtureRequest) -> None:
    run = request.config.stash[RUN]
    for marker in request.node.iter_markers("needs"):
        for feature in marker.args:
            if feature not in run.rig.features:
                raise NotMeasurable(run.rig.budget.lacking[feature])
    for pattern, why in run.rig.budget.left_out.items():
        if fnmatchcase(request.node.nodeid.rpartition("/")[2], pattern):
            raise NotMeasurable(f"left out: {why}")


@pytest.fixture(scope="session")
def run(request: pytest.FixtureRequest) -> Run:
    """Where measurements go."""
    return request.config.stash[RUN]


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest, run: Run) -> Iterator[Any]:
    """labgrid's target, with this checkout's tenohira on it; its facts stand in the run."""
    strategy = _strategy(request.config)
    try:
        strategy.transition("installed")
        if run.fault:
            run.rig.target.get_driver("InstrumentProtocol").configure(fault=run.fault)
        gather(run)
        yield run.rig.target
    finally:
        instrument = run.rig.target.get_driver("InstrumentProtocol", activate=False)
        if instrument.state.name == "active":
            run.throttling["after"] = throttled(run.rig.target)
            run.void = void(run.throttling)
            run.journal = instrument.journal()
        strategy.transition("off")


@pytest.fixture
def machine(target: Any) -> Any:
    """Commands and files: labgrid's CommandProtocol and FileTransferProtocol."""
    return target.get_driver("CommandProtocol")


@pytest.fixture
def instrument(request: pytest.FixtureRequest, target: Any, run: Run) -> Iterator[InstrumentProtocol]:
    """The instrument as the rig has it, ready. A test may configure, kill, restart it: it is set right."""
    strategy, one = _strategy(request.config), target.get_driver("InstrumentProtocol")
    strategy.transition("ready")
    changed = _Changes(one, run.fault)
    yield changed
    if changed.configured:
        one.stop()
        one.configure(fault=run.fault)


class _Changes:
    """The instrument, with a note whether it was configured; the run's deliberate fault stays in any case."""

    def __init__(self, instrument: InstrumentProtocol, fault: str | None) -> None:
        self._instrument, self._fault, self.configured = instrument, fault, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._instrument, name)

    def configure(self, **settings: Any) -> None:
        self.configured = True
        self._instrument.configure(**{"fault": self._fault, **settings})


@pytest.fixture
def client(instrument: InstrumentProtocol) -> Iterator[Client]:
    """The instrument, as HTTP."""
    one = Client(instrument.url)
    yield one
    one.close()


@pytest.fixture
def disk(target: Any, run: Run) -> DiskProtocol:
    """The record's disk. Where this machine cannot do such things, the test is not measurable."""
    one = target.get_driver("DiskProtocol")
    if why := one.missing():
        run.not_measurable(why, "power.*", "disk.*")
    return one


@pytest.fixture
def clock(target: Any, run: Run) -> Iterator[ClockProtocol]:
    """The clock that the instrument goes by; it is right again afterwards."""
    one = target.get_driver("ClockProtocol")
    if why := one.missing():
        run.not_measurable(why)
    yield one
    one.reset()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Between two tests: was the board slowed down? A board that is off at the moment says nothing."""
    run = item.config.stash[RUN]
    if "throttling" not in run.rig.features:
        return
    if run.rig.target.get_driver("CommandProtocol", activate=False).state.name == "active":
        try:
            run.throttling.setdefault("during", []).append(throttled(run.rig.target))
        except Exception:  # each driver has its own for a target that does not answer
            run.throttling.setdefault("during", []).append("")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Each test goes into the results once, a failure with all that was said."""
    report = yield
    run = item.config.stash[RUN]
    if report.when != "call" and report.outcome == "passed":
        return report
    known = next((t for t in run.tests if t["id"] == report.nodeid), None)
    if known is None:
        known = {"id": report.nodeid, "outcome": report.outcome, "reason": "", "seconds": 0.0, "detail": ""}
        run.tests.append(known)
    known["seconds"] = round(known["seconds"] + report.duration, 3)
    if report.skipped:
        not_measurable = call.excinfo is not None and isinstance(call.excinfo.value, NotMeasurable)
        known["outcome"] = "not measurable" if not_measurable else "skipped"
        known["reason"] = str(call.excinfo.value) if call.excinfo else ""
    elif report.failed:
        known["outcome"], known["detail"] = "failed", _detail(item, report)
        file = run.folder / "failures" / (item.name.replace("/", "_")[:100] + ".txt")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(known["detail"])
    return report


def _detail(item: pytest.Item, report: pytest.TestReport) -> str:
    parts = [report.longreprtext, *(f"--- {name}\n{text}" for name, text in report.sections)]
    instrument = item.config.stash[RUN].rig.target.get_driver("InstrumentProtocol", activate=False)
    if instrument.state.name == "active":
        try:
            parts.append("--- journal\n" + instrument.journal()[-JOURNAL_TAIL:])
        except Exception as error:  # the target may be gone, which is perhaps why the test failed
            parts.append(f"--- journal\ncould not be read: {error}")
    return "\n".join(parts)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """The fixtures are closed by now; what is left is to judge."""
    run = session.config.stash.get(RUN, None)
    if run is None or session.config.option.collectonly:
        return
    run.ended = exitstatus not in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR)
    results = run.finish()
    session.exitstatus = {"passed": 0, "failed": 1, "void": 4}[results["outcome"]]
