"""Arrays in `.npy` files: [H, W, C], or [H, W] of one channel, uint8 or floating point.

Bytes stay bytes. Floating point becomes float32 in [-1, 1] here, at the source, by the range that
the user names: nothing behind it knows of any other.
"""

import io
import os
import threading
from typing import NamedTuple

import numpy as np

SUFFIX = ".npy"
# NumPy's words for what open_memmap refuses, and ours.
_REFUSED = {
    "Python objects": "it holds pickled objects, which are never loaded",
    "mmap length": "it is cut off",
    "EOF": "it is cut off",
    "magic string is not": "it is no .npy file, whatever its name",
}


class Values(NamedTuple):
    """What the arrays of a data set hold.

    Attributes:
      kind: "uint8", or "float32" for floating point.
      low, high: the floating-point values that become -1 and 1; none lies outside.
    """

    kind: str = "uint8"
    low: float = -1.0
    high: float = 1.0

    @property
    def dtype(self) -> np.dtype:
        """Of the images that sources give."""
        return np.dtype(self.kind)

    def to_unit(self, array: np.ndarray) -> np.ndarray:
        """Floating point from `low` to `high` -> float32 in [-1, 1]."""
        # In float64, since a narrow range far from 0 has few float32 values.
        unit = array.astype(np.float64)
        unit -= self._middle
        unit /= self._half
        return np.clip(unit, -1, 1, out=unit).astype(np.float32)

    def from_unit(self, unit: np.ndarray) -> np.ndarray:
        """The way back, float32: [-1, 1] -> `low` to `high`, clipped."""
        array = unit.astype(np.float64) * self._half + self._middle
        return np.clip(array, self.low, self.high).astype(np.float32)

    # Halved first: the sum or the difference of two large numbers may be infinite.
    @property
    def _middle(self) -> float:
        return self.low / 2 + self.high / 2

    @property
    def _half(self) -> float:
        return self.high / 2 - self.low / 2


UINT8 = Values()
# NumPy reads headers by `ast.literal_eval`, which in Python 3.11 fails now and then where several
# threads do (github.com/python/cpython/issues/106905): a sound file would be left out as broken.
_PARSING = threading.Lock()


class OutOfRange(ValueError):
    """Values outside of `Values.low` to `high`: the `lowest` and `highest` found."""

    def __init__(self, lowest: np.floating, highest: np.floating, values: Values):
        super().__init__(
            f"its values go from {lowest!s} to {highest!s}, outside of data.low={values.low} to "
            f"data.high={values.high}"
        )
        self.lowest = lowest
        self.highest = highest


def read(path: str | os.PathLike, channels: int, values: Values = UINT8) -> np.ndarray:
    """The array in one file. Nothing is ever unpickled.

    Args:
        path: a `.npy` file.
        channels: that it has to have.
        values: what it has to hold: uint8, or float16, float32 or float64 within the range.

    Returns:
        [H, W, channels]: uint8, or float32 in [-1, 1].

    Raises:
        OutOfRange: values outside of the range.
        Exception: `ValueError` in words for another shape or type, NaN and infinities; whatever
            NumPy raises for a broken file.
    """
    mapped = _mapped(path)
    _require_fit(mapped.dtype, mapped.shape, channels, values)
    array = np.array(mapped)
    array = array[:, :, None] if array.ndim == 2 else array
    if values.kind != "uint8":
        require_range(array, values)
        array = values.to_unit(array)
    return np.ascontiguousarray(array)


def to_bytes(array: np.ndarray) -> bytes:
    """An array as the bytes of a `.npy` file."""
    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()


def header(path: str | os.PathLike) -> tuple[np.dtype, tuple[int, ...]]:
    """Type and shape; the file is as long as they say, so that reading it takes no more memory."""
    mapped = _mapped(path)
    return mapped.dtype, mapped.shape


def _mapped(path: str | os.PathLike) -> np.memmap:
    """The file's array, of which nothing is read yet."""
    try:
        with _PARSING, np.errstate(over="ignore"):  # absurd shapes are refused further on
            return np.lib.format.open_memmap(path, mode="r")
    except ValueError as error:
        for theirs, ours in _REFUSED.items():
            if theirs in str(error):
                raise ValueError(ours) from error
        raise


def _require_fit(dtype: np.dtype, shape: tuple[int, ...], channels: int, values: Values):
    if len(shape) not in (2, 3):
        raise ValueError(f"it has {len(shape)} ax{'i' if len(shape) == 1 else 'e'}s, not [H, W, C]")
    floating = dtype.kind == "f" and dtype.itemsize <= 8
    if not floating and dtype != np.uint8:
        raise ValueError(
            f"it is {dtype.name}; convert it to uint8, or to float32 for data.dtype=float32"
        )
    found = shape[2] if len(shape) == 3 else 1
    if found != channels and len(shape) == 3 and shape[0] == channels:
        raise ValueError(f"it is [{channels}, H, W]; save np.moveaxis(array, 0, -1) instead")
    kind = "float32" if floating else "uint8"
    flags = [f"--config.data.channels={found}"] if found != channels else []
    flags += [f"--config.data.dtype={kind}"] if kind != values.kind else []
    if flags:
        words = "floating point" if floating else "uint8"
        some = f"{found} channel{'s' * (found != 1)}"
        raise ValueError(f"it is {words} with {some}, for runs with {' '.join(flags)}")
    if 0 in shape:
        raise ValueError("it is empty")


def require_range(array: np.ndarray, values: Values):
    """Raises `OutOfRange`, and `ValueError` for NaN and infinities."""
    lowest, highest = array.min(), array.max()
    if not np.isfinite(lowest) or not np.isfinite(highest):
        raise ValueError("it holds NaN or infinite values")
    # As the file can express them: 0.3 as float32 is a little more than 0.3.
    with np.errstate(over="ignore"):
        low, high = np.array([values.low, values.high]).astype(array.dtype)
    if lowest < low or highest > high:
        raise OutOfRange(lowest, highest, values)
