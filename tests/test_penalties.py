"""Penalties against their closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.losses import penalties

RNG = np.random.default_rng(0)
REAL, FAKE = (RNG.normal(size=(5, 3, 4, 2)) for _ in range(2))
W = RNG.normal(size=(3, 4, 2))
SHARE = RNG.random(5)
LENGTH = np.sqrt(np.sum(W**2))


def linear(x, w=W):
    """Its gradient is `w` everywhere."""
    return jnp.sum(x * w, (1, 2, 3))


def bowl(x):
    """Its gradient is `x`."""
    return 0.5 * jnp.sum(x**2, (1, 2, 3))[:, None]


@pytest.mark.parametrize("target", [1.0, 0.0, 30.0])
@pytest.mark.parametrize("one_sided", [False, True])
def test_gradient_penalty_of_a_linear_critic(target, one_sided, x64):
    ours = penalties.gradient_penalty(linear, REAL, FAKE, SHARE, target, one_sided)
    excess = LENGTH - target
    expected = max(excess, 0) ** 2 if one_sided else excess**2
    assert np.isclose(ours, expected, rtol=1e-12)


def test_gradient_penalty_is_taken_between_real_and_fake(x64):
    between = SHARE[:, None, None, None] * REAL + (1 - SHARE[:, None, None, None]) * FAKE
    lengths = np.sqrt(np.sum(between**2, (1, 2, 3)))
    ours = penalties.gradient_penalty(bowl, REAL, FAKE, SHARE)
    assert np.isclose(ours, np.mean((lengths - 1) ** 2), rtol=1e-12)


def test_zero_centred(x64):
    assert np.isclose(penalties.zero_centred(linear, REAL), LENGTH**2 / 2, rtol=1e-12)
    expected = np.mean(np.sum(REAL**2, (1, 2, 3))) / 2
    assert np.isclose(penalties.zero_centred(bowl, REAL), expected, rtol=1e-12)


def test_their_gradients(x64):
    """By the weights of a linear critic: 2 (|w| - 1) w / |w|, and w."""
    gradient = jax.grad(
        lambda w: penalties.gradient_penalty(lambda x: linear(x, w), REAL, FAKE, SHARE)
    )(W)
    assert np.allclose(gradient, 2 * (LENGTH - 1) * W / LENGTH, rtol=1e-12)
    gradient = jax.grad(lambda w: penalties.zero_centred(lambda x: linear(x, w), REAL))(W)
    assert np.allclose(gradient, W, rtol=1e-12)


def test_a_flat_critic_has_finite_gradients():
    """As at its start, where all its weights may be 0."""

    def penalty(w):
        return penalties.gradient_penalty(lambda x: linear(x, w), REAL, FAKE, SHARE)

    value, gradient = jax.value_and_grad(penalty)(jnp.zeros_like(W))
    assert np.isclose(value, 1)
    assert np.all(np.isfinite(gradient))
