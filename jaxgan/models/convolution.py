"""Convolutions that are equally fast inside and outside of control flow.

A convolution is one trilinear form ``<convolve(x, kernel), y>``. Its three partial
derivatives are the forward pass (by ``y``), the input adjoint (by ``x``, which is the
transposed convolution) and the weight adjoint (by ``kernel``). Each is bilinear, so the
derivative of any of them is made of the other two: the set is closed under differentiation,
and the gradient of a gradient penalty runs through the same three functions.

On the CPU, XLA canonicalises convolutions only outside ``scan``, ``cond`` and ``while``; the
``canonical`` path writes all three in the canonical form (NHWC, HWIO, explicit transposes).
"""

from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxgan.models import winograd

Path = Literal["auto", "canonical", "xla"]
Padding = int | tuple[tuple[int, int], tuple[int, int]]

FEW = 8  # channels, or features, up to which patches are worth their memory


class Geometry(NamedTuple):
    """The static part of a convolution; `size` is the height and width of its input."""

    size: tuple[int, int]
    kernel: tuple[int, int]
    strides: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]
    groups: int

    @property
    def output(self) -> tuple[int, int]:
        return tuple(
            (s + lo + hi - k) // stride + 1
            for s, k, stride, (lo, hi) in zip(
                self.size, self.kernel, self.strides, self.padding, strict=True
            )
        )


def chosen_path(path: Path = "auto", platform: str | None = None) -> str:
    """The path that a convolution takes: ``canonical`` on the CPU, XLA's own elsewhere.

    Args:
      path: ``auto``, or a path by name, which is then the answer.
      platform: ``cpu``, ``gpu``, ``tpu``; default: JAX's default backend.
    """
    if path not in ("auto", "canonical", "xla"):
        raise ValueError(f"path is {path!r}; expected auto, canonical or xla")
    if path != "auto":
        return path
    return "canonical" if (platform or jax.default_backend()) == "cpu" else "xla"


def chosen_method(geometry: Geometry, batch: int, channels: int, features: int) -> str:
    """How the canonical path computes a convolution and its adjoints; shapes alone decide.

    Returns:
      ``dense``: one answer for each image. ``winograd``: 3x3, stride 1, many channels.
      ``input_patches``, ``output_patches``: few channels come in or go out. ``blocks``: strides
      that divide the kernel. Else ``direct``.
    """
    height, width = geometry.output
    if geometry.groups > 1:
        return "direct"
    whole = geometry.size == geometry.kernel and geometry.output == (1, 1)
    if whole and not any(low for low, _ in geometry.padding):
        return "dense"
    if channels <= FEW and channels <= features:
        return "input_patches"
    if features <= FEW and geometry.strides == (1, 1):
        return "output_patches"
    tiles = batch * ((height + 1) // 2) * ((width + 1) // 2)
    three = geometry.kernel == (3, 3) and geometry.strides == (1, 1)
    if three and min(channels, features) >= 16 and tiles >= 64:
        return "winograd"
    if geometry.strides != (1, 1) and not any(
        k % stride for k, stride in zip(geometry.kernel, geometry.strides, strict=True)
    ):
        return "blocks"
    return "direct"


def convolution(
    x: jax.Array,
    kernel: jax.Array,
    *,
    strides: int | tuple[int, int] = 1,
    padding: Padding = 0,
    groups: int = 1,
    path: Path = "auto",
) -> jax.Array:
    """Cross-correlation, as deep learning's "convolution" is.

    Args:
      x: ``[N, H, W, C]``.
      kernel: ``[h, w, C / groups, features]`` (HWIO), same dtype as `x`.
      strides: one number or (vertical, horizontal).
      padding: zeros on every side, or ``((top, bottom), (left, right))``.
      groups: feature groups.
      path: see `chosen_path`.

    Returns:
      ``[N, H', W', features]``.
    """
    geometry = Geometry(x.shape[1:3], kernel.shape[:2], _pair(strides), _sides(padding), groups)
    if min(geometry.output) < 1:
        raise ValueError(f"a {geometry.kernel} kernel does not fit into {x.shape}")
    if chosen_path(path) == "xla":
        return _xla(x, kernel, geometry)
    return _forward(x, kernel, geometry)


def transposed_convolution(
    x: jax.Array,
    kernel: jax.Array,
    *,
    strides: int | tuple[int, int] = 1,
    padding: int = 0,
    output_padding: int = 0,
    path: Path = "auto",
) -> jax.Array:
    """The adjoint of a convolution, with the sizes of PyTorch's ``ConvTranspose2d``.

    Args:
      x: ``[N, H, W, C]``.
      kernel: ``[h, w, features, C]``: the HWIO kernel of the convolution, from `features` to
        ``C`` channels, whose adjoint this is (PyTorch's weight, transposed by ``2, 3, 1, 0``).
      strides: of that convolution.
      padding: of that convolution.
      output_padding: further rows and columns at the bottom and at the right.
      path: see `chosen_path`.

    Returns:
      ``[N, (H - 1) * stride - 2 * padding + h + output_padding, ..., features]``.
    """
    strides = _pair(strides)
    size = tuple(
        (s - 1) * stride - 2 * padding + k + output_padding
        for s, stride, k in zip(x.shape[1:3], strides, kernel.shape[:2], strict=True)
    )
    geometry = Geometry(size, kernel.shape[:2], strides, _sides(padding), 1)
    if geometry.output != x.shape[1:3]:
        raise ValueError("output_padding must be smaller than the stride")
    if chosen_path(path) == "xla":
        return _dilated(x, _swapped(kernel, 1), geometry)
    return _input_adjoint(x, kernel, geometry)


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _sides(padding: Padding) -> tuple[tuple[int, int], tuple[int, int]]:
    if isinstance(padding, int):
        return ((padding, padding), (padding, padding))
    return tuple(tuple(side) for side in padding)


def _xla(x, kernel, geometry):
    return lax.conv_general_dilated(
        x,
        kernel,
        geometry.strides,
        geometry.padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=geometry.groups,
    )


# The three adjoints, each the derivative of the other two. Arguments: x [N, H, W, C],
# kernel [h, w, C / groups, F], y [N, H', W', F].


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _forward(x, kernel, geometry):
    return _FORWARD[chosen_method(geometry, *_sizes(x, kernel, geometry))](x, kernel, geometry)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _input_adjoint(y, kernel, geometry):
    method = chosen_method(geometry, *_sizes(y, kernel, geometry))
    return _INPUT_ADJOINT[method](y, kernel, geometry)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _weight_adjoint(x, y, geometry):
    method = chosen_method(geometry, x.shape[0], x.shape[-1], y.shape[-1])
    return _WEIGHT_ADJOINT[method](x, y, geometry)


def _sizes(array, kernel, geometry):
    return array.shape[0], kernel.shape[2] * geometry.groups, kernel.shape[3]


def _keep(first, second, geometry, function):
    return function(first, second, geometry), (first, second)


_forward.defvjp(
    partial(_keep, function=_forward),
    lambda geometry, saved, y: (
        _input_adjoint(y, saved[1], geometry),
        _weight_adjoint(saved[0], y, geometry),
    ),
)
_input_adjoint.defvjp(
    partial(_keep, function=_input_adjoint),
    lambda geometry, saved, x: (
        _forward(x, saved[1], geometry),
        _weight_adjoint(x, saved[0], geometry),
    ),
)
_weight_adjoint.defvjp(
    partial(_keep, function=_weight_adjoint),
    lambda geometry, saved, kernel: (
        _input_adjoint(saved[1], kernel, geometry),
        _forward(saved[0], kernel, geometry),
    ),
)


def _pad(x, rows, columns):
    """Zeros around [N, H, W, C]; negative numbers crop."""
    return lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), (*rows, 0), (*columns, 0), (0, 0, 0)))


def _crop(x, rows, columns):
    return _pad(x, [-n for n in rows], [-n for n in columns])


def _taps(x, count, stride, size, axis):
    """What each of `count` kernel positions along `axis` meets: `size` pixels, `stride` apart."""
    return [lax.slice_in_dim(x, i, i + (size - 1) * stride + 1, stride, axis) for i in range(count)]


def _matmul(x, matrix):
    """[N, H, W, C] by [C, F]."""
    return (x.reshape(-1, x.shape[-1]) @ matrix).reshape(*x.shape[:-1], -1)


def _outer(x, y):
    """[N, H, W, C] and [N, H, W, F] to [C, F], summed over pixels."""
    return x.reshape(-1, x.shape[-1]).T @ y.reshape(-1, y.shape[-1])


# direct: XLA's convolution where it is fast, one matrix product per weight where it isn't.


def _direct_input_adjoint(y, kernel, geometry):
    return _dilated(y, _swapped(kernel, geometry.groups), geometry)


def _swapped(kernel, groups):
    """The kernel of the input adjoint: turned by 180 degrees, input and output swapped."""
    h, w, i, o = kernel.shape
    kernel = kernel[::-1, ::-1].reshape(h, w, i, groups, o // groups)
    return kernel.transpose(0, 1, 4, 3, 2).reshape(h, w, o // groups, groups * i)


def _dilated(y, swapped, geometry):
    """The input adjoint as a convolution of `y`, dilated by the strides."""
    padding = tuple(
        (k - 1 - lo, size + lo - (out - 1) * stride - 1)
        for size, k, stride, (lo, _), out in zip(*geometry[:4], geometry.output, strict=True)
    )
    return lax.conv_general_dilated(
        y,
        swapped,
        (1, 1),
        padding,
        lhs_dilation=geometry.strides,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=geometry.groups,
    )


def _direct_weight_adjoint(x, y, geometry):
    (h, w), (down, right) = geometry.kernel, geometry.strides
    if geometry.groups > 1 or h * w > 9:  # as fast, and less to compile
        return _canonical_weight_adjoint(x, y, geometry)
    height, width = geometry.output
    weights = [
        _outer(part, y)
        for row in _taps(_pad(x, *geometry.padding), h, down, height, 1)
        for part in _taps(row, w, right, width, 2)
    ]
    return jnp.stack(weights).reshape(h, w, x.shape[-1], y.shape[-1])


def _canonical_weight_adjoint(x, y, geometry):
    """As a canonical convolution: the batch becomes the features that are summed over."""
    groups = geometry.groups
    n, height, width, c = x.shape
    x = x.reshape(n, height, width, groups, c // groups).transpose(4, 1, 2, 3, 0)
    padding = tuple(
        (lo, k - 1 + (out - 1) * stride + 1 - size - lo)
        for size, k, stride, (lo, _), out in zip(*geometry[:4], geometry.output, strict=True)
    )
    result = lax.conv_general_dilated(
        x.reshape(c // groups, height, width, groups * n),
        y.transpose(1, 2, 0, 3),
        (1, 1),
        padding,
        rhs_dilation=geometry.strides,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )
    return result.transpose(1, 2, 0, 3)


# dense: a kernel as large as the image is a matrix.


def _dense_forward(x, kernel, geometry):
    return _matmul(x.reshape(x.shape[0], 1, 1, -1), kernel.reshape(-1, kernel.shape[-1]))


def _dense_input_adjoint(y, kernel, geometry):
    x = _matmul(y, kernel.reshape(-1, kernel.shape[-1]).T)
    return x.reshape(y.shape[0], *geometry.size, -1)


def _dense_weight_adjoint(x, y, geometry):
    kernel = _outer(x.reshape(x.shape[0], 1, 1, -1), y)
    return kernel.reshape(*geometry.kernel, x.shape[-1], y.shape[-1])


# blocks: blocks of pixels, as large as the strides, become channels. Then the kernel has a few
# positions, a stride of 1, and one matrix product for each.


def _block_kernel(kernel, geometry):
    """[h, w, C, F] to the kernel's positions in blocks, each [blocks' pixels * C, F]."""
    (h, w), (down, right) = geometry.kernel, geometry.strides
    kernel = kernel.reshape(h // down, down, w // right, right, *kernel.shape[2:])
    return kernel.transpose(0, 2, 1, 3, 4, 5).reshape(h // down, w // right, -1, kernel.shape[-1])


def _blocks_input_adjoint(y, kernel, geometry):
    (h, w), (down, right) = geometry.kernel, geometry.strides
    (top, bottom), (left, right_side) = geometry.padding
    matrices = _block_kernel(kernel, geometry)
    rows, columns = h // down - 1, w // right - 1
    x = sum(
        _pad(_matmul(y, matrices[i, j].T), (i, rows - i), (j, columns - j))
        for i in range(rows + 1)
        for j in range(columns + 1)
    )
    n, height, width, _ = x.shape
    x = x.reshape(n, height, width, down, right, -1).transpose(0, 1, 3, 2, 4, 5)
    x = x.reshape(n, height * down, width * right, -1)
    # Rows and columns that no kernel reached are 0.
    unmet = [
        size + lo + hi - made
        for size, (lo, hi), made in zip(geometry.size, geometry.padding, x.shape[1:3], strict=True)
    ]
    return _crop(x, (top, bottom - unmet[0]), (left, right_side - unmet[1]))


# input_patches: each answer's whole window of a few-channel image as one row of a matrix.


def _patches(x, geometry):
    (h, w), (down, right) = geometry.kernel, geometry.strides
    height, width = geometry.output
    x = _pad(x, *geometry.padding)
    x = jnp.concatenate(_taps(x, w, right, width, 2), axis=-1)
    return jnp.concatenate(_taps(x, h, down, height, 1), axis=-1)


def _patches_adjoint(patches, geometry):
    for axis, i in ((1, 0), (2, 1)):
        lo, hi = geometry.padding[i]
        stride, padded = geometry.strides[i], geometry.size[i] + lo + hi
        used = (geometry.output[i] - 1) * stride + 1
        total = 0
        for j, part in enumerate(jnp.split(patches, geometry.kernel[i], axis=-1)):
            widths = [(0, 0, 0)] * 4
            widths[axis] = (j - lo, padded - used - j - hi, stride - 1)
            total = total + lax.pad(part, jnp.zeros((), part.dtype), widths)
        patches = total
    return patches


def _input_patches_forward(x, kernel, geometry):
    return _matmul(_patches(x, geometry), kernel.reshape(-1, kernel.shape[-1]))


def _input_patches_input_adjoint(y, kernel, geometry):
    return _patches_adjoint(_matmul(y, kernel.reshape(-1, kernel.shape[-1]).T), geometry)


def _input_patches_weight_adjoint(x, y, geometry):
    kernel = _outer(_patches(x, geometry), y)
    return kernel.reshape(*geometry.kernel, x.shape[-1], y.shape[-1])


# output_patches: the same with the roles of image and answer swapped, for a convolution to a
# few features. Stride 1 only: its adjoint is then a convolution too.


def _mirrored(geometry):
    padding = tuple(
        (k - 1 - lo, k - 1 - hi)
        for k, (lo, hi) in zip(geometry.kernel, geometry.padding, strict=True)
    )
    return geometry._replace(size=geometry.output, padding=padding)


def _output_patches_forward(x, kernel, geometry):
    return _input_patches_input_adjoint(x, _swapped(kernel, 1), _mirrored(geometry))


def _output_patches_input_adjoint(y, kernel, geometry):
    return _input_patches_forward(y, _swapped(kernel, 1), _mirrored(geometry))


def _output_patches_weight_adjoint(x, y, geometry):
    return _swapped(_input_patches_weight_adjoint(y, x, _mirrored(geometry)), 1)


# winograd: see `winograd`, which takes answers of even size.


def _odd(geometry):
    return [size % 2 for size in geometry.output]


def _winograd_image(x, geometry):
    (top, bottom), (left, right) = geometry.padding
    rows, columns = _odd(geometry)
    return _pad(x, (top, bottom + rows), (left, right + columns))


def _winograd_answer(y, geometry):
    rows, columns = _odd(geometry)
    return _pad(y, (0, rows), (0, columns)) if rows or columns else y


def _wide(dtype):
    return jnp.promote_types(dtype, jnp.float32)  # bfloat16 would lose bits in the transforms


def _winograd_forward(x, kernel, geometry):
    wide = _wide(x.dtype)
    y = winograd.forward(_winograd_image(x, geometry).astype(wide), kernel.astype(wide))
    rows, columns = _odd(geometry)
    return _crop(y, (0, rows), (0, columns)).astype(x.dtype)


def _winograd_input_adjoint(y, kernel, geometry):
    wide = _wide(y.dtype)
    x = winograd.input_adjoint(_winograd_answer(y, geometry).astype(wide), kernel.astype(wide))
    (top, bottom), (left, right) = geometry.padding
    rows, columns = _odd(geometry)
    return _crop(x, (top, bottom + rows), (left, right + columns)).astype(y.dtype)


def _winograd_weight_adjoint(x, y, geometry):
    wide = _wide(x.dtype)
    return winograd.weight_adjoint(
        _winograd_image(x, geometry).astype(wide), _winograd_answer(y, geometry).astype(wide)
    ).astype(x.dtype)


_FORWARD = {
    "direct": _xla,
    "dense": _dense_forward,
    "blocks": _xla,
    "input_patches": _input_patches_forward,
    "output_patches": _output_patches_forward,
    "winograd": _winograd_forward,
}
_INPUT_ADJOINT = {
    "direct": _direct_input_adjoint,
    "dense": _dense_input_adjoint,
    "blocks": _blocks_input_adjoint,
    "input_patches": _input_patches_input_adjoint,
    "output_patches": _output_patches_input_adjoint,
    "winograd": _winograd_input_adjoint,
}
_WEIGHT_ADJOINT = {
    "direct": _direct_weight_adjoint,
    "dense": _dense_weight_adjoint,
    "blocks": _direct_weight_adjoint,
    "input_patches": _input_patches_weight_adjoint,
    "output_patches": _output_patches_weight_adjoint,
    "winograd": _winograd_weight_adjoint,
}
