"""One stage is 20 % slower: that of the quality, or another one (``slow:disc_cup``).

After its work the stage stays busy for a fifth of the time that the work took. Where a clock counts instructions
(``-icount``), these are a fifth more instructions.
"""

import time
from contextlib import contextmanager

from sitecustomize import when_imported

SHARE = 0.2


def put_in(part):
    """``part``: the stage, by its name in ``timings_ms``."""
    slow = part or "quality"

    def change(module):
        stage = module.Stopwatch.stage

        @contextmanager
        def slower(self, name):
            with stage(self, name):
                begun = time.perf_counter()
                yield
                now = time.perf_counter()
                end = now + SHARE * (now - begun) if name == slow else now
                while time.perf_counter() < end:
                    pass

        module.Stopwatch.stage = slower

    when_imported("device.pipeline", change)
