"""Preprocessing as CycleGAN and pix2pix published it, on single images [H, W, C].

Training images are resized to `load_size` x `load_size`, cropped at random to `image_size` and
flipped left to right at random; test images are resized to `image_size` (Isola et al. 2017,
section 6.2; the published code's `resize_and_crop`). The resize is the same at every visit, so it
happens before the cache; crop and flip happen at every visit, from that visit's own generator.
Labelled images are never squeezed: `centre` cuts a square out of the middle instead.

Images are uint8, or float32 in [-1, 1].
"""

import numpy as np
from PIL import Image


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """Squeezes the whole image into a square, whatever its aspect, with Pillow's bicubic filter.

    Args:
        image: [H, W, C]; other than RGB is resized channel by channel.
        size: side of the result.

    Returns:
        [size, size, C] of the same type, clipped to its range, since bicubic overshoots; `image`
        itself where it has that size already.
    """
    if image.shape[:2] == (size, size):
        return image
    if image.shape[2] == 3 and image.dtype == np.uint8:
        return _bicubic(image, size)
    planes = [_bicubic(image[:, :, channel], size) for channel in range(image.shape[2])]
    resized = np.stack(planes, axis=-1)
    return resized if image.dtype == np.uint8 else np.clip(resized, -1, 1)


def centre(image: np.ndarray, size: int) -> np.ndarray:
    """Cuts the largest square out of the middle and resizes it: nothing is squeezed.

    Args:
        image: [H, W, C].
        size: side of the result.

    Returns:
        [size, size, C] of the same type; `image` itself where it has that size already.
    """
    height, width = image.shape[:2]
    if height == width:
        return resize(image, size)
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    return resize(square.copy(), size)  # a view would keep the rest in memory


def _bicubic(pixels: np.ndarray, size: int) -> np.ndarray:
    """Of uint8 [H, W, 3] or [H, W], or float32 [H, W]."""
    picture = Image.fromarray(pixels)
    return np.array(picture.resize((size, size), Image.Resampling.BICUBIC))


def random_crop(image: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """A view of a `size` x `size` window, all positions equally likely."""
    top = rng.integers(image.shape[0] - size + 1)
    left = rng.integers(image.shape[1] - size + 1)
    return image[top : top + size, left : left + size]


def mirror(image: np.ndarray) -> np.ndarray:
    """Left to right."""
    # Channel by channel it is four times faster than a copy of image[:, ::-1].
    mirrored = np.empty_like(image, order="C")
    for channel in range(image.shape[2]):
        mirrored[:, :, channel] = image[:, ::-1, channel]
    return mirrored


def random_flip(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mirrored left to right in half of the cases."""
    return mirror(image) if rng.random() < 0.5 else image


def crop_and_flip(image: np.ndarray, size: int, flip: bool, rng: np.random.Generator) -> np.ndarray:
    """What training does at every visit: random crop to `size`, then, if `flip`, random flip."""
    image = random_crop(image, size, rng)
    return random_flip(image, rng) if flip else image


def aligned_crop(
    truth: np.ndarray,
    reduced: np.ndarray,
    size: int,
    flip: bool,
    rotate: bool,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """A random crop of a large image, and the same of the small one, turned the same way.

    Args:
      truth: [s h, s w, C], for a whole s.
      reduced: [h, w, C].
      size: side of the large crop, a multiple of s.
      flip: mirror half of the visits left to right.
      rotate: turn the visits by 0, 90, 180 or 270 degrees, each as likely.

    Returns:
      [size, size, C] and [size / s, size / s, C].
    """
    scale = truth.shape[0] // reduced.shape[0]
    side = size // scale
    top = rng.integers(reduced.shape[0] - side + 1)
    left = rng.integers(reduced.shape[1] - side + 1)
    turns = int(rng.integers(4)) if rotate else 0
    mirrored = flip and rng.random() < 0.5

    def cut(image, factor):
        top_, left_, n = top * factor, left * factor, side * factor
        image = np.rot90(image[top_ : top_ + n, left_ : left_ + n], turns)
        return np.ascontiguousarray(image[:, ::-1] if mirrored else image)

    return cut(truth, scale), cut(reduced, 1)
