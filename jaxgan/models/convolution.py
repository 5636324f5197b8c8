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
from jax import lax

Path = Literal["auto", "canonical", "xla"]
Padding = int | tuple[tuple[int, int], tuple[int, int]]


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


def _swapped(kernel, groups):
    """The kernel of the input adjoint: turned by 180 degrees, input and output swapped."""
    h, w, i, o = kernel.shape
    kernel = kernel[::-1, ::-1].reshape(h, w, i, groups, o // groups)
    return kernel.transpose(0, 1, 4, 3, 2).reshape(h, w, o // groups, groups * i)


def _dilated(y, swapped, geometry):
    """Input adjoint as a convolution of `y`, dilated by the strides."""
    padding = tuple(
        (k - 1 - lo, size + k - 1 - ((out - 1) * stride + 1) - (k - 1 - lo))
        for size, k, stride, (lo, _), out in zip(
            geometry.size,
            geometry.kernel,
            geometry.strides,
            geometry.padding,
            geometry.output,
            strict=True,
        )
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


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _forward(x, kernel, geometry):
    """[N, H, W, C], [h, w, C / groups, F] -> [N, H', W', F]."""
    return _xla(x, kernel, geometry)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _input_adjoint(y, kernel, geometry):
    """[N, H', W', F], [h, w, C / groups, F] -> [N, H, W, C]."""
    return _dilated(y, _swapped(kernel, geometry.groups), geometry)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _weight_adjoint(x, y, geometry):
    """[N, H, W, C], [N, H', W', F] -> [h, w, C / groups, F]."""
    groups = geometry.groups
    n, height, width, c = x.shape
    f = y.shape[-1]
    # The batch becomes the contracted feature; each group is one group of that convolution.
    lhs = x.reshape(n, height, width, groups, c // groups).transpose(4, 1, 2, 3, 0)
    lhs = lhs.reshape(c // groups, height, width, groups * n)
    padding = tuple(
        (lo, (k - 1) + (out - 1) * stride + 1 - size - lo)
        for size, k, stride, (lo, _), out in zip(
            geometry.size,
            geometry.kernel,
            geometry.strides,
            geometry.padding,
            geometry.output,
            strict=True,
        )
    )
    result = lax.conv_general_dilated(
        lhs,
        y.transpose(1, 2, 0, 3),
        (1, 1),
        padding,
        rhs_dilation=geometry.strides,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )
    return result.transpose(1, 2, 0, 3).reshape(*geometry.kernel, c // groups, f)


def _keep(x, y, geometry, function):
    return function(x, y, geometry), (x, y)


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
