"""Bicubic enlargement and antialiased reduction (Keys 1981, a = -0.5), in two ways.

Pillow's cuts the kernel off at the image's borders; MATLAB's `imresize`, which the tables of the
super-resolution papers assume, mirrors the image there. Both round to bytes after the first axis:
Pillow goes over the columns first and uses weights of 8-bit precision, MATLAB over the rows, with
exact ones. On Set5 reduced to a quarter that is at most a few levels a pixel, see docs/papers.md.
"""

import functools

import numpy as np
from PIL import Image

SUPPORT = 2.0  # of the kernel, to each side


def pillow(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 [H, W, C] to [height, width, C] by Pillow's bicubic filter."""

    def resized(plane):
        size = (width, height)
        return np.array(Image.fromarray(plane).resize(size, Image.Resampling.BICUBIC))

    if image.shape[2] == 3:
        return resized(np.ascontiguousarray(image))
    planes = [np.ascontiguousarray(image[:, :, c]) for c in range(image.shape[2])]
    return np.stack([resized(plane) for plane in planes], axis=-1)


def matlab(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 [H, W, C] to [height, width, C] as MATLAB's `imresize` does it."""
    # The axis that shrinks most comes first; of equal ones the rows.
    axes = sorted(((height / image.shape[0], 0, height), (width / image.shape[1], 1, width)))
    for _, axis, length in axes:
        image = _along(image, axis, length)
    return image


def _along(image: np.ndarray, axis: int, length: int) -> np.ndarray:
    """One axis of uint8 [H, W, C], resized to `length`; values are rounded half up."""
    weights, at = _taps(image.shape[axis], length)
    lines = np.moveaxis(image, axis, 0)
    total = np.zeros((length, *lines.shape[1:]))
    for weight, index in zip(weights.T, at.T, strict=True):
        total += weight[:, None, None] * lines[index]
    resized = np.clip(np.floor(total + 0.5), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.moveaxis(resized, 0, axis))


@functools.lru_cache(maxsize=64)
def _taps(before: int, after: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights and indices [after, taps] of the pixels that each new pixel is made of."""
    scale = after / before
    stretch = min(scale, 1.0)  # antialiasing: a kernel as wide as the new pixels
    reach = SUPPORT / stretch
    centre = (np.arange(after) + 0.5) / scale - 0.5
    first = np.floor(centre - reach).astype(int)
    at = first[:, None] + np.arange(int(np.ceil(2 * reach)) + 2)
    weights = stretch * kernel(stretch * (centre[:, None] - at))
    weights /= weights.sum(1, keepdims=True)
    mirrored = np.concatenate([np.arange(before), np.arange(before)[::-1]])
    return weights, mirrored[at % (2 * before)]


def kernel(x: np.ndarray) -> np.ndarray:
    """Keys's cubic with a = -0.5: 1 at 0, 0 at the other whole numbers and from 2 on."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x < SUPPORT, far, 0.0))


KERNELS = {"pillow": pillow, "matlab": matlab}
