"""A trial that nobody took part in: visits and references from known sensitivity, specificity and spreads.

    python -m tests.device.trial.simulate FOLDER [PARTICIPANTS] [SEED]

writes it as an exported study with its reference CSV: the report in ``docs/trial-report.png`` is made of it.
"""

from __future__ import annotations

import csv
import sys
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
from scipy.stats import norm

from device.record import EYES, Capture, NotImaged, Reading, Reference, Shot, Visit
from device.results import Row
from device.trial import source
from device.verdict import Outcome

BUNDLES = {"disc_finder": "disc_finder-0.1.0", "disc_cup": "disc_cup-0.1.0", "glaucoma": "glaucoma-0.1.0"}
SITES = {"KAN": ("tenohira-01", "N1", "N2"), "OSA": ("tenohira-02", "N3", "N4"), "SAP": ("tenohira-03", "N5")}
CAUSES = ("small pupil or vignetting", "defocus", "motion", "off-centre")


@dataclass(frozen=True)
class Truth:
    """What the trial is made from."""

    sensitivity: float = 0.88
    specificity: float = 0.85
    prevalence: float = 0.2  # of participants, for whom each eye is ill with 0.8
    ungradable: float = 0.06
    not_imaged: float = 0.015
    vcdr_bias: float = 0.02
    vcdr_sd: float = 0.05
    burst_sd: float = 0.015
    within_person: float = 0.4  # correlation of two eyes' scores
    threshold: float = 0.62


TRUTH = Truth()


def simulate(n: int, seed: int = 0, truth: Truth = TRUTH) -> tuple[list[Visit], list[Reference]]:
    """A trial of ``n`` participants with a few repeats, refusals, unfinished visits and lost references."""
    rng = np.random.default_rng(seed)
    visits, references = [], []
    clock = datetime(2026, 9, 1, 0, 30, tzinfo=UTC)
    sites = rng.choice(list(SITES), n, p=[0.55, 0.38, 0.07])
    for i in range(n):
        clock += timedelta(minutes=float(rng.uniform(6, 40)))
        site = str(sites[i])
        code = f"{site}-{i + 1:04d}"
        ill = rng.random() < truth.prevalence
        eyes = dict(zip(EYES, (bool(ill and rng.random() < 0.8) for _ in EYES)))
        visit = _visit(rng, truth, len(visits) + 1, code, site, clock, eyes)
        if rng.random() < 0.02:
            visit = msgspec.structs.replace(visit, consent=False)
        elif rng.random() < 0.015:
            visit = msgspec.structs.replace(visit, finished=None)
        visits.append(visit)
        if rng.random() < 0.02:
            visits.append(_visit(rng, truth, len(visits) + 1, code, site, clock + timedelta(hours=2), eyes))
        if rng.random() < 0.95:
            panel = "consensus of three readers"
            references += [
                Reference(participant=code, laterality=e, refer=r, source=panel) for e, r in eyes.items()
            ]
    return visits, references


def _visit(rng, truth: Truth, number: int, code: str, site: str, start: datetime, ill: dict[str, bool]) -> Visit:
    device, *operators = SITES[site]
    uid = _uid(rng)
    captures, given_up, readings = [], [], []
    person = rng.normal()
    clock = start
    for eye in EYES:
        clock += timedelta(seconds=float(rng.lognormal(3.4, 0.35)))
        vcdr = float(np.clip(rng.normal(0.68 if ill[eye] else 0.42, 0.11), 0.1, 0.95))
        if rng.random() < truth.not_imaged:
            reason = str(rng.choice(["cataract", "no fixation", "refused"]))
            given_up.append(NotImaged(visit=uid, laterality=eye, reason=reason, time=_time(clock)))
            continue
        failed = rng.random() < truth.ungradable
        presses = int(rng.choice([1, 2, 3], p=[0.75, 0.2, 0.05])) + failed
        rho = truth.within_person
        latent = np.sqrt(rho) * person + np.sqrt(1 - rho) * rng.normal()
        # P(latent + shift > 0) is the sensitivity, or one minus the specificity
        latent += norm.ppf(truth.sensitivity if ill[eye] else 1 - truth.specificity)
        measured = vcdr + float(rng.normal(truth.vcdr_bias, truth.vcdr_sd))
        for _ in range(presses):
            clock += timedelta(seconds=float(rng.lognormal(2.3, 0.4)))
            captures.append(_capture(rng, truth, uid, eye, clock, latent, measured, failed))
        grade = _grade(rng, truth, ill[eye], failed)
        for reader in ("R1", "R2"):
            if reader == "R1" or rng.random() < 0.6:
                readings.append(
                    Reading(
                        uid=_uid(rng),
                        visit=uid,
                        laterality=eye,
                        reader=reader,
                        masked=True,
                        time=_time(clock),
                        grade=grade if rng.random() < 0.9 else _grade(rng, truth, ill[eye], failed),
                        vcdr=None if failed else round(float(np.clip(vcdr + rng.normal(0, 0.06), 0, 1)), 2),
                    )
                )
    finished = clock + timedelta(seconds=float(rng.uniform(8, 30)))
    return Visit(
        uid=uid, number=number, participant=code, operator=str(rng.choice(operators)), site=site, study="KAN26",
        consent=True, masked=True, started=_time(start), finished=_time(finished), device=device, software="0.1.0",
        captures=tuple(captures), not_imaged=tuple(given_up), readings=tuple(readings),
    )  # fmt: skip


def _capture(
    rng, truth: Truth, visit: str, eye: str, taken: datetime, latent, vcdr: float, failed: bool
) -> Capture:
    shots = []
    cause = str(rng.choice(CAUSES, p=[0.45, 0.25, 0.2, 0.1]))
    for _ in range(3):
        if failed or rng.random() < 0.08:
            reasons = (f"quality rejected: {cause}",)
            shots.append(Shot(outcome=Outcome.UNGRADABLE, grade="reject", score=0.2, reasons=reasons))
            continue
        # The repeats of an eye differ by little, and never across the threshold: the answer stays the known one.
        logit = 1.4 * latent + (0.02 if latent > 0 else -0.02) + np.sign(latent) * abs(rng.normal(0, 0.05))
        chance = 1 / (1 + np.exp(-(logit + np.log(truth.threshold / (1 - truth.threshold)))))
        outcome = Outcome.REFER if chance >= truth.threshold else Outcome.NO_REFERRAL
        ratio = float(np.clip(vcdr + rng.normal(0, truth.burst_sd), 0.01, 0.99))
        shots.append(
            Shot(
                outcome=outcome,
                grade="good",
                score=0.9,
                vcdr=ratio,
                glaucoma_probability=float(chance),
                reasons=(f"glaucoma probability {chance:.2f}",),
            )
        )
    kept = next((i for i, s in enumerate(shots) if s.vcdr is not None), 0)
    best = shots[kept]
    point = {"name": "balanced", "threshold": truth.threshold, "sensitivity": 0.861, "specificity": 0.93}
    rejected = best.outcome is Outcome.UNGRADABLE
    row = Row(
        image="0" * 64 + ".jpg", outcome=best.outcome, reasons=best.reasons, vcdr=best.vcdr,
        glaucoma_probability=best.glaucoma_probability, operating_points={"glaucoma_probability": point},
        bundles=BUNDLES, quality={"grade": best.grade, "score": best.score, "cause": cause if rejected else ""},
    )  # fmt: skip
    seen = rng.choice([eye, "unknown", "OS" if eye == "OD" else "OD"], p=[0.85, 0.145, 0.005])
    return Capture(
        uid=_uid(rng), visit=visit, laterality=eye, taken=_time(taken), image="0" * 64, overlay="0" * 64,
        result=row, shots=tuple(shots), kept=kept, seen_laterality=str(seen), camera="simulated",
    )  # fmt: skip


def _grade(rng, truth: Truth, ill: bool, failed: bool) -> Outcome:
    if failed and rng.random() < 0.7:
        return Outcome.UNGRADABLE
    positive = rng.random() < (0.85 if ill else 0.1)
    return Outcome.REFER if positive else Outcome.NO_REFERRAL


def with_ratios(visits: list[Visit], references: list[Reference], truth: Truth = TRUTH) -> list[Reference]:
    """The references with a vertical cup-to-disc ratio, from which the instrument's differs by bias and spread."""
    rng = np.random.default_rng(1)
    measured = {
        (v.participant, c.laterality): s.vcdr
        for v in visits
        for c in v.captures
        for s in c.shots
        if s.vcdr is not None
    }
    found = []
    for r in references:
        m = measured.get((r.participant, r.laterality))
        ratio = (
            None if m is None else round(float(np.clip(m - rng.normal(truth.vcdr_bias, truth.vcdr_sd), 0, 1)), 3)
        )
        found.append(msgspec.structs.replace(r, vcdr=ratio))
    return found


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")


def _uid(rng) -> str:
    return str(uuid.UUID(bytes=rng.bytes(16), version=4))


def write(folder: Path, visits: list[Visit], references: list[Reference]) -> Path:
    """An exported study and, beside the visits, its reference CSV, whose path is returned."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / source.SIMULATED).write_text("No people took part in this study: it was simulated.\n")
    (folder / source.VISITS).write_bytes(b"".join(msgspec.json.encode(v) + b"\n" for v in visits))
    path = folder / "references.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["participant", "laterality", "refer", "vcdr", "source"])
        for r in references:
            writer.writerow([r.participant, r.laterality, "yes" if r.refer else "no", r.vcdr, r.source])
    return path


if __name__ == "__main__":
    people, seed = (int(a) for a in [*sys.argv[2:], *["240", "7"][len(sys.argv) - 2 :]])
    found, known = simulate(people, seed)
    print(write(Path(sys.argv[1]), found, with_ratios(found, known)))
