"""How much memory is free for the service, from trees as kernels show them, and what is refused for want of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from device import memory
from device.errors import MemoryLowError
from device.language import Translator
from device.memory import MB

V1, V2 = "sys/fs/cgroup/memory", "sys/fs/cgroup"


class Machine:
    """A root folder with 400 MB available, and control groups as they are added."""

    def __init__(self, root):
        self.root = root
        self.file("proc/meminfo", f"MemTotal:  465000 kB\nMemAvailable:  {400 * 1024} kB\n")
        self.file("proc/self/status", f"Name:\tpython\nVmRSS:\t{90 * 1024} kB\n")

    def file(self, path, text):
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def group(self, path, limit, used, cache=0):
        version1 = path.startswith(V1)
        names = memory.VERSION_1 if version1 else memory.VERSION_2
        own = "inactive_file 1\n" if version1 else ""  # without the groups below
        self.file(f"{path}/{names[0]}", f"{limit}\n")
        self.file(f"{path}/{names[1]}", f"{used}\n")
        self.file(f"{path}/memory.stat", f"anon 5\n{own}{names[2]} {cache}\nunevictable 0\n")


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_without_control_groups_it_is_what_the_machine_has(machine, tmp_path):
    assert memory.free(machine.root) == 400 * MB
    assert memory.free(tmp_path / "nothing") is None


def test_the_narrowest_group_above_counts_and_copies_of_files_are_free(machine):
    machine.file("proc/self/cgroup", "0::/system.slice/tenohira.service\n")
    machine.group(f"{V2}/system.slice/tenohira.service", 300 * MB, 200 * MB, 40 * MB)
    assert memory.free(machine.root) == 140 * MB
    machine.group(f"{V2}/system.slice", 250 * MB, 240 * MB)
    assert memory.free(machine.root) == 10 * MB
    machine.group(f"{V2}/system.slice", "max", 240 * MB)
    assert memory.free(machine.root) == 140 * MB
    machine.group(f"{V2}/system.slice/tenohira.service", 100 * MB, 130 * MB)  # a limit that was lowered
    assert memory.free(machine.root) == 0


def test_version_1_and_a_container_that_shows_its_own_group_as_the_top(machine):
    machine.file("proc/self/cgroup", "12:cpu,cpuacct:/a\n4:memory:/docker/abc\n1:name=systemd:/a\n0::/\n")
    machine.group(V1, 128 * MB, 100 * MB, 20 * MB)
    assert memory.free(machine.root) == 48 * MB
    machine.group(f"{V1}/docker/abc", 0x7FFFFFFFFFFFF000, 100 * MB)  # no limit of its own
    assert memory.free(machine.root) == 48 * MB


def test_an_instrument_that_would_not_fit_in_is_not_started(machine):
    memory.need_for_start(machine.root)
    machine.file("proc/self/cgroup", "0::/\n")
    machine.group(V2, memory.START, 90 * MB)  # what this process holds is its own
    memory.need_for_start(machine.root)
    machine.group(V2, memory.START, 92 * MB)
    with pytest.raises(MemoryLowError, match="the instrument needs") as told:
        memory.need_for_start(machine.root)
    assert Translator("ja").knows(str(told.value))


@pytest.mark.parametrize("what", ["a photograph", "a report", "a set of DICOM objects", "sending to the archive"])
def test_what_is_under_way_counts_as_taken(monkeypatch, what):
    monkeypatch.setattr(memory, "free", lambda: 100 * MB)
    with memory.granted(60 * MB, what):
        too_much = memory.granted(41 * MB, what)
        with pytest.raises(MemoryLowError, match=f"only 40 MB .* {what} takes 41,") as told, too_much:
            pytest.fail("it was begun")
        with memory.granted(40 * MB, what):
            pass
    with memory.granted(100 * MB, what):
        pass
    japanese = Translator("ja")(str(told.value))
    assert "only" not in japanese and what not in japanese


def test_where_nothing_tells_nothing_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "free", lambda root=tmp_path: None)
    memory.need_for_start(tmp_path)
    with memory.granted(10**12, "a photograph"):
        pass


KEPT = """
import re
from device import memory

def held():
    return int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024

{first}
before, small = held(), []
for _ in range(3):
    large = [b"x" * (8 << 20) for _ in range(4)]
    small.append(bytes(100_000))  # lies above them, where they come from the heap
    del large
print(held() - before)
"""


@pytest.mark.skipif(memory._glibc is None, reason="another C library than glibc")
@pytest.mark.parametrize(("first", "kept"), [("memory.keep_little()", False), ("", True)])
def test_large_blocks_go_back_to_the_system(first, kept):
    done = subprocess.run([sys.executable, "-c", KEPT.format(first=first)], capture_output=True, text=True)
    assert (int(done.stdout) > 8) is kept, done.stdout + done.stderr
