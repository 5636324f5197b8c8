"""The Inception-v3 of FID: the TensorFlow graph of 2015 that all published scores stand on.

Szegedy et al. 2016, arXiv:1512.00567, with what that graph does otherwise: images are resized as
TensorFlow 1 did, average pools don't count their padding, the last block pools by the maximum, and
there are 1,008 logits. Batch norms are folded into the convolutions before them.
"""

import functools
from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from jaxgan.errors import UserError
from jaxgan.models.convolution import Path, convolution

SIZE = 299  # pixels that it sees
EPSILON = 1e-3  # of its batch norms
FEATURES = {"64": 64, "192": 192, "768": 768, "2048": 2048, "logits": 1008, "logits_unbiased": 1008}


class Layer(nn.Module):
    """A convolution of any shape, a bias, a ReLU."""

    features: int
    kernel: tuple[int, int]
    strides: int
    padding: tuple[int, int]
    dtype: jnp.dtype | None = None
    path: Path = "auto"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (*self.kernel, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.he_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        dtype = self.dtype or jnp.promote_types(x.dtype, kernel.dtype)
        x = convolution(
            x.astype(dtype),
            kernel.astype(dtype),
            strides=self.strides,
            padding=tuple((n, n) for n in self.padding),
            path=self.path,
        )
        return nn.relu(x + bias.astype(dtype).reshape(1, 1, 1, -1))


class InceptionV3(nn.Module):
    """Images to features.

    Attributes:
      wanted: names of `FEATURES`. Nothing is computed behind the last of them.
      dtype: of the computation; None: that of the images and the parameters together.
      path: of the convolutions, but two, see `jaxgan.models.convolution.chosen_path`.
    """

    wanted: Sequence[str] = ("2048",)
    dtype: jnp.dtype | None = None
    path: Path = "auto"

    @nn.compact
    def __call__(self, x: jax.Array) -> dict[str, jax.Array]:
        """``[N, 299, 299, 3]`` of values 0 to 255, as `resized` gives them, to name -> ``[N, D]``.

        The features between blocks are means over pixels.
        """
        unknown = sorted(set(self.wanted) - set(FEATURES))
        if unknown or not self.wanted:
            raise ValueError(f"there are no features {unknown}; there are {', '.join(FEATURES)}")
        found: dict[str, jax.Array] = {}

        def conv(x, features, name, kernel=1, strides=1, padding=0, path=self.path):
            kernel, padding = (n if isinstance(n, tuple) else (n, n) for n in (kernel, padding))
            layer = Layer(features, kernel, strides, padding, self.dtype, path, name=name)
            return layer(x)

        def done(name, x):
            if name in self.wanted:
                found[name] = x.mean((1, 2)) if x.ndim == 4 else x
            return set(found) == set(self.wanted)

        def block_a(x, name, pooled):
            five = conv(conv(x, 48, f"{name}.branch5x5_1"), 64, f"{name}.branch5x5_2", 5, 1, 2)
            three = conv(x, 64, f"{name}.branch3x3dbl_1")
            for i in (2, 3):
                three = conv(three, 96, f"{name}.branch3x3dbl_{i}", 3, 1, 1)
            pool = conv(mean_pool(x), pooled, f"{name}.branch_pool")
            return _joined(conv(x, 64, f"{name}.branch1x1"), five, three, pool)

        def block_b(x, name):
            double = conv(x, 64, f"{name}.branch3x3dbl_1")
            double = conv(double, 96, f"{name}.branch3x3dbl_2", 3, 1, 1)
            double = conv(double, 96, f"{name}.branch3x3dbl_3", 3, 2)
            return _joined(conv(x, 384, f"{name}.branch3x3", 3, 2), double, max_pool(x))

        def block_c(x, name, width):
            long, high = (
                {"kernel": (1, 7), "padding": (0, 3)},
                {"kernel": (7, 1), "padding": (3, 0)},
            )
            one = conv(x, width, f"{name}.branch7x7_1")
            one = conv(one, width, f"{name}.branch7x7_2", **long)
            one = conv(one, 192, f"{name}.branch7x7_3", **high)
            two = conv(x, width, f"{name}.branch7x7dbl_1")
            for i, shape in enumerate((high, long, high, long), 2):
                two = conv(two, 192 if i == 5 else width, f"{name}.branch7x7dbl_{i}", **shape)
            pool = conv(mean_pool(x), 192, f"{name}.branch_pool")
            return _joined(conv(x, 192, f"{name}.branch1x1"), one, two, pool)

        def block_d(x, name):
            three = conv(conv(x, 192, f"{name}.branch3x3_1"), 320, f"{name}.branch3x3_2", 3, 2)
            seven = conv(x, 192, f"{name}.branch7x7x3_1")
            seven = conv(seven, 192, f"{name}.branch7x7x3_2", (1, 7), padding=(0, 3))
            seven = conv(seven, 192, f"{name}.branch7x7x3_3", (7, 1), padding=(3, 0))
            seven = conv(seven, 192, f"{name}.branch7x7x3_4", 3, 2)
            return _joined(three, seven, max_pool(x))

        def block_e(x, name, pool):
            def both(x, name):
                wide = conv(x, 384, f"{name}a", (1, 3), padding=(0, 1))
                return _joined(wide, conv(x, 384, f"{name}b", (3, 1), padding=(1, 0)))

            three = both(conv(x, 384, f"{name}.branch3x3_1"), f"{name}.branch3x3_2")
            double = conv(x, 448, f"{name}.branch3x3dbl_1")
            double = conv(double, 384, f"{name}.branch3x3dbl_2", 3, 1, 1)
            double = both(double, f"{name}.branch3x3dbl_3")
            pool = conv(pool(x), 192, f"{name}.branch_pool")
            return _joined(conv(x, 320, f"{name}.branch1x1"), three, double, pool)

        x = (x - 128) / 128
        x = conv(x, 32, "Conv2d_1a_3x3", 3, 2)
        # Many pixels of few channels: Winograd's transforms, which gradients would share, cost the
        # forward pass alone more than its products save, and most of the memory.
        x = conv(x, 32, "Conv2d_2a_3x3", 3, path="xla")
        x = max_pool(conv(x, 64, "Conv2d_2b_3x3", 3, 1, 1, path="xla"))
        if done("64", x):
            return found
        x = max_pool(conv(conv(x, 80, "Conv2d_3b_1x1"), 192, "Conv2d_4a_3x3", 3))
        if done("192", x):
            return found
        for name, pooled in (("Mixed_5b", 32), ("Mixed_5c", 64), ("Mixed_5d", 64)):
            x = block_a(x, name, pooled)
        x = block_b(x, "Mixed_6a")
        for name, width in zip("bcde", (128, 160, 160, 192), strict=True):
            x = block_c(x, f"Mixed_6{name}", width)
        if done("768", x):
            return found
        x = block_d(x, "Mixed_7a")
        x = block_e(x, "Mixed_7b", mean_pool)
        x = block_e(x, "Mixed_7c", lambda x: max_pool(x, 1)).mean((1, 2))
        if done("2048", x):
            return found
        kernel = self.param("fc.kernel", nn.initializers.he_normal(), (2048, 1008))
        bias = self.param("fc.bias", nn.initializers.zeros, (1008,))
        x = x @ kernel.astype(x.dtype)
        done("logits_unbiased", x)
        done("logits", x + bias.astype(x.dtype).reshape(1, -1))
        return found


def _joined(*parts: jax.Array) -> jax.Array:
    return jnp.concatenate(parts, -1)


# Pools of 3 x 3, columns before rows, as operations on whole slices: XLA's windows on a CPU take
# three times as long.


def max_pool(x: jax.Array, strides: int = 2) -> jax.Array:
    """The largest of each 3 x 3 pixels: ``[N, H, W, C]`` to ``[N, H', W', C]``.

    With a stride of 1 as many pixels come out as go in: windows reach over the edge, where nothing
    is.
    """
    if strides == 1:
        x = _framed(x, -jnp.inf)
    for axis in (2, 1):
        x = functools.reduce(jnp.maximum, _three(x, axis, strides))
    return x


def mean_pool(x: jax.Array) -> jax.Array:
    """The mean of the pixels that there are of 3 x 3, around each: ``[N, H, W, C]`` to the same."""
    rows, columns = (np.convolve(np.ones(n), np.ones(3), "same") for n in x.shape[1:3])
    share = jnp.asarray(1 / np.outer(rows, columns)[..., None], x.dtype)
    x = _framed(x, 0)
    for axis in (2, 1):
        x = sum(_three(x, axis, 1))
    return x * share


def _framed(x: jax.Array, value: float) -> jax.Array:
    """One more row or column of `value` on every side."""
    return jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=value)


def _three(x: jax.Array, axis: int, strides: int) -> list[jax.Array]:
    """The first, second and third pixels along `axis` of windows that lie `strides` apart."""
    reach = (x.shape[axis] - 3) // strides * strides + 1
    return [jax.lax.slice_in_dim(x, i, i + reach, strides, axis) for i in range(3)]


def resized(images: np.ndarray) -> np.ndarray:
    """[N, H, W, 3] of 0 to 255 to [N, 299, 299, 3], as TensorFlow 1's bilinear resize did it.

    Pixel i comes from i * H / 299 in the image, without half a pixel's shift and without
    antialiasing: neighbours are skipped where the image is larger.
    """
    dtype = images.dtype if images.dtype == np.float64 else np.float32
    images = np.asarray(images, dtype)
    for axis in (1, 2):
        size = images.shape[axis]
        # In float32, as there: it decides which pixels are met.
        place = np.arange(SIZE, dtype=np.float32) * np.float32(size / SIZE)
        low = np.floor(place).astype(np.intp)
        share = (place - low).astype(dtype)
        share = share.reshape([-1 if a == axis else 1 for a in range(4)])
        lower = np.take(images, low, axis)
        images = lower + (np.take(images, np.minimum(low + 1, size - 1), axis) - lower) * share
    return images


def clean(images: np.ndarray) -> np.ndarray:
    """The same by Pillow's bicubic filter, antialiased, of floats: as clean-fid resizes.

    (Parmar, Zhang, Zhu 2022, arXiv:2104.11222.)
    """
    images = np.asarray(images, np.float32)
    if images.shape[1:3] == (SIZE, SIZE):
        return images
    made = np.empty((len(images), SIZE, SIZE, images.shape[3]), np.float32)
    for image, out in zip(images, made, strict=True):
        for channel in range(images.shape[3]):
            plane = Image.fromarray(np.ascontiguousarray(image[..., channel]))
            out[..., channel] = plane.resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    return np.clip(made, 0, 255)


RESIZE = {"tf1": resized, "clean": clean}


def template() -> dict[str, dict]:
    """Shapes and types of the parameters of all features."""
    images = jax.ShapeDtypeStruct((1, SIZE, SIZE, 3), jnp.float32)
    module = InceptionV3(tuple(FEATURES))
    return jax.eval_shape(module.init, jax.random.key(0), images)["params"]


def from_published(arrays: Mapping[str, np.ndarray]) -> dict[str, dict]:
    """The state dict that torch-fidelity and pytorch-fid use to variables of `InceptionV3`.

    Raises:
      UserError: for arrays that are something else.
    """

    def take(name: str, shape: Sequence[int]) -> np.ndarray:
        if name not in arrays:
            raise UserError(f"no Inception-v3 of FID: {name} is missing")
        if np.shape(arrays[name]) != tuple(shape):
            raise UserError(
                f"no Inception-v3 of FID: {name} is {list(np.shape(arrays[name]))} where "
                f"{list(shape)} is expected"
            )
        return np.asarray(arrays[name], np.float64)

    params = {}
    for name, leaves in template().items():
        if name.startswith("fc."):
            continue
        height, width, before, features = leaves["kernel"].shape
        kernel = take(f"{name}.conv.weight", (features, before, height, width))
        scale, shift, mean, variance = (
            take(f"{name}.bn.{leaf}", (features,))
            for leaf in ("weight", "bias", "running_mean", "running_var")
        )
        factor = scale / np.sqrt(variance + EPSILON)
        kernel = kernel.transpose(2, 3, 1, 0) * factor
        params[name] = {"kernel": kernel, "bias": shift - mean * factor}
    params["fc.kernel"] = take("fc.weight", (1008, 2048)).T
    params["fc.bias"] = take("fc.bias", (1008,))
    return {"params": params}
