"""What can go wrong while training, said once; the command line shows the message alone."""

from device.errors import TenohiraError


class DataError(TenohiraError):
    """A data set is absent, incomplete or damaged. Do: ``tenohira data check ROOT`` names every file."""


class RecipeError(TenohiraError):
    """A recipe has an unknown key, a wrong type or values that contradict. Do: correct the named line."""


class RunError(TenohiraError):
    """A run folder is absent, unfinished or of another recipe. Do: train again, or name another folder."""
