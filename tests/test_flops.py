"""FLOPs against closed forms."""

import jax
import jax.numpy as jnp

from jaxgan import flops


def spec(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def test_matrix_products():
    assert flops.count(lambda x, y: x @ y, spec(3, 5), spec(5, 7)) == 2 * 3 * 5 * 7
    assert flops.count(lambda x, y: x @ y, spec(4, 3, 5), spec(4, 5, 7)) == 4 * 2 * 3 * 5 * 7
    assert flops.count(lambda x: x + 1, spec(3, 5)) == 0


def convolution(x, kernel, stride=1, dilation=1, groups=1):
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        ((1, 1), (1, 1)),
        lhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def test_convolutions():
    x, kernel = spec(2, 8, 8, 4), spec(3, 3, 4, 6)
    once = 2 * (2 * 8 * 8 * 6) * (3 * 3 * 4)
    assert flops.count(convolution, x, kernel) == once
    assert flops.count(lambda x, k: convolution(x, k, stride=2), x, kernel) == once // 4
    grouped = spec(3, 3, 2, 6)
    assert flops.count(lambda x, k: convolution(x, k, groups=2), x, grouped) == once // 2


def test_both_adjoints_cost_as_much_as_the_convolution():
    x, kernel = spec(2, 8, 8, 4), spec(3, 3, 4, 6)
    once = flops.count(convolution, x, kernel)
    gradient = jax.grad(lambda x, k: convolution(x, k).sum(), (0, 1))
    assert flops.count(gradient, x, kernel) == 3 * once


def test_zeros_between_pixels_cost_nothing():
    x, kernel = spec(1, 8, 8, 4), spec(3, 3, 4, 6)
    made = jax.eval_shape(lambda x, k: convolution(x, k, dilation=2), x, kernel)
    work = flops.count(lambda x, k: convolution(x, k, dilation=2), x, kernel)
    assert work == 2 * made.size * (3 * 3 * 4) // 4


def test_loops_and_branches():
    def loop(x):
        return jax.lax.scan(lambda x, _: (x @ x, None), x, None, length=7)[0]

    def branch(x):
        return jax.lax.cond(x[0, 0] > 0, lambda x: x @ x @ x, lambda x: x @ x, x)

    x, once = spec(5, 5), 2 * 5**3
    assert flops.count(loop, x) == 7 * once
    assert flops.count(branch, x) == 2 * once
    assert flops.count(jax.jit(jax.checkpoint(lambda x: jnp.sin(x @ x) @ x)), x) == 2 * once
