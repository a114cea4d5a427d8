"""A photograph in tiles: for what is scattered over it, and lost where a whole photograph is shrunk to an input.

Many haemorrhages are a hundredth of the field of view wide. Tiles scale with the field, so that a network sees a
structure as large in a photograph of two megapixels as in one of twelve. Training imports this.
"""

from __future__ import annotations

from collections.abc import Iterator

from device.geometry import Square

FIELD_SIDE = 820  # pixels that the field of view would be wide for a tile to be seen pixel by pixel
MARGIN = 1 / 12  # of a tile's side, at each edge: networks see too little there, so another tile answers

Part = tuple[slice, slice]  # rows and columns of the photograph


def side_of(field: Square, size: int) -> int:
    """Pixels of the photograph, on each side, that a network of input ``size`` sees at once; even."""
    return Square.around(0, 0, max(12.0, size * field.side / FIELD_SIDE)).side


def over(field: Square, shape: tuple[int, int], size: int) -> Iterator[tuple[Square, Part]]:
    """Tiles for a network of input ``size`` over the field of view of a photograph of ``shape`` (height, width),
    each with the part that it answers for: parts cover what of the field is in the photograph, each pixel once."""
    side = side_of(field, size)
    margin = int(side * MARGIN)
    step = side - 2 * margin
    bottom, right = min(field.y + field.side, shape[0]), min(field.x + field.side, shape[1])
    for y in range(max(field.y, 0), bottom, step):
        for x in range(max(field.x, 0), right, step):
            part = (slice(y, min(y + step, bottom)), slice(x, min(x + step, right)))
            yield Square(x - margin, y - margin, side), part


def within(tile: Square, part: Part) -> Part:
    """The same part in pixels of the tile."""
    rows, columns = part
    return slice(rows.start - tile.y, rows.stop - tile.y), slice(columns.start - tile.x, columns.stop - tile.x)
