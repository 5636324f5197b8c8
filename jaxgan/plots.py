"""Plots drawn with NumPy: samples over the density of the data. Tables of pictures: `pictures`."""

from collections.abc import Sequence

import numpy as np

from jaxgan import pictures

_PAPER, _FRAME, _DENSITY, _SAMPLE = (
    np.array(c, np.float32)
    for c in ((255, 255, 255), (212, 212, 216), (96, 165, 250), (190, 18, 60))
)
_BLUR = 0.012  # deviation of the blur of the density, in units of the side
_RADIUS, _SOFT = 1.1, 0.8  # of a dot, in pixels
_OPACITY = 0.6


def density_panel(
    real: np.ndarray, fake: np.ndarray, bounds: tuple[float, float], size: int = 256
) -> np.ndarray:
    """Samples as dots over the density of the data as a soft ground; x to the right, y up.

    Samples out of bounds are drawn on the rim, so that they are seen; what isn't finite is left
    out.

    Args:
      real, fake: [N, 2] and [M, 2]; N large (10,000) for a smooth ground, M small (2,000) for
        dots that can be told apart.
      bounds: lowest and highest coordinate, of both axes.
      size: of the picture, in pixels.

    Returns:
      uint8 [size, size, 3].
    """
    density = _density(_pixels(real, bounds, size, keep=False), size)
    dots = _dots(np.clip(_pixels(fake, bounds, size, keep=True), 1, size - 2), size)
    picture = _PAPER + density[..., None] * (_DENSITY - _PAPER)
    picture[[0, -1]] = picture[:, [0, -1]] = _FRAME
    picture = picture + dots[..., None] * (_SAMPLE - picture)
    return (picture + 0.5).astype(np.uint8)


def panels(entries: Sequence[tuple[str, np.ndarray]], columns: int = 4) -> np.ndarray:
    """Pictures side by side, each under its title, at most `columns` in a row.

    Args:
      entries: (title, picture as `pictures.to_rgb` takes it), all of one size.
      columns: in a row.

    Returns:
      uint8 [height, width, 3].

    Raises:
      ValueError: no entries.
    """
    if not entries:
        raise ValueError("there are no panels")
    columns = min(columns, len(entries))
    rows = []
    for first in range(0, len(entries), columns):
        row = list(entries[first : first + columns])
        row += [("", None)] * (columns - len(row))
        titles, images = zip(*row, strict=True)
        rows.append(pictures.grid([images], titles))
    width = max(row.shape[1] for row in rows)
    rows = [
        np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255)
        for row in rows
    ]
    return np.concatenate(rows)


def _pixels(points, bounds, size, keep):
    """Points as (row, column), the middle of the first pixel at 0; `keep` those out of bounds."""
    points = points[np.isfinite(points).all(1)].astype(np.float64)
    low, high = bounds
    at = (points - low) / (high - low)
    if not keep:
        at = at[((at >= 0) & (at < 1)).all(1)]
    return np.stack([1 - at[:, 1], at[:, 0]], 1) * size - 0.5


def _density(at, size):
    """[size, size] in [0, 1]: a blurred histogram. The root lets thin parts show."""
    counts = np.zeros((size, size))
    row, column = np.clip(np.floor(at + 0.5), 0, size - 1).astype(np.intp).T
    np.add.at(counts, (row, column), 1)
    distance = np.arange(size)[:, None] - np.arange(size)
    blur = np.exp(-0.5 * (distance / max(_BLUR * size, 0.5)) ** 2)
    blurred = blur @ counts @ blur
    return np.sqrt(blurred / max(blurred.max(), 1e-9)).astype(np.float32)


def _dots(at, size):
    """[size, size] in [0, 1]: how much of each pixel dots cover, overlaps darker."""
    ink = np.zeros((size, size))
    first = np.floor(at).astype(np.intp)
    for down in range(-1, 3):
        for right in range(-1, 3):
            pixel = first + np.array([down, right])
            inside = ((pixel >= 0) & (pixel < size)).all(1)
            distance = np.sqrt(((pixel - at) ** 2).sum(1))
            covered = np.clip((_RADIUS + _SOFT / 2 - distance) / _SOFT, 0, 1) * inside
            row, column = np.clip(pixel, 0, size - 1).T
            np.add.at(ink, (row, column), covered)
    return (1 - (1 - _OPACITY) ** ink).astype(np.float32)
