"""What is closed at the end of a ``with`` block, whatever happens in it."""

from __future__ import annotations

from typing import Self


class Closing:
    """A context manager by its ``close``."""

    def close(self) -> None:
        """Let go of what is held."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
