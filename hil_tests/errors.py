"""Errors of the rig that are explained to whoever runs it."""


class HilError(Exception):
    """Says what is wrong and the way out; ``tenohira hil`` prints it and ends with 2."""
