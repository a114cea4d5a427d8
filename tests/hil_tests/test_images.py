"""What the images are made of, as far as it needs no root of Debian."""

from __future__ import annotations

from hil_tests.images import chroot, kernel, root


def unpacked(archive: bytes) -> dict[str, tuple[int, bytes]]:
    """Mode and content of each entry of a cpio archive ("newc"), by its name."""
    entries, at = {}, 0
    while True:
        assert archive[at : at + 6] == b"070701" and at % 4 == 0
        numbers = [int(archive[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        mode, size, length = numbers[1], numbers[6], numbers[11]
        name = archive[at + 110 : at + 110 + length - 1].decode()
        at += (110 + length + 3) // 4 * 4
        if name == "TRAILER!!!":
            return entries
        entries[name] = (mode, archive[at : at + size])
        at += (size + 3) // 4 * 4


def test_an_initramfs_holds_what_it_is_given_below_folders_of_its_own(tmp_path, monkeypatch):
    module = tmp_path / "virtio-rng.ko"
    module.write_bytes(b"odd")
    monkeypatch.setattr(kernel, "modules", lambda root, names: [module])
    monkeypatch.setattr(kernel, "_busybox", lambda root: b"box")
    archive = kernel.initramfs(tmp_path, tmp_path / "archive", job={"opt/run": b"#!/bin/sh\n"}).read_bytes()
    entries = unpacked(archive)
    assert list(entries)[:4] == ["bin", "job", "job/opt", "modules"], "the kernel makes no folder by itself"
    assert entries["job/opt"] == (0o040755, b"")
    assert entries["job/opt/run"] == (0o100755, b"#!/bin/sh\n")
    assert entries["modules/00-virtio_rng.ko"] == (0o100644, b"odd")
    assert entries["init"][1].startswith(b"#!/bin/busybox sh")


def test_a_command_in_a_root_keeps_its_words_apart(tmp_path):
    words = chroot.command(tmp_path, ["echo", "two words", "--"], binds=[(tmp_path, "/mnt", "ro")])
    assert words[-7:] == ["ro", str(tmp_path), "/mnt", "--", "echo", "two words", "--"]
    assert f"QEMU_CPU={chroot.CORE}" in words


def test_what_goes_into_the_root_is_part_of_its_name(monkeypatch):
    before = root.fingerprint()
    monkeypatch.setattr(root.environment, "dependencies", lambda: ["numpy>=9"])
    assert root.fingerprint() != before
