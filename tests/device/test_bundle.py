"""Bundles: what is whole and signed by a trusted key loads; anything else is refused with its reason."""

from __future__ import annotations

import io
import zipfile

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device import bundle, signing
from device.bundle import CARD, GOLDEN_OUTPUT, MANIFEST, MODEL, SIGNATURE, Manifest
from device.cli import main
from device.errors import BundleError, KeyFileError
from device.runtime import Network, open_bundle
from tests.device.test_runtime import TINY, picture


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """A folder with the pair of keys called ``clinic``."""
    folder = tmp_path_factory.mktemp("keys")
    signing.generate(folder, "clinic")
    return folder


@pytest.fixture(scope="module")
def whole(keys, tmp_path_factory):
    """A bundle signed by ``clinic``."""
    network = Network(TINY, reference=True)
    manifest = Manifest(
        schema=bundle.SCHEMA, name="tiny", version="1.0", task="disc_cup", modality="fundus", kind="segmentation",
        classes=("disc", "cup"), input=network.input, output=network.output, operating_points=(), probability=None,
        metrics={"test": {"dice_disc": 0.5}}, data={"sets": {}}, recipe={"name": "tiny"},
        operators={"CONV_2D": 37}, tools={}, licence="", intended_use="", created="", members={},
    )  # fmt: skip
    path = tmp_path_factory.mktemp("bundle") / "tiny-1.0.tnh"
    key = signing.read_private_key(keys / "clinic.key")
    return bundle.write(path, manifest, TINY, "# tiny", picture(), network.run(picture()), key)


def members_of(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def signed(parts, keys, **changes):
    """Members with a changed manifest, signed anew by the trusted key: only the content can be refused."""
    document = msgspec.json.decode(parts[MANIFEST]) | changes
    data = msgspec.json.encode(document)
    return parts | {MANIFEST: data, SIGNATURE: signing.read_private_key(keys / "clinic.key").sign(data).signature}


def test_what_was_written_is_loaded(whole, keys):
    loaded = bundle.load(whole, keys)
    assert loaded.signer == "clinic" and loaded.model == TINY and loaded.card == "# tiny"
    assert loaded.manifest.metrics == {"test": {"dice_disc": 0.5}}
    assert set(loaded.manifest.members) == set(bundle.SIGNED)
    np.testing.assert_array_equal(loaded.golden_input, picture())


def test_the_gate_is_optional(whole, keys, tmp_path):
    """Bundles from before it load, and a row survives as it was."""
    loaded = bundle.load(whole, keys)
    assert loaded.manifest.gate == ()
    before = msgspec.json.decode(members_of(whole)[MANIFEST])
    del before["gate"]
    data = msgspec.json.encode(before)
    signature = signing.read_private_key(keys / "clinic.key").sign(data).signature
    older = packed(tmp_path / "older.tnh", members_of(whole) | {MANIFEST: data, SIGNATURE: signature})
    assert bundle.load(older, keys).manifest == loaded.manifest
    row = bundle.GateRow("dice_drop", "cup", 55, 0.9, 0.899, 0.001, 0.002, True)
    newer = packed(tmp_path / "newer.tnh", signed(members_of(whole), keys, gate=[msgspec.to_builtins(row)]))
    assert bundle.load(newer, keys).manifest.gate == (row,)


def test_the_same_content_gives_the_same_file(whole, keys, tmp_path):
    loaded = bundle.load(whole, keys)
    key = signing.read_private_key(keys / "clinic.key")
    again = bundle.write(
        tmp_path / "again.tnh", loaded.manifest, TINY, loaded.card, loaded.golden_input, loaded.golden_output, key
    )
    assert again.read_bytes() == whole.read_bytes()


def test_a_key_that_is_not_trusted(whole, tmp_path):
    signing.generate(tmp_path, "stranger")
    with pytest.raises(BundleError, match=r"none of the trusted keys \(stranger\)"):
        bundle.load(whole, tmp_path)
    with pytest.raises(BundleError, match="none of the trusted keys"):
        bundle.load(whole)  # the shipped keys
    with pytest.raises(BundleError, match="no key"):
        bundle.load(whole, tmp_path / "nothing")


@pytest.mark.parametrize("name", [MODEL, CARD, GOLDEN_OUTPUT])
def test_a_member_that_was_exchanged(whole, keys, tmp_path, name):
    members = members_of(whole)
    changed = bytearray(members[name])
    changed[len(changed) // 2] ^= 1
    with pytest.raises(BundleError, match=f"{name} is not what its manifest vouches for"):
        bundle.load(packed(tmp_path / "changed.tnh", members | {name: bytes(changed)}), keys)


def test_a_manifest_that_was_edited_loses_its_signature(whole, keys, tmp_path):
    members = members_of(whole)
    edited = members[MANIFEST].replace(b'"tiny"', b'"huge"')
    with pytest.raises(BundleError, match="signature"):
        bundle.load(packed(tmp_path / "edited.tnh", members | {MANIFEST: edited}), keys)


@pytest.mark.parametrize("name", [MODEL, MANIFEST, SIGNATURE])
def test_a_missing_member(whole, keys, tmp_path, name):
    members = members_of(whole)
    del members[name]
    with pytest.raises(BundleError, match="it holds"):
        bundle.load(packed(tmp_path / "less.tnh", members), keys)


def test_a_member_too_many_or_twice(whole, keys, tmp_path):
    with pytest.raises(BundleError, match="it holds"):
        bundle.load(packed(tmp_path / "more.tnh", members_of(whole) | {"../evil": b"1"}), keys)
    twice = tmp_path / "twice.tnh"
    twice.write_bytes(whole.read_bytes())
    with zipfile.ZipFile(twice, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(MODEL, b"another")
    with pytest.raises(BundleError, match="it holds"):
        bundle.load(twice, keys)


def test_a_zip_bomb_is_not_unpacked(whole, keys, tmp_path):
    path = tmp_path / "bomb.tnh"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members_of(whole).items():
            archive.writestr(name, bytes(bundle.LARGEST_MEMBER + 1) if name == CARD else data)
    with pytest.raises(BundleError, match="larger than"):
        bundle.load(path, keys)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"schema": 2}, "its schema is 2"),
        ({"surprise": 1}, "surprise"),
        ({"version": 3}, "not understood"),
        ({"members": {}}, "vouches for"),
        ({"output": {"shape": [1, 2], "dtype": "int8", "scale": 1.0, "zero_point": 0}}, "golden vector"),
    ],
)
def test_a_trusted_signature_does_not_excuse_the_content(whole, keys, tmp_path, changes, reason):
    with pytest.raises(BundleError, match=reason):
        bundle.load(packed(tmp_path / "odd.tnh", signed(members_of(whole), keys, **changes)), keys)


def test_what_would_not_load_is_not_written(whole, keys, tmp_path):
    loaded = bundle.load(whole, keys)
    key = signing.read_private_key(keys / "clinic.key")
    with pytest.raises(BundleError, match="golden vector"):
        bundle.write(tmp_path / "x.tnh", loaded.manifest, TINY, "", picture()[:, 1:], loaded.golden_output, key)
    assert not list(tmp_path.iterdir())


def test_absent_and_unreadable_files(keys, tmp_path):
    with pytest.raises(BundleError, match="there is no bundle"):
        bundle.load(tmp_path / "none.tnh", keys)
    with pytest.raises(BundleError, match="cannot read"):
        bundle.load(tmp_path, keys)


@settings(max_examples=300)
@given(data=st.data())
def test_damage_anywhere_is_refused_or_harmless(whole, keys, tmp_path_factory, data):
    """Bytes flipped, cut away or put in: BundleError, or the very same content (a time stamp of the zip)."""
    original = whole.read_bytes()
    raw = bytearray(original)
    at = data.draw(st.integers(0, len(raw) - 1))
    how = data.draw(st.sampled_from(("flip", "cut", "insert", "end")))
    if how == "flip":
        raw[at] ^= data.draw(st.integers(1, 255))
    elif how == "cut":
        del raw[at : at + data.draw(st.integers(1, 2000))]
    elif how == "insert":
        raw[at:at] = data.draw(st.binary(min_size=1, max_size=50))
    else:
        del raw[at:]
    path = tmp_path_factory.getbasetemp() / "damaged.tnh"
    path.write_bytes(raw)
    try:
        loaded = bundle.load(path, keys)
    except BundleError as error:
        assert "damaged.tnh" in str(error)
    else:
        assert loaded.model == TINY and loaded.manifest == bundle.load(whole, keys).manifest


@given(data=st.binary(max_size=300))
def test_noise_is_no_bundle(keys, tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "noise.tnh"
    path.write_bytes(data)
    with pytest.raises(BundleError):
        bundle.load(path, keys)


def test_golden_vectors_without_numbers(whole, keys, tmp_path):
    """A pickle in place of an array is never run."""
    file = io.BytesIO()
    np.save(file, np.array([{}], object), allow_pickle=True)
    members = members_of(whole)
    document = msgspec.json.decode(members[MANIFEST])
    hashes = document["members"] | {GOLDEN_OUTPUT: bundle._sha256(file.getvalue())}
    members = signed(members | {GOLDEN_OUTPUT: file.getvalue()}, keys, members=hashes)
    with pytest.raises(BundleError, match="golden vector cannot be read"):
        bundle.load(packed(tmp_path / "pickle.tnh", members), keys)


def test_keys_are_never_overwritten_and_private(tmp_path):
    private, _ = signing.generate(tmp_path, "mine")
    assert private.stat().st_mode & 0o077 == 0
    with pytest.raises(KeyFileError, match="exists already"):
        signing.generate(tmp_path, "mine")
    with pytest.raises(KeyFileError, match="no name for a key"):
        signing.generate(tmp_path, "../mine")


def test_key_files_that_are_none(tmp_path):
    with pytest.raises(KeyFileError, match="keygen"):
        signing.read_private_key(tmp_path / "none.key")
    (tmp_path / "folder.pub").mkdir()
    with pytest.raises(KeyFileError, match=r"cannot read the key .*folder\.pub .*check its owner"):
        signing.read_public_keys(tmp_path)


def test_a_pair_of_keys_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(KeyFileError, match="cannot make the folder"):
        signing.generate(tmp_path / "file", "mine")
    with pytest.raises(KeyFileError, match="cannot write a key"):
        signing.generate(tmp_path, 300 * "x")
    (tmp_path / "mine.pub").symlink_to(tmp_path / "nowhere")
    with pytest.raises(KeyFileError, match="exists already"):
        signing.generate(tmp_path, "mine")
    (tmp_path / "mine.pub").unlink()

    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(tmp_path), "write_bytes", full)
    with pytest.raises(KeyFileError, match="No space left"):
        signing.generate(tmp_path, "mine")
    assert not (tmp_path / "mine.key").exists()


# The pair of RFC 8410, section 10; one of X25519, whose keys are as long; and what is no key.
PRIVATE, PUBLIC = (
    "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC",
    "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=",
)
OTHER_PRIVATE, OTHER_PUBLIC = (
    "MC4CAQAwBQYDK2VuBCIEIAhObk9FVHMh5/834Vy7cvsP7X8ooHrV1XpG96eZeG98",
    "MCowBQYDK2VuAyEA6KJ5tRiYw8C0wtpNDEliHCudKm15iLlTwsa+XGdA1VU=",
)


def pem(label, text):
    return f"-----BEGIN {label}-----\n{text}\n-----END {label}-----\n"


def test_key_files_of_the_standard(tmp_path):
    (tmp_path / "rfc.key").write_text("\r\n" + pem("PRIVATE KEY", PRIVATE).replace("\n", "\r\n"))
    (tmp_path / "rfc.pub").write_text("whose it is\n" + pem("PUBLIC KEY", PUBLIC[:40] + "\n" + PUBLIC[40:]))
    key, keys = signing.read_private_key(tmp_path / "rfc.key"), signing.read_public_keys(tmp_path)
    assert key.verify_key == keys["rfc"]
    signature = key.sign(b"x").signature
    assert signing.signer(keys, signature, b"x") == "rfc"
    assert signing.signer(keys, signature, b"y") is None
    assert signing.signer(keys, signature[:-1], b"x") is None


def test_key_files_that_are_written_are_of_the_standard(tmp_path):
    private, public = signing.generate(tmp_path, "mine")
    for path, like in ((private, pem("PRIVATE KEY", PRIVATE)), (public, pem("PUBLIC KEY", PUBLIC))):
        text = path.read_text()
        assert len(text) == len(like) and text.splitlines()[::2] == like.splitlines()[::2]
    assert signing.read_private_key(private).verify_key == signing.read_public_keys(tmp_path)["mine"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("hello", "no "),
        ("", "no "),
        (pem("ENCRYPTED {}", PRIVATE), "no "),  # with a password
        (pem("RSA {}", PRIVATE), "no "),
        (pem("{}", "MC4CAQAwBQYDK2V"), "no "),  # cut short
        (pem("{}", ""), "another kind"),
        (pem("{}", "MC4CAQAwBQYDK2Vw"), "another kind"),
    ],
)
def test_key_files_of_other_kinds(tmp_path, text, reason):
    path = tmp_path / "odd.key"
    path.write_text(text.replace("{}", "PRIVATE KEY"))
    with pytest.raises(KeyFileError, match=rf"odd\.key holds {reason}.*keygen"):
        signing.read_private_key(path)
    path.rename(tmp_path / "odd.pub").write_text(text.replace("{}", "PUBLIC KEY"))
    with pytest.raises(KeyFileError, match=rf"odd\.pub holds {reason}.*replace"):
        signing.read_public_keys(tmp_path)


def test_keys_that_agree_upon_secrets_do_not_sign(tmp_path):
    (tmp_path / "odd.key").write_text(pem("PRIVATE KEY", OTHER_PRIVATE))
    with pytest.raises(KeyFileError, match="another kind of key"):
        signing.read_private_key(tmp_path / "odd.key")
    (tmp_path / "odd.pub").write_text(pem("PUBLIC KEY", OTHER_PUBLIC))
    with pytest.raises(KeyFileError, match="another kind of key"):
        signing.read_public_keys(tmp_path)


def test_the_development_key_says_that_it_is_public():
    text = signing.DEVELOPMENT_KEY.read_text()
    assert text.startswith("This development key is public by design")
    signature = signing.read_private_key(signing.DEVELOPMENT_KEY).sign(b"x").signature
    assert signing.signer(signing.read_public_keys(signing.SHIPPED_KEYS), signature, b"x") == "development"


def test_command_keygen_sign_verify_show(whole, keys, tmp_path, capsys):
    copy = tmp_path / "copy.tnh"
    copy.write_bytes(whole.read_bytes())
    assert main(["bundle", "keygen", "field", "--out", str(tmp_path)]) == 0
    assert main(["bundle", "verify", str(copy), "--keys", str(tmp_path)]) == 2
    assert "none of the trusted keys (field)" in capsys.readouterr().err
    assert main(["bundle", "sign", str(copy), "--key", str(tmp_path / "field.key")]) == 0
    capsys.readouterr()
    assert main(["bundle", "verify", str(copy), "--keys", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "ok  tiny-1.0" in said and "signed by field" in said and "37 int8 operators" in said
    assert main(["bundle", "show", str(copy), "--keys", str(tmp_path)]) == 0
    assert "# tiny" in capsys.readouterr().out


def test_a_model_that_its_manifest_does_not_describe(whole, keys, tmp_path, capsys):
    """Signed by whoever is trusted, and yet its answers would mean something else."""
    manifest, found = bundle.load(whole, keys).manifest, bundle.load(whole, keys)
    other = msgspec.structs.replace(manifest.output, scale=2 * manifest.output.scale)
    key = signing.read_private_key(keys / "clinic.key")
    parts = (found.model, found.card, found.golden_input, found.golden_output, key)
    path = bundle.write(tmp_path / "tiny-2.0.tnh", msgspec.structs.replace(manifest, output=other), *parts)
    with pytest.raises(BundleError, match="its model is not the one that its manifest describes"):
        open_bundle(bundle.load(path, keys))
    assert main(["bundle", "verify", str(path), str(whole), "--keys", str(keys)]) == 2
    said = capsys.readouterr()
    assert "ok  tiny-1.0" in said.out and "describes" in said.err


def test_verify_goes_on_after_a_model_that_the_runtime_refuses(whole, keys, tmp_path, capsys):
    found = bundle.load(whole, keys)
    key = signing.read_private_key(keys / "clinic.key")
    parts = (b"none", found.card, found.golden_input, found.golden_output, key)
    path = bundle.write(tmp_path / "tiny-2.0.tnh", found.manifest, *parts)
    assert main(["bundle", "verify", str(path), str(whole), "--keys", str(keys)]) == 2
    said = capsys.readouterr()
    assert "refuses this model" in said.err and "ok  tiny-1.0" in said.out


def test_a_member_that_is_compressed_in_another_way(whole, keys, tmp_path):
    path = tmp_path / "odd.tnh"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        for name, data in members_of(whole).items():
            archive.writestr(name, data)
    with pytest.raises(BundleError, match="compressed in another way"):
        bundle.load(path, keys)


def test_verify_finds_a_runtime_that_answers_differently(whole, keys, tmp_path, capsys):
    loaded = bundle.load(whole, keys)
    wrong = loaded.golden_output + np.int8(1)
    path = tmp_path / "wrong.tnh"
    key = signing.read_private_key(keys / "clinic.key")
    bundle.write(path, loaded.manifest, TINY, "", loaded.golden_input, wrong, key)
    assert main(["bundle", "verify", str(path), str(whole), "--keys", str(keys)]) == 2
    said = capsys.readouterr()
    assert "do not reproduce the golden output" in said.err
    assert "ok  tiny-1.0" in said.out  # the others are still looked at


def test_versions_are_compared_as_numbers_and_releases_follow_their_candidates():
    versions = ["0.9.2", "0.10.0-rc1", "0.10.0-rc2", "0.10.0", "0.10.0.1", "1.0"]
    shuffled = [versions[i] for i in (5, 2, 0, 4, 1, 3)]
    assert sorted(shuffled, key=bundle.order_of) == versions
