"""The ``tenohira`` command: one verb, one module, imported only when called.

A verb's module has ``add_arguments(parser)`` and ``run(args) -> int`` (the exit code). This file knows
verbs by their module's name only, so ``tenohira screen`` on a Pi never touches torch.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from typing import NamedTuple

from device import __version__
from device.errors import MissingExtraError, TenohiraError


class Verb(NamedTuple):
    module: str
    extra: str | None  # the optional dependency group that it needs
    help: str


VERBS: dict[str, Verb] = {
    "screen": Verb("device.commands.screen", None, "screen photographs: verdict, evidence, overlay, JSON"),
    "serve": Verb("device.commands.serve", None, "the instrument: camera, operator's pages, record, export"),
    "samples": Verb("device.commands.samples", None, "fetch a few real photographs for a first run"),
    "selftest": Verb("device.commands.selftest", None, "check camera, models, storage, clock, power, temperature"),
    "deploy": Verb("device.commands.deploy", None, "install or update an instrument over SSH, or offline"),
    "record": Verb("device.commands.record", None, "list, export, import, back up examinations"),
    "audit": Verb("device.commands.audit", None, "check the record against its log; show the log"),
    "bundle": Verb("device.commands.bundle", None, "verify, show, sign bundles; make keys"),
    "trial": Verb("device.commands.trial", None, "field trials: reference standard, report of the accuracy"),
    "data": Verb("train.commands.data", "train", "list data sets, check a data root, write splits"),
    "train": Verb("train.commands.train", "train", "train one recipe; describe its size"),
    "evaluate": Verb("train.commands.evaluate", "train", "tables and plots of a run or a bundle on a fixed split"),
    "paper": Verb("train.commands.paper", "train", "the paper's claims: train, measure and compare networks"),
    "quantize": Verb("quantize.commands.quantize", "quantize", "trained run -> full-int8 signed bundle"),
    "bench": Verb("quantize.commands.bench", "quantize", "time and memory against named peers, as ratios"),
    "hil": Verb("hil_tests.command", "hil", "hardware in the loop: test a rig, compare runs, show their history"),
}

NOTICE = (
    "Research screening aid: not a diagnosis and not a cleared medical device. "
    "The network design is subject to patent application WO2023062764A1."
)


def main(argv: list[str] | None = None) -> int:
    """Run one verb. Returns the process's exit code: 0 done, 2 an error that was explained, 3 an extra is
    missing, 130 interrupted; a verb may document further codes."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog="tenohira", description="Palm-sized eye screening.", epilog=NOTICE)
    parser.add_argument("--version", action="version", version=f"tenohira {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    # Only the called verb is imported; the others are listed by name and help.
    called = next((a for a in argv if a in VERBS), None)
    module = None
    try:
        for name, verb in VERBS.items():
            sub = verbs.add_parser(name, help=verb.help, description=verb.help, epilog=NOTICE)
            if name == called:
                module = _import(name, verb)
                module.add_arguments(sub)
        args = parser.parse_args(argv)
        code = int(module.run(args))  # type: ignore[union-attr]  # argparse has refused every other verb
        print(end="", flush=True)  # what cannot be written is told below, not at the end of the process
        return code
    except TenohiraError as error:
        print(f"tenohira: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # the reader (head, less) has gone: not an error of ours
        _drop_output()
        return 0
    except OSError as error:
        if _can_be_written():
            raise
        _drop_output()
        print(
            f"tenohira: cannot write to the standard output: {error.strerror}; free space, or send it elsewhere",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("tenohira: interrupted", file=sys.stderr)
        return 130


def _can_be_written() -> bool:
    """Whether the standard output takes what was printed, and an empty line: what it has refused may be gone."""
    try:
        print(flush=True)
    except OSError:
        return False
    return True


def _drop_output() -> None:
    """Send what is still to be printed nowhere: the end of the process would try again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _import(name: str, verb: Verb):  # type: ignore[no-untyped-def]
    try:
        return importlib.import_module(verb.module)
    except ModuleNotFoundError as error:
        if verb.extra is None:
            raise
        raise missing_extra(name, verb.extra, error) from error


def missing_extra(verb: str, extra: str, error: ModuleNotFoundError) -> Exception:
    """What to raise where an import has failed: an extra is wanted, or the error itself for a module of ours."""
    if (error.name or "").split(".")[0] in {"device", "train", "quantize", "hil_tests"}:
        return error
    return MissingExtraError(
        f"'tenohira {verb}' needs the package {error.name!r}, which the device install does not carry; "
        f"install it with: pip install 'tenohira[{extra}]'"
    )


if __name__ == "__main__":
    sys.exit(main())
