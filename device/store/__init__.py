"""The record: examinations, their pictures, and a log of everything that was done, in one folder.

What a call of ``Store`` returned from is on the disk. ``docs/record.md`` describes the folder.
"""

from device.store.store import Room, Store

__all__ = ["Room", "Store"]
