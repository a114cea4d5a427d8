"""Nothing is written through to the disk: of the pictures (``fsync:pictures``), of the database
(``fsync:database``), or of both (``fsync``). A power cut then loses what was confirmed. ``fsync:commits`` is the
advice of many: SQLite's ``synchronous=NORMAL``, which keeps the database whole and loses the last commits."""

import os
import sqlite3
from functools import partial

PICTURES, DATABASE = ("", "pictures"), {"": "OFF", "database": "OFF", "commits": "NORMAL"}


def hasty(level):
    """SQLite that waits no more for the disk than this, whatever it is told."""

    class Hasty(sqlite3.Connection):
        def execute(self, sql, *parameters):
            if sql.startswith("PRAGMA synchronous ="):
                sql = f"PRAGMA synchronous = {level}"
            return super().execute(sql, *parameters)

    return Hasty


def put_in(part):
    """``part``: ``pictures``, ``database``, ``commits`` or empty."""
    if part in PICTURES:
        os.fsync = os.fdatasync = lambda file: None
    if part in DATABASE:
        sqlite3.connect = partial(sqlite3.connect, factory=hasty(DATABASE[part]))
