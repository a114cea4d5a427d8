"""A leak: each capture leaves 1 kB behind, written to, that nobody gives back; ``leak:4`` leaves 4 kB."""

import os

from sitecustomize import when_imported


def put_in(part):
    """``part``: kB a capture."""
    size, kept = 1024 * int(part or 1), []

    def change(module):
        capture = module.Instrument.capture

        def leaking(self, *arguments, **named):
            kept.append(os.urandom(size))
            return capture(self, *arguments, **named)

        module.Instrument.capture = leaking

    when_imported("device.instrument", change)
