"""The example of ``docs/report.md``: two photographs of ``tenohira samples`` as the eyes of one participant.

    python -m tests.device.report.example docs

needs a package registry (or the photographs in pip's cache) and ``pdftoppm``.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
from PIL import Image

from device import samples
from device.camera.replay import ReplayCamera
from device.instrument import Instrument
from device.record import Eye, Settings
from device.report.pdf import render
from device.store import Store

EYES: tuple[tuple[Eye, str], ...] = (("OD", "CHASEDB1_12R.png"), ("OS", "HRF_04_g.jpg"))


def draw(out: Path) -> None:
    """Write ``report-en.png`` and ``report-ja.png`` into a folder."""
    with tempfile.TemporaryDirectory() as name, Store(Path(name, "record")) as store:
        photographs = Path(name, "photographs")
        samples.fetch(photographs)
        store.change_settings(Settings(site="S03", study="KAN"), "example")
        visit = store.begin("KAN-0012", operator="nurse-3", consent=True)
        for eye, photograph in EYES:
            with Instrument(store, ReplayCamera(photographs / photograph, repeat=3)) as instrument:
                instrument.capture(visit.uid, eye)
        visit = msgspec.structs.replace(store.finish(visit.uid), device="tenohira")  # not this machine's serial
        for language in ("en", "ja"):
            pdf = Path(name, "report.pdf")
            pdf.write_bytes(render(visit, store.picture, store.settings, language, audit_head=store.head()))
            subprocess.run(["pdftoppm", "-r", "100", "-png", "-singlefile", pdf, pdf.with_suffix("")], check=True)
            Image.open(pdf.with_suffix(".png")).quantize().save(out / f"report-{language}.png", optimize=True)


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
