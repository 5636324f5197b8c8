"""The convolution layer against XLA's own: values, gradients, gradients of a gradient penalty."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxgan.models import convolution
from jaxgan.models.convolution import chosen_method, chosen_path, transposed_convolution

# (size, kernel, stride, padding, channels, features, groups): the canonical path has a method of
# its own for few channels, few features, 3x3 with many of both, and the rest.
CASES = [
    ((9, 8), 7, 1, 3, 3, 10, 1),
    ((8, 9), 7, 1, 0, 10, 3, 1),
    ((16, 17), 3, 1, 1, 16, 17, 1),
    ((16, 16), 3, 1, 0, 18, 16, 1),
    ((9, 9), 3, 2, 1, 9, 10, 1),
    ((8, 8), 3, 2, 1, 9, 10, 1),
    ((8, 9), 4, 2, 1, 3, 9, 1),
    ((9, 8), 4, 1, 1, 10, 9, 1),
    ((8, 8), 4, 1, 1, 9, 1, 1),
    ((6, 5), 1, 1, 0, 9, 12, 1),
    ((7, 6), 3, 1, ((1, 0), (2, 1)), 10, 9, 1),
    ((8, 7), 3, 1, 1, 4, 6, 2),
    ((8, 7), 4, 2, 1, 6, 6, 3),
]


def xla(x, kernel, strides, padding, groups):
    pads = ((padding, padding),) * 2 if isinstance(padding, int) else padding
    return lax.conv_general_dilated(
        x,
        kernel,
        (strides, strides),
        pads,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def relative(ours, theirs):
    return float(jnp.max(jnp.abs(ours - theirs)) / jnp.max(jnp.abs(theirs)))


def answers(convolve, x, kernel):
    """Value, both gradients, and both gradients of a gradient penalty of x -> sum tanh(conv)."""

    def score(x, kernel):
        y = convolve(x, kernel)
        weights = jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)
        return jnp.sum(weights * jnp.tanh(y))

    def penalty(x, kernel):
        slope = jax.grad(score)(x, kernel)
        return jnp.sum(slope**2)

    return (
        convolve(x, kernel),
        *jax.grad(score, (0, 1))(x, kernel),
        *jax.grad(penalty, (0, 1))(x, kernel),
    )


@pytest.mark.parametrize("case", CASES, ids=str)
def test_equals_xla(case, x64):
    size, k, stride, padding, channels, features, groups = case
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, *size, channels)))
    kernel = jnp.asarray(rng.normal(size=(k, k, channels // groups, features)))

    def ours(x, kernel):
        return convolution.convolution(
            x, kernel, strides=stride, padding=padding, groups=groups, path="canonical"
        )

    def theirs(x, kernel):
        return xla(x, kernel, stride, padding, groups)

    for a, b in zip(
        jax.jit(lambda *args: answers(ours, *args))(x, kernel),
        jax.jit(lambda *args: answers(theirs, *args))(x, kernel),
        strict=True,
    ):
        assert relative(a, b) < 1e-10


@pytest.mark.parametrize(("k", "padding", "output_padding"), [(3, 1, 1), (4, 1, 0), (4, 0, 0)])
def test_transposed_is_the_adjoint(k, padding, output_padding, x64):
    """<T x, y> = <x, C y>; both paths agree; sizes are those of PyTorch's ConvTranspose2d."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, 5, 6, 9)))
    kernel = jnp.asarray(rng.normal(size=(k, k, 10, 9)))
    up = {"strides": 2, "padding": padding, "output_padding": output_padding}
    made = transposed_convolution(x, kernel, **up, path="canonical")
    assert made.shape[1:3] == tuple((s - 1) * 2 - 2 * padding + k + output_padding for s in (5, 6))
    assert relative(made, transposed_convolution(x, kernel, **up, path="xla")) < 1e-12
    y = jnp.asarray(rng.normal(size=made.shape))
    np.testing.assert_allclose(
        jnp.sum(made * y), jnp.sum(x * xla(y, kernel, 2, padding, 1)), rtol=1e-10
    )
    for a, b in zip(
        *(
            answers(lambda x, w, p=p: transposed_convolution(x, w, **up, path=p), x, kernel)
            for p in ("canonical", "xla")
        ),
        strict=True,
    ):
        assert relative(a, b) < 1e-10


def test_one_choice_of_path():
    assert chosen_path("auto", "cpu") == "canonical"
    assert {chosen_path("auto", platform) for platform in ("gpu", "tpu")} == {"xla"}
    assert chosen_path("xla", "cpu") == "xla"
    assert chosen_path("canonical", "gpu") == "canonical"
    with pytest.raises(ValueError, match="expected auto"):
        chosen_path("fast")


def test_every_method_is_compared():
    chosen = set()
    for size, k, stride, padding, channels, features, groups in CASES:
        sides = convolution._sides(padding)
        geometry = convolution.Geometry(size, (k, k), (stride, stride), sides, groups)
        chosen.add(chosen_method(geometry, 2, channels, features))
    assert chosen == {"direct", "input_patches", "output_patches", "winograd"}


@pytest.mark.parametrize("where", ["scan", "cond"])
def test_the_same_inside_control_flow(where, x64):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(1, 16, 16, 16)))
    kernel = jnp.asarray(rng.normal(size=(3, 3, 16, 16)))

    def gradient(x, kernel):
        def loss(kernel):
            y = convolution.convolution(x, kernel, padding=1, path="canonical")
            return jnp.sum(jnp.tanh(y))

        return jax.grad(loss)(kernel)

    def inside(x, kernel):
        if where == "cond":
            return lax.cond(x[0, 0, 0, 0] < 100, gradient, lambda x, kernel: kernel, x, kernel)
        return lax.scan(lambda _, x: (None, gradient(x, kernel)), None, x[None])[1][0]

    assert relative(jax.jit(inside)(x, kernel), jax.jit(gradient)(x, kernel)) < 1e-12


def test_a_kernel_that_does_not_fit():
    with pytest.raises(ValueError, match="does not fit"):
        convolution.convolution(jnp.zeros((1, 2, 2, 1)), jnp.zeros((3, 3, 1, 1)))


def test_case_list_covers_strides_and_parities():
    strides = {case[2] for case in CASES}
    parities = {(size % 2, case[1] % 2) for case in CASES for size in case[0]}
    assert strides == {1, 2}
    assert parities == set(itertools.product((0, 1), repeat=2))
