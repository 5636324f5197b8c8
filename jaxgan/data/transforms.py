"""Preprocessing as CycleGAN and pix2pix published it, on single uint8 images [H, W, C].

Training images are resized to `load_size` x `load_size`, cropped at random to `image_size` and
flipped left to right at random; test images are resized to `image_size` (Isola et al. 2017,
section 6.2; the published code's `resize_and_crop`). The resize is the same at every visit, so it
happens before the cache; crop and flip happen at every visit, from that visit's own generator.
"""

import numpy as np
from PIL import Image


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """Squeezes the whole image into a square, whatever its aspect, with Pillow's bicubic filter.

    Args:
        image: uint8 [H, W, C], C 1 or 3.
        size: side of the result.

    Returns:
        uint8 [size, size, C]; `image` itself where it has that size already.
    """
    if image.shape[:2] == (size, size):
        return image
    grey = image.shape[2] == 1
    picture = Image.fromarray(image[:, :, 0] if grey else image)
    resized = np.array(picture.resize((size, size), Image.Resampling.BICUBIC))
    return resized[:, :, None] if grey else resized


def random_crop(image: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """A view of a `size` x `size` window, all positions equally likely. uint8 [H, W, C]."""
    top = rng.integers(image.shape[0] - size + 1)
    left = rng.integers(image.shape[1] - size + 1)
    return image[top : top + size, left : left + size]


def mirror(image: np.ndarray) -> np.ndarray:
    """Left to right. uint8 [H, W, C]."""
    # Channel by channel it is four times faster than a copy of image[:, ::-1].
    mirrored = np.empty_like(image, order="C")
    for channel in range(image.shape[2]):
        mirrored[:, :, channel] = image[:, ::-1, channel]
    return mirrored


def random_flip(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mirrored left to right in half of the cases. uint8 [H, W, C]."""
    return mirror(image) if rng.random() < 0.5 else image


def crop_and_flip(image: np.ndarray, size: int, flip: bool, rng: np.random.Generator) -> np.ndarray:
    """What training does at every visit: random crop to `size`, then, if `flip`, random flip."""
    image = random_crop(image, size, rng)
    return random_flip(image, rng) if flip else image
