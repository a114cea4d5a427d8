"""Run by ``test_store_faults.py`` on a disk of a few megabytes of its own: examines until it is full, and goes on
when there is space again. ``python store_full_disk.py DISK``."""

import os
import sys
from pathlib import Path

from store_records import capture

from device.errors import StoreFullError
from device.record import Settings
from device.store import Store, audit


def fill(store: Store, seed: int) -> tuple[int, str]:
    """Examine until the disk is full; returns the next seed, and which step it was that failed."""
    while seed < 10_000:
        step, before = "begin", store.visits()
        try:
            visit = store.begin(f"P-{seed}")
            step, before = "capture", store.visits()
            shown, pictures = capture(visit.uid, seed)
            store.add_capture(shown, [*pictures, b"II*\x00" + os.urandom(20_000)])
            step, before = "finish", store.visits()
            store.finish(visit.uid)
        except StoreFullError:
            assert store.visits() == before
            return seed + 1, step
        seed += 1
    raise AssertionError("the disk never filled up")


def main() -> None:
    disk = Path(sys.argv[1])
    ballast = [disk / f"ballast{n}" for n in range(12)]
    for n, file in enumerate(ballast):
        file.write_bytes(bytes(1000 * (10 + 13 * n)))
    with Store(disk / "record") as store:
        store.change_settings(Settings(keep_free_mb=0), "test")
        seed, steps = 0, []
        for file in ballast:
            seed, step = fill(store, seed)
            steps.append(step)
            store.tidy()
            result = audit.verify(store.folder)
            assert result.problems == () and result.orphans == 0, result
            file.unlink()
        store.finish(store.begin("at last").uid)
        assert audit.verify(store.folder).ok
    with Store(disk / "record") as store:
        assert store.visits()[0].participant == "at last"
    print(*steps)


if __name__ == "__main__":
    main()
