"""Layers that every network here is made of (Flax Linen, NHWC)."""

from collections.abc import Callable
from functools import partial
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype
from jax import lax
from jax.nn.initializers import zeros

from jaxgan.models.convolution import Path, convolution, transposed_convolution
from jaxgan.models.initializers import normal, unit

Norm = Literal["instance", "batch", "none"]
EPSILON = 1e-12  # of spectral normalisation
DCGAN_SCALE = normal(0.02, mean=1.0)  # of batch norms


def leaky_relu(x: jax.Array, slope: float = 0.2) -> jax.Array:
    """``x`` where it is positive, else ``slope * x``."""
    return jnp.where(x >= 0, x, slope * x)


def with_spread(x: jax.Array) -> jax.Array:
    """``[N, H, W, C]`` to ``[N, H, W, C + 1]``: the last channel says how far the batch spreads.

    It is one number everywhere, the deviation over the batch, in the mean over all features and
    places: fakes that are too much alike are told from real images by it (minibatch deviation,
    Karras et al. 2018, arXiv:1710.10196, section 3; here the group is the whole (micro-)batch).
    """
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    variance = jnp.mean((wide - jnp.mean(wide, 0)) ** 2, 0)
    # A little is added, since the square root has no slope at 0.
    spread = jnp.mean(jnp.sqrt(variance + 1e-8)).astype(x.dtype)
    return jnp.concatenate([x, jnp.broadcast_to(spread, (*x.shape[:3], 1))], -1)


def reflect_pad(x: jax.Array, width: int) -> jax.Array:
    """Mirrors the borders of ``[N, H, W, C]`` without repeating the edge.

    Concatenated slices, since a gather is slow on the CPU, and its gradient is slower.

    Raises:
      ValueError: if an image is not larger than `width`.
    """
    for axis in (1, 2):
        size = x.shape[axis]
        if size <= width:
            raise ValueError(f"cannot reflect {width} pixels of an axis of {size}")
        before = [lax.slice_in_dim(x, i, i + 1, axis=axis) for i in range(width, 0, -1)]
        after = [
            lax.slice_in_dim(x, size - 1 - i, size - i, axis=axis) for i in range(1, width + 1)
        ]
        x = jnp.concatenate([*before, x, *after], axis=axis)
    return x


def spectrally_normalised(
    module: nn.Module, kernel: jax.Array, train: bool, axis: int = -1
) -> jax.Array:
    """`kernel` over its largest singular value, as one power iteration estimates it.

    The kernel counts as a matrix ``W`` of `axis` by all else. Collection ``spectral`` keeps the
    unit vector ``u``, as long as `axis`. In training each call makes one iteration,
    ``v = W^T u, u = W v`` (both scaled to length 1), and keeps ``u`` where the collection is
    mutable; in evaluation ``u`` stays. ``sigma = u^T W v``; its gradient goes through ``W`` alone.
    (Miyato et al. 2018, arXiv:1802.05957, algorithm 1 and equation 10.)

    To be called inside a compact Linen method of `module`.

    Args:
      module: the layer.
      kernel: of any rank.
      train: whether ``u`` moves.
      axis: that of the outputs; of an embedding, that of the classes.

    Returns:
      An array like `kernel`, float32 or wider.
    """
    wide = jnp.promote_types(kernel.dtype, jnp.float32)
    size = kernel.shape[axis]
    start = unit()
    kept = module.variable("spectral", "u", lambda: start(module.make_rng("params"), (size,), wide))
    matrix = jnp.moveaxis(kernel.astype(wide), axis, -1).reshape(-1, size)  # W^T
    still = lax.stop_gradient(matrix)
    # In full precision also where matrix products are usually rounded to fewer bits.
    product = partial(jnp.dot, precision=lax.Precision.HIGHEST)
    # Scaled anew, since an average over training of such vectors (EMA) is a bit shorter.
    u = _unit(kept.value.astype(wide))
    v = _unit(product(still, u))
    image = product(v, matrix)  # W v
    if train:
        u = _unit(lax.stop_gradient(image))
        if module.is_mutable_collection("spectral") and not module.is_initializing():
            kept.value = u
    return kernel.astype(wide) / jnp.dot(u, image, precision=lax.Precision.HIGHEST)


def _unit(x: jax.Array) -> jax.Array:
    return x / jnp.maximum(jnp.sqrt(jnp.sum(jnp.square(x))), EPSILON)


class Dense(nn.Module):
    """``x @ kernel + bias``, ``[N, F]`` to ``[N, features]``.

    Attributes:
      features: of the answer.
      use_bias: whether there is a bias.
      spectral: see `spectrally_normalised`; `train` counts only then.
      dtype: of the computation; None: that of `x` and the parameters together.
      param_dtype: of the parameters.
      kernel_init, bias_init: initial weights.
    """

    features: int
    use_bias: bool = True
    spectral: bool = False
    dtype: jnp.dtype | None = None
    param_dtype: jnp.dtype = jnp.float32
    kernel_init: Callable = normal(0.02)
    bias_init: Callable = zeros

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        shape = (x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        bias = None
        if self.use_bias:
            bias = self.param("bias", self.bias_init, (self.features,), self.param_dtype)
        if self.spectral:
            kernel = spectrally_normalised(self, kernel, train)
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        x = x @ kernel
        return x if bias is None else x + bias.reshape(1, -1)


class Embed(nn.Module):
    """A learned vector for each class: int ``[N]`` below `classes` to ``[N, features]``.

    Attributes: those of `Dense`. ``u`` of a spectral one has an entry for each class, as published.
    """

    classes: int
    features: int
    spectral: bool = False
    dtype: jnp.dtype | None = None
    param_dtype: jnp.dtype = jnp.float32
    kernel_init: Callable = normal(0.02)

    @nn.compact
    def __call__(self, label: jax.Array, train: bool = False) -> jax.Array:
        shape = (self.classes, self.features)
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        if self.spectral:
            kernel = spectrally_normalised(self, kernel, train, axis=0)
        (kernel,) = promote_dtype(kernel, dtype=self.dtype)
        # A product, not a gather: the gradient of a gather adds up in any order on a GPU.
        one_hot = jax.nn.one_hot(label, self.classes, dtype=kernel.dtype)
        return jnp.dot(one_hot, kernel, precision=lax.Precision.HIGHEST)


class Conv(nn.Module):
    """Convolution with bias, padded by zeros or by reflection. ``[N, H, W, C]`` to
    ``[N, H', W', features]``; initialised as published GANs are: N(0, 0.02), bias 0.

    With `spectral`, the kernel is `spectrally_normalised`; `train` counts only then.
    """

    features: int
    kernel_size: int
    strides: int = 1
    padding: int = 0
    padding_mode: Literal["zero", "reflect"] = "zero"
    use_bias: bool = True
    groups: int = 1
    dtype: jnp.dtype | None = None
    param_dtype: jnp.dtype = jnp.float32
    kernel_init: Callable = normal(0.02)
    bias_init: Callable = zeros
    path: Path = "auto"
    spectral: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        shape = (self.kernel_size, self.kernel_size, x.shape[-1] // self.groups, self.features)
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        bias = None
        if self.use_bias:
            bias = self.param("bias", self.bias_init, (self.features,), self.param_dtype)
        if self.spectral:
            kernel = spectrally_normalised(self, kernel, train)
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        padding = self.padding
        if padding and self.padding_mode == "reflect":
            x, padding = reflect_pad(x, padding), 0
        x = convolution(
            x, kernel, strides=self.strides, padding=padding, groups=self.groups, path=self.path
        )
        return x if bias is None else x + bias.reshape(1, 1, 1, -1)


class ConvTranspose(nn.Module):
    """Transposed convolution with the sizes of PyTorch's; see `transposed_convolution`."""

    features: int
    kernel_size: int
    strides: int = 1
    padding: int = 0
    output_padding: int = 0
    use_bias: bool = True
    dtype: jnp.dtype | None = None
    param_dtype: jnp.dtype = jnp.float32
    kernel_init: Callable = normal(0.02)
    bias_init: Callable = zeros
    path: Path = "auto"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.kernel_size, self.kernel_size, self.features, x.shape[-1])
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        bias = None
        if self.use_bias:
            bias = self.param("bias", self.bias_init, (self.features,), self.param_dtype)
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        x = transposed_convolution(
            x,
            kernel,
            strides=self.strides,
            padding=self.padding,
            output_padding=self.output_padding,
            path=self.path,
        )
        return x if bias is None else x + bias.reshape(1, 1, 1, -1)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _standardise(x, epsilon):
    return _standardise_forward(x, epsilon)[0]


def _standardise_forward(x, epsilon):
    x = x - x.mean((1, 2), keepdims=True)
    scale = lax.rsqrt(jnp.square(x).mean((1, 2), keepdims=True) + epsilon)
    x = x * scale
    return x, (x, scale)


def _standardise_backward(epsilon, saved, cotangent):
    # Only the answer is kept, which the next layer keeps anyway.
    x, scale = saved
    along = (cotangent * x).mean((1, 2), keepdims=True)
    return (scale * (cotangent - cotangent.mean((1, 2), keepdims=True) - x * along),)


_standardise.defvjp(_standardise_forward, _standardise_backward)


class InstanceNorm(nn.Module):
    """Every channel of every image to mean 0 and (biased) variance 1 over its pixels.

    No learned scale, as in the published CycleGAN, unless `affine`. Statistics are taken in
    float32 or wider. (Ulyanov et al., arXiv:1607.08022.)
    """

    epsilon: float = 1e-5
    affine: bool = False
    dtype: jnp.dtype | None = None
    param_dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        dtype = self.dtype or x.dtype
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        wide = _standardise(wide, self.epsilon)
        if self.affine:
            shape = (x.shape[-1],)
            scale = self.param("scale", nn.initializers.ones, shape, self.param_dtype)
            bias = self.param("bias", zeros, shape, self.param_dtype)
            wide = wide * scale.reshape(1, 1, 1, -1) + bias.reshape(1, 1, 1, -1)
        return wide.astype(dtype)


class BatchNorm(nn.Module):
    """Batch normalisation over all axes but the last, as the published PyTorch code keeps it.

    The batch is normalised by its biased variance; the running variance in ``batch_stats``
    takes the unbiased one, with weight `momentum`. Flax's own keeps the biased one. Under
    ``jit`` the batch is the global one. (Ioffe & Szegedy, arXiv:1502.03167.)
    """

    momentum: float = 0.1
    epsilon: float = 1e-5
    dtype: jnp.dtype | None = None
    param_dtype: jnp.dtype = jnp.float32
    scale_init: Callable = DCGAN_SCALE
    bias_init: Callable = zeros

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        shape = (x.shape[-1],)
        over, along = tuple(range(x.ndim - 1)), (1,) * (x.ndim - 1) + shape
        dtype = self.dtype or x.dtype
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        scale = self.param("scale", self.scale_init, shape, self.param_dtype)
        bias = self.param("bias", self.bias_init, shape, self.param_dtype)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, shape, self.param_dtype)
        running_var = self.variable("batch_stats", "var", jnp.ones, shape, self.param_dtype)
        if train:
            mean = wide.mean(over)
            centred = wide - mean.reshape(along)
            var = jnp.square(centred).mean(over)
            if not self.is_initializing():
                count = x.size // x.shape[-1]
                for running, value in (
                    (running_mean, mean),
                    (running_var, var * count / max(count - 1, 1)),
                ):
                    old = running.value
                    running.value = old + self.momentum * (value.astype(old.dtype) - old)
        else:
            centred = wide - running_mean.value.reshape(along)
            var = running_var.value
        factor = scale * lax.rsqrt(var + self.epsilon)
        return (centred * factor.reshape(along) + bias.reshape(along)).astype(dtype)


def normalise(
    norm: Norm,
    x: jax.Array,
    train: bool,
    *,
    name: str,
    dtype: jnp.dtype | None = None,
    param_dtype: jnp.dtype = jnp.float32,
    scale_init: Callable = DCGAN_SCALE,
) -> jax.Array:
    """`x` through a network's choice of norm: ``instance``, ``batch`` or ``none``.

    To be called inside a compact Linen method; `name` is the norm's own, `scale_init` the initial
    scale of a batch norm.
    """
    if norm == "instance":
        return InstanceNorm(dtype=dtype, param_dtype=param_dtype, name=name)(x)
    if norm == "batch":
        types = {"dtype": dtype, "param_dtype": param_dtype}
        return BatchNorm(scale_init=scale_init, name=name, **types)(x, train)
    if norm == "none":
        return x
    raise ValueError(f"norm is {norm!r}; expected instance, batch or none")
