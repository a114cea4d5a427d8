"""Whether a record holds what was confirmed, once and whole: read as an operator can, by the command line."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hil_tests.drivers.protocols import Completed
from hil_tests.ledger import Ledger

Tenohira = Callable[..., Completed]


@dataclass(frozen=True)
class Found:
    """A record as it was read, and the exports beside it. ``flaws``: what its own check says is wrong with it."""

    visits: list[dict[str, Any]]
    entries: list[dict[str, Any]]  # of the log
    pictures: frozenset[str] | None  # SHA-256 of those whose bytes are what the name says; None: not looked at
    exports: dict[str, str]  # by folder: what is wrong with it, empty where it is whole
    flaws: list[str]
    absent: bool = False  # there is no record, or one whose making was cut short


def read(tenohira: Tenohira, record: str, files: Path | None = None) -> Found:
    """Read all of it. The check comes first: it changes nothing, while opening a record tidies it up. ``files`` is
    the folder with ``record`` and ``exports`` in it, where this machine can see it."""
    said = tenohira("audit", "verify", "--store", record)
    if said.code == 2 and ("there is no record" in said.err or "holds nothing" in said.err):
        return Found([], [], frozenset(), {}, [], absent=True)
    flaws = [f"audit verify: {said.code}: {(said.out + said.err).strip()}"] if said.code else []

    def lines(*command: str) -> list[str]:
        done = tenohira(*command, "--store", record)
        if done.code:
            flaws.append(f"{' '.join(command)}: {done.code}: {(done.out + done.err).strip()[-500:]}")
            return []
        return done.out.splitlines()

    visits = [json.loads(line) for line in lines("record", "list", "--json", "--limit", "0")]
    entries = [json.loads(line)["entry"] for line in lines("audit", "show", "--json", "--last", "0")]
    if files is None:
        return Found(visits, entries, None, {}, flaws)
    pictures = {p.stem for p in files.glob("record/pictures/*/*") if sha256(p) == p.stem}
    exports = {f.name: incomplete(f) for f in files.glob("exports/*") if f.suffix != ".part"}
    return Found(visits, entries, frozenset(pictures), exports, flaws)


def sha256(file: Path) -> str:
    """Of a file's bytes."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def incomplete(export: Path) -> str:
    """What an export lacks of what its manifest names (docs/record.md); empty where nothing is."""
    try:
        files = json.loads((export / "manifest.json").read_text())["files"]
        return next((f"{name} is not what it was" for name, file in files.items()
                     if sha256(export / name) != file["sha256"]), "")  # fmt: skip
    except (OSError, ValueError, KeyError) as error:
        return f"{type(error).__name__}: {error}"


def problems(ledger: Ledger, position: int, found: Found) -> list[str]:
    """What is lost, doubled, or there without having been asked for, by the ledger's position."""
    if found.absent:
        return ["there is no record any more"] if ledger.confirmed("start", position) else []
    return [
        *found.flaws,
        *_doubled(found),
        *_never_asked(ledger, position, found),
        *_lost(ledger, position, found),
        *_settings(ledger, position, found),
        *_exports(ledger, position, found),
    ]


def _doubled(found: Found) -> list[str]:
    parts = {
        "examination": [v["uid"] for v in found.visits],
        "examination's number": [v["number"] for v in found.visits],
        "capture": [c["uid"] for v in found.visits for c in v["captures"]],
        "withdrawal": [w["capture"] for v in found.visits for w in v["withdrawn"]],
        "reading": [(r["visit"], r["remark"]) for v in found.visits for r in v["readings"]],
    }
    return [f"{name} {key} is there {n} times" for name, keys in parts.items()
            for key, n in Counter(keys).items() if n > 1]  # fmt: skip


def _never_asked(ledger: Ledger, position: int, found: Found) -> list[str]:
    asked = {s.what["uid"] for phase in ("begin", "capture") for s in ledger.asked(phase, position)}
    there = [v["uid"] for v in found.visits] + [c["uid"] for v in found.visits for c in v["captures"]]
    return [f"{uid} is there, and nobody has asked for it" for uid in there if uid not in asked]


def _lost(ledger: Ledger, position: int, found: Found) -> list[str]:
    visits = {v["uid"]: v for v in found.visits}
    captures = {c["uid"]: c for v in found.visits for c in v["captures"]}
    withdrawn = {w["capture"] for v in found.visits for w in v["withdrawn"]}
    readings = {(r["visit"], r["remark"]) for v in found.visits for r in v["readings"]}
    holds: dict[str, Callable[[dict[str, str], Any], bool]] = {
        "begin": lambda what, said: visits.get(what["uid"], {}).get("participant") == said["participant"],
        "capture": lambda what, said: _same(captures.get(what["uid"]), said),
        "other eye": lambda what, said: what["uid"] in withdrawn,
        "finish": lambda what, said: bool(visits.get(what["uid"], {}).get("finished")),
        "reading": lambda what, said: (what["visit"], what["remark"]) in readings,
    }
    lost = [f"{phase} {' '.join(s.what.values())} was confirmed and is lost" for phase, there in holds.items()
            for s in ledger.confirmed(phase, position) if not there(s.what, s.said)]  # fmt: skip
    if found.pictures is None:
        return lost
    named = [(uid, sha) for uid, c in captures.items() for sha in (c["image"], c["overlay"], *c["masks"].values())]
    return lost + [f"capture {uid} lacks its picture {sha}" for uid, sha in named if sha not in found.pictures]


def _same(kept: dict[str, Any] | None, said: dict[str, Any]) -> bool:
    return kept is not None and all(kept[k] == said[k] for k in ("visit", "laterality", "image", "result"))


def _settings(ledger: Ledger, position: int, found: Found) -> list[str]:
    """The device's name: that of the last confirmed change, or of one that was asked for after it."""
    changes = ledger.asked("settings", position)
    confirmed = [i for i, s in enumerate(changes) if s.confirmed <= position]
    if not confirmed:
        return []
    names = {s.what["device"] for s in changes[confirmed[-1] :]}
    logged = [e["detail"]["changes"]["device"][1] for e in found.entries
              if e["action"] == "settings" and "device" in e["detail"]["changes"]]  # fmt: skip
    now = logged[-1] if logged else None
    return [] if now in names else [f"the settings were to be those of {sorted(names)}, and are those of {now}"]


def _exports(ledger: Ledger, position: int, found: Found) -> list[str]:
    confirmed = {s.what["folder"] for s in ledger.confirmed("export", position)}
    gone = [f"export {name} was confirmed and is lost" for name in sorted(confirmed - found.exports.keys())]
    return gone + [f"export {name}: {flaw}" for name, flaw in found.exports.items() if flaw]
