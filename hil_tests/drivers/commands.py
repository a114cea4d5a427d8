"""labgrid's command protocol for a target whose programs this machine starts itself."""

from __future__ import annotations

from labgrid.driver.commandmixin import CommandMixin
from labgrid.driver.common import Driver
from labgrid.protocol import CommandProtocol

from hil_tests.drivers.protocols import Completed, InstrumentError


class Commands(CommandMixin, Driver, CommandProtocol):
    """A driver says how a list of arguments is run; commands of a shell follow from that."""

    def completed(self, arguments: list[str], timeout: float | None) -> Completed:
        """Run a program with its arguments, at most ``timeout`` seconds."""
        raise NotImplementedError

    @Driver.check_active
    def run(self, cmd: str, *, timeout: float | None = 60.0) -> tuple[list[str], list[str], int]:
        done = self.completed(["sh", "-c", cmd], timeout)
        return done.out.splitlines(), done.err.splitlines(), done.code

    @Driver.check_active
    def run_check(self, cmd: str, *, timeout: float | None = 60.0) -> list[str]:
        done = self.completed(["sh", "-c", cmd], timeout)
        if done.code:
            raise InstrumentError(f"{cmd!r} ended with {done.code}:\n{done.out}{done.err}")
        return done.out.splitlines()

    def get_status(self) -> int:
        return 1
