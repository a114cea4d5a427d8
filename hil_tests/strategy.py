"""From a target that is off to an instrument that is ready, each step with its deadline."""

from __future__ import annotations

import enum
import time

import attr
from labgrid.factory import target_factory
from labgrid.step import step
from labgrid.strategy.common import Strategy, StrategyError, never_retry


class Status(enum.Enum):
    """How far the target is. Each state has all that comes before it."""

    unknown = 0
    off = 1
    reachable = 2  # commands run
    installed = 3  # this checkout's tenohira is on it
    ready = 4  # its service answers


@target_factory.reg_driver
@attr.s(eq=False)
class InstrumentStrategy(Strategy):
    """``transition("ready")`` is what tests ask for. A target without a power driver is taken as switched on."""

    bindings = {
        "power": {"PowerProtocol", None},
        "command": "CommandProtocol",
        "instrument": "InstrumentProtocol",
    }
    boot_deadline = attr.ib(default=120.0, validator=attr.validators.instance_of(float))  # seconds
    start_deadline = attr.ib(default=60.0, validator=attr.validators.instance_of(float))  # seconds
    status = attr.ib(default=Status.unknown)

    @never_retry
    @step(args=["status"])
    def transition(self, status: Status | str, *, step: object) -> None:
        """Raises StrategyError, with what the target said, where a step fails or takes too long."""
        wanted = Status[status] if isinstance(status, str) else status
        if wanted is Status.unknown:
            raise StrategyError("no target can be brought into an unknown state")
        if wanted is Status.off:
            self._off()
        if wanted.value >= Status.reachable.value > self.status.value:
            self._reachable()
        if wanted.value >= Status.installed.value > self.status.value:
            self.target.activate(self.instrument)
            self.instrument.install()
            self.status = Status.installed
        if wanted is Status.ready:  # asked again each time: it may have been killed meanwhile
            if self.instrument.pid() is None:
                self.instrument.start(self.start_deadline)
            self.status = Status.ready
        elif self.status is Status.ready:
            self.instrument.stop()
            self.status = Status.installed

    @never_retry
    @step()
    def cut(self) -> None:
        """Take the power away at this moment, whatever goes on: for targets with a power driver."""
        getattr(self.power, "cut", self.power.off)()
        self.lost()

    def lost(self) -> None:
        """The target restarts: what was connected is no longer."""
        self.target.deactivate(self.command)  # and with it what goes through it
        self.status = Status.off

    @never_retry
    @step()
    def come_back(self) -> float:
        """Give the power again. Returns the seconds until the service answers; the target itself starts it."""
        begun = time.monotonic()
        self._reachable()
        self.target.activate(self.instrument)
        self.instrument.come_up(self.start_deadline)
        self.status = Status.ready
        return time.monotonic() - begun

    def _off(self) -> None:
        if self.status.value > Status.off.value:
            self.target.deactivate(self.instrument)
            self.target.deactivate(self.command)
        if self.power:
            self.target.activate(self.power)
            self.power.off()
        self.status = Status.off

    def _reachable(self) -> None:
        if self.power:
            self.target.activate(self.power)
            self.power.on()
        end, said = time.monotonic() + self.boot_deadline, ""
        while time.monotonic() < end:
            try:
                self.target.activate(self.command)
                if self.command.run("true")[2] == 0:
                    self.status = Status.reachable
                    return
            except Exception as error:  # each driver has its own: not there yet
                said = str(error)
                self.target.deactivate(self.command)
            time.sleep(1)
        raise StrategyError(f"the target could not be reached within {self.boot_deadline:.0f} s: {said}")
