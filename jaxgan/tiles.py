"""Enlarging pictures of any size in bounded memory: tile by tile."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

TILE = 192  # pixels of the small picture along a side
MOST_OVERLAP = 48


def overlap(radius: int, tile: int) -> int:
    """The margin of tiles for a network that sees `radius` pixels to each side, in bounded time."""
    return min(radius, MOST_OVERLAP, max(tile - 1, 0) // 3) if tile else 0


class Window(NamedTuple):
    """What is computed along a side, and what of it is kept: first and last pixel, and past it."""

    first: int
    end: int
    kept: int
    kept_end: int


def windows(length: int, tile: int, margin: int) -> list[Window]:
    """Windows along a side, each of `tile` pixels (or all `length`), which keep every pixel once.

    What lies within `margin` pixels of a window's border is kept only at the picture's own border.

    Args:
      length: of the side.
      tile: more than twice the margin; 0: one window.
      margin: in pixels.
    """
    if not tile or length <= tile:
        return [Window(0, length, 0, length)]
    firsts = [*range(0, length - tile, tile - 2 * margin), length - tile]
    found, kept = [], 0
    for first in firsts:
        end = length if first == firsts[-1] else first + tile - margin
        found.append(Window(first, first + tile, kept, end))
        kept = end
    return found


def enlarged(
    made: Callable[[np.ndarray], np.ndarray],
    picture: np.ndarray,
    scale: int,
    tile: int,
    margin: int,
    each: Callable[[Iterator], Iterator] = iter,
) -> np.ndarray:
    """A picture, enlarged tile by tile.

    It is what `made` gives of the whole picture, as far as a pixel depends on no more than `margin`
    pixels of the small picture around it.

    Args:
      made: uint8 [h, w, C] -> uint8 [scale h, scale w, C].
      picture: uint8 [H, W, C].
      scale: by which `made` enlarges.
      tile, margin: as `windows` takes them.
      each: wraps the list of tiles, for a bar.

    Returns:
      uint8 [scale H, scale W, C].
    """
    height, width = picture.shape[:2]
    whole = np.empty((scale * height, scale * width, picture.shape[2]), np.uint8)
    rows, columns = windows(height, tile, margin), windows(width, tile, margin)
    for y, x in each([(y, x) for y in rows for x in columns]):
        part = made(np.ascontiguousarray(picture[y.first : y.end, x.first : x.end]))
        top, left = scale * (y.kept - y.first), scale * (x.kept - x.first)
        high, wide = scale * (y.kept_end - y.kept), scale * (x.kept_end - x.kept)
        whole[scale * y.kept : scale * y.kept_end, scale * x.kept : scale * x.kept_end] = part[
            top : top + high, left : left + wide
        ]
    return whole
