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


def test_around_the_real_images(x64):
    """DRAGAN: of a linear critic, and of one whose gradient is where it is taken."""
    noise = RNG.random(REAL.shape)
    assert np.isclose(
        penalties.around_real(linear, REAL, noise, SHARE, 2.0), (LENGTH - 2) ** 2, rtol=1e-12
    )
    near = REAL + SHARE[:, None, None, None] * 0.5 * np.std(REAL) * noise
    lengths = np.sqrt(np.sum(near**2, (1, 2, 3)))
    ours = penalties.around_real(bowl, REAL, noise, SHARE)
    assert np.isclose(ours, np.mean((lengths - 1) ** 2), rtol=1e-12)


def test_terms_of_a_loss(x64):
    """Each is taken where its paper says, at given draws or at draws of its own."""
    given = {"interpolation": SHARE, "perturbation": RNG.random(REAL.shape)}
    near = REAL + SHARE[:, None, None, None] * 0.5 * np.std(REAL) * given["perturbation"]
    expected = {
        "gradient_penalty": penalties.gradient_penalty(bowl, REAL, FAKE, SHARE, 3.0, True),
        "r1": np.mean(np.sum(REAL**2, (1, 2, 3))) / 2,
        "r2": np.mean(np.sum(FAKE**2, (1, 2, 3))) / 2,
        "dragan": np.mean((np.sqrt(np.sum(near**2, (1, 2, 3))) - 3) ** 2),
    }
    terms = [
        penalties.gp(2.0, 3.0, True, 4),
        penalties.r1(2.0, 4),
        penalties.r2(2.0, 4),
        penalties.dragan(2.0, 3.0, 4),
    ]
    keys = [jax.random.key(seed) for seed in (0, 0, 1)]
    for term in terms:
        assert (term.weight, term.every) == (2.0, 4)
        assert np.isclose(term.value(bowl, REAL, FAKE, keys[0], given), expected[term.name])
        one, same, other = (term.value(bowl, REAL, FAKE, key, {}) for key in keys)
        assert one == same
        assert (one == other) == (term.name in ("r1", "r2"))  # which draw nothing


def test_clipping():
    params = {"a": {"kernel": jnp.array([[-3.0, 0.5], [0.125, 9.0]])}, "b": jnp.array([-0.125])}
    clipped = penalties.clip(0.25)(params)
    np.testing.assert_array_equal(clipped["a"]["kernel"], [[-0.25, 0.25], [0.125, 0.25]])
    np.testing.assert_array_equal(clipped["b"], [-0.125])
