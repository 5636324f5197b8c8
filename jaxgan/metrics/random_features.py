"""Features of a fixed, untrained network: to compare images where nothing can be downloaded.

What it gives says how two sets of images differ to first order: in colours, in contrast, in edges
and textures of a few scales. It knows nothing of what is shown. Scores made of it are named so
(`fid_random`), and are comparable to each other alone.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxgan.models.layers import leaky_relu

VERSION = 1  # of what it makes: another one isn't comparable
SIZE = 32  # pixels along a side that it sees
WIDTHS = (32, 64, 128, 256)  # features of its layers, each at half the resolution
WIDTH = 2 * sum(WIDTHS)  # numbers that it makes of an image


def weights() -> list[np.ndarray]:
    """Kernels [3, 3, in, out], float32: layer i is drawn from `numpy.random.RandomState(i)`.

    They have He's deviation, so that no layer makes its input larger or smaller.
    """
    kernels, before = [], 3
    for i, width in enumerate(WIDTHS):
        kernel = np.random.RandomState(i).randn(3, 3, before, width)
        kernel *= np.sqrt(2 / (9 * before))
        kernels.append(kernel.astype(np.float32))
        before = width
    return kernels


def features(kernels: list[jax.Array], images: jax.Array) -> jax.Array:
    """Images to the mean and the deviation over pixels of every feature of every layer.

    Args:
      kernels: of `weights`.
      images: [N, H, W, 1 or 3] in [-1, 1], of any size.

    Returns:
      [N, `WIDTH`].
    """
    n, height, width, channels = images.shape
    x = jnp.broadcast_to(images, (n, height, width, 3)) if channels == 1 else images
    if (height, width) != (SIZE, SIZE):
        x = jax.image.resize(x, (n, SIZE, SIZE, 3), "linear")  # antialiased
    found = []
    for kernel in kernels:
        x = lax.conv_general_dilated(
            x, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        x = leaky_relu(x)  # none is 0 for all images
        mean = x.mean((1, 2))
        deviation = jnp.sqrt(jnp.mean((x - mean[:, None, None]) ** 2, (1, 2)))
        found += [mean, deviation]
    return jnp.concatenate(found, -1)
