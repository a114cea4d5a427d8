"""Networks that are not to be trusted, and networks that are older than before.

A bundle that is damaged, unsigned or signed by somebody else is named with the way out, on the page and in
/api/status; nobody is screened by anything then, and the record goes on when a good one is back. A properly signed
but older one is used (a step back may be meant), and the operator and the log are told.
"""

from __future__ import annotations

import io
import json
import time
import zipfile
from pathlib import Path

import httpx
import pytest

from hil_tests.client import Refused
from hil_tests.record import Record

pytestmark = pytest.mark.needs("service")

DEVICE = Path(__file__).resolve().parents[2] / "device"  # of this checkout, which is what the target has
TASK = "disc_cup"
NEWER = "99.0.0"
PATIENCE = 60.0  # seconds until a service that could not start says so, or has tried again


def _packed(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return packed.getvalue()


def _unpacked(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _cut_off(good: bytes) -> bytes:
    return good[: len(good) // 2]


def _empty(good: bytes) -> bytes:
    return b""


def _another_network(good: bytes) -> bytes:
    members = _unpacked(good)
    model = bytearray(members["model.tflite"])
    model[len(model) // 2] ^= 1
    return _packed(members | {"model.tflite": bytes(model)})


def _another_manifest(good: bytes) -> bytes:
    members = _unpacked(good)
    return _packed(members | {"manifest.json": _of_version(members["manifest.json"], NEWER)})


def _unsigned(good: bytes) -> bytes:
    return _packed({name: data for name, data in _unpacked(good).items() if name != "manifest.sig"})


def _of_version(manifest: bytes, version: str) -> bytes:
    return json.dumps(json.loads(manifest) | {"version": version}).encode()


SPOILT = {
    "cut off": (_cut_off, "it is damaged"),
    "empty": (_empty, "it is damaged"),
    "another network": (_another_network, "model.tflite is not what its manifest vouches for"),
    "another manifest": (_another_manifest, "its signature is of none of the trusted keys"),
    "unsigned": (_unsigned, "instead of"),
}


class Folder:
    """A folder of bundles on the target, at first the shipped ones."""

    def __init__(self, target, path: str, here: Path) -> None:
        self._machine, self._files = (
            target.get_driver("CommandProtocol"),
            target.get_driver("FileTransferProtocol"),
        )
        self._tenohira = target.get_driver("InstrumentProtocol").tenohira
        self.path, self._here = path, here
        for bundle in DEVICE.glob("bundles/*.tnh"):
            self.put(bundle.name, bundle.read_bytes())
        (shipped,) = DEVICE.glob(f"bundles/{TASK}-*.tnh")
        self.name, self.good = shipped.name, shipped.read_bytes()

    def put(self, name: str, data: bytes) -> None:
        """Put a file there, at once."""
        file = self._here / "file"
        file.write_bytes(data)
        self._files.put(str(file), f"{self.path}/unfinished")
        self._machine.run_check(
            f"chmod 666 {self.path}/unfinished && mv {self.path}/unfinished {self.path}/{name}"
        )

    def remove(self, name: str) -> None:
        self._machine.run_check(f"rm {self.path}/{name}")

    def sign(self, name: str, key: bytes) -> None:
        """Replace a bundle's signature."""
        self.put("key.pem", key)
        said = self._tenohira("bundle", "sign", f"{self.path}/{name}", "--key", f"{self.path}/key.pem")
        self.remove("key.pem")
        assert said.code == 0, said.err

    def key(self) -> bytes:
        """A key that nobody trusts."""
        said = self._tenohira("bundle", "keygen", "somebody", "--out", self.path)
        assert said.code == 0, said.err
        found = "\n".join(self._machine.run_check(f"cat {self.path}/somebody.key")) + "\n"
        self._machine.run_check(f"rm {self.path}/somebody.*")
        return found.encode()


@pytest.fixture
def folder(target, tmp_path):
    machine = target.get_driver("CommandProtocol")
    path = machine.run_check("folder=$(mktemp -d) && chmod 777 $folder && echo $folder")[0]
    yield Folder(target, path, tmp_path)
    machine.run_check(f"rm -rf {path}")


def _started(instrument, folder) -> None:
    """Anew, with these bundles, whether it becomes ready or not."""
    instrument.stop()
    instrument.configure(bundles=folder.path)
    instrument.start(wait=False)


def _reason(client) -> str:
    """Why the instrument did not start, when it says so."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            client.status()
        except Refused as refused:
            assert refused.status == 503
            return refused.sentence
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError("the instrument does not say why it did not start, or it has started")


def _page(instrument, path: str = "/", language: str = "en") -> str:
    with httpx.Client(base_url=instrument.url, headers={"accept": "text/html"}, timeout=60) as browser:
        browser.post("/language", data={"language": language})
        return browser.get(path).text


@pytest.mark.parametrize("kind", [*SPOILT, "signed by somebody else"])
def test_a_bundle_that_is_not_to_be_trusted_is_named_and_nobody_is_screened(instrument, client, folder, kind):
    visit = client.visit()["uid"]
    client.capture(visit)
    before = Record(instrument).verified()
    if kind in SPOILT:
        spoil, why = SPOILT[kind]
        folder.put(folder.name, spoil(folder.good))
    else:
        why = "its signature is of none of the trusted keys"
        folder.sign(folder.name, folder.key())
    _started(instrument, folder)
    reason = _reason(client)
    assert reason.startswith(f"the bundle {folder.name} is refused: ") and why in reason
    assert "copy" in reason.rpartition("; ")[2], "no way out"
    page, japanese = _page(instrument), _page(instrument, language="ja")
    assert f"bundle {folder.name} is refused" in page and "The instrument could not start" in page
    assert folder.name in japanese and "is refused" not in japanese
    with pytest.raises(Refused) as refused:
        client.capture(visit)
    assert refused.value.status == 503
    assert Record(instrument).verified() == before, "something was recorded"


def test_the_record_goes_on_when_a_good_bundle_is_back(instrument, client, folder, run):
    """By itself: nobody has to restart anything."""
    visit = client.visit()["uid"]
    client.capture(visit)
    folder.put(folder.name, _cut_off(folder.good))
    _started(instrument, folder)
    _reason(client)
    folder.put(folder.name, folder.good)
    run.event("good bundle back", seconds_to_ready=round(client.wait(PATIENCE), 1))
    client.capture(visit)
    assert len(client.get(f"/visits/{visit}")["captures"]) == 2
    client.finish(visit)
    Record(instrument).verified()


def test_of_two_versions_the_newest_is_used_and_a_step_back_is_told(instrument, client, folder):
    newer = f"{TASK}-{NEWER}"
    folder.put(f"{newer}.tnh", _another_manifest(folder.good))
    folder.sign(f"{newer}.tnh", (DEVICE / "keys" / "development.key").read_bytes())
    _started(instrument, folder)
    client.wait(PATIENCE)
    assert client.status()["bundles"][TASK] == newer
    visit = client.visit()["uid"]
    assert client.capture(visit)["result"]["bundles"][TASK] == newer

    folder.remove(f"{newer}.tnh")
    _started(instrument, folder)
    client.wait(PATIENCE)
    (said,) = [each for each in client.status()["problems"] if newer in each]
    older = folder.name.removesuffix(".tnh")
    assert f"{older} is older than {newer}" in said and "if nobody meant to go back" in said
    assert said in _page(instrument, "/selftest")
    japanese = _page(instrument, "/selftest", "ja")
    assert newer in japanese and "older" not in japanese
    entries = [json.loads(line)["entry"] for line in _log(instrument)]
    assert {"action": "older networks", "detail": {"before and now": {TASK: [newer, older]}}}.items() <= {
        key: entries[-1][key] for key in ("action", "detail")
    }.items()
    assert client.capture(visit)["result"]["bundles"][TASK] == older
    Record(instrument).verified()


def _log(instrument) -> list[str]:
    said = instrument.tenohira("audit", "show", "--store", instrument.store, "--json", "--last", "1")
    assert said.code == 0, said.err
    return said.out.splitlines()
