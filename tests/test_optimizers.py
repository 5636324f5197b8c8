"""Optimizers against their formulas, schedules against their values."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan import optimizers

IMAGES = 1000.0


def walk(build, rates, gradients):
    """Weights after each gradient, the optimizer built anew at every step, as `update` does."""
    params = {"w": jnp.asarray(gradients[0]) * 0 + 1}
    state = build({"learning_rate/p": jnp.asarray(rates[0])}).init(params)
    seen = []
    for rate, gradient in zip(rates, gradients, strict=True):
        optimizer = build({"learning_rate/p": jnp.asarray(rate)})
        changes, state = optimizer.update({"w": jnp.asarray(gradient)}, state, params)
        params = optax.apply_updates(params, changes)
        seen.append(np.asarray(params["w"]))
    return np.stack(seen)


@pytest.fixture
def gradients(x64):
    return np.random.default_rng(0).normal(size=(6, 4)) * [1e-9, 1e-3, 1.0, 1e3]


RATES = [0.1, 0.1, 0.05, 0.02, 0.01, 0.0]


def test_adam(gradients):
    """Kingma & Ba 2015, algorithm 1, with eps outside of the root, as PyTorch has it."""
    b1, b2, eps = 0.5, 0.999, 1e-8
    w, m, v, expected = np.ones(4), np.zeros(4), np.zeros(4), []
    for t, (rate, g) in enumerate(zip(RATES, gradients, strict=True), 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        w = w - rate * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
        expected.append(w)
    made = walk(optimizers.adam("p", b1, b2, eps), RATES, gradients)
    np.testing.assert_allclose(made, expected, rtol=1e-11)
    assert (made[-1] == made[-2]).all()  # at rate 0 nothing moves


def test_rmsprop(gradients):
    """v = a v + (1 - a) g^2; w -= rate g / (sqrt(v) + eps), as PyTorch has it."""
    w, v, expected = np.ones(4), np.zeros(4), []
    for rate, g in zip(RATES, gradients, strict=True):
        v = 0.9 * v + 0.1 * g**2
        w = w - rate * g / (np.sqrt(v) + 1e-8)
        expected.append(w)
    made = walk(optimizers.rmsprop("p", 0.9), RATES, gradients)
    np.testing.assert_allclose(made, expected, rtol=1e-11)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd(gradients, momentum):
    w, m, expected = np.ones(4), np.zeros(4), []
    for rate, g in zip(RATES, gradients, strict=True):
        m = momentum * m + g
        w = w - rate * m
        expected.append(w)
    made = walk(optimizers.sgd("p", momentum), RATES, gradients)
    np.testing.assert_allclose(made, expected, rtol=1e-12)


@pytest.mark.parametrize("build", [optimizers.adam("p", 0.5, 0.9), optimizers.rmsprop("p")])
def test_keeps_the_parameters_type(build, x64):
    """Under x64 the rate is float64, and float32 weights and moments stay float32."""
    params = {"w": jnp.ones(3, jnp.float32)}
    optimizer = build({"learning_rate/p": optimizers.constant(0.1)(jnp.int32(0))})
    before = optimizer.init(params)
    changes, after = optimizer.update(params, before, params)
    assert changes["w"].dtype == jnp.float32
    assert jax.tree.map(lambda x: x.dtype, after) == jax.tree.map(lambda x: x.dtype, before)


def test_a_momentum_that_moves(gradients):
    """m = u m + g; w -= rate m, with the u of each step."""
    momenta = [0.5, 0.5, 0.6, 0.7, 0.7, 0.7]
    w, m, expected = np.ones(4), np.zeros(4), []
    for rate, u, g in zip(RATES, momenta, gradients, strict=True):
        m = u * m + g
        w = w - rate * m
        expected.append(w)
    build = optimizers.sgd_with_moving_momentum("p")
    params, state, made = {"w": jnp.ones(4)}, None, []
    for rate, u, g in zip(RATES, momenta, gradients, strict=True):
        now = {"learning_rate/p": jnp.asarray(rate), "momentum/p": jnp.asarray(u)}
        optimizer = build(now)
        state = optimizer.init(params) if state is None else state
        changes, state = optimizer.update({"w": jnp.asarray(g)}, state, params)
        params = optax.apply_updates(params, changes)
        made.append(params["w"])
    np.testing.assert_allclose(made, expected, rtol=1e-12)


def test_each_player_has_its_own_rate():
    now = {"learning_rate/p": jnp.float32(1), "learning_rate/q": jnp.float32(2)}
    for player, rate in (("p", 1), ("q", 2)):
        optimizer = optimizers.sgd(player)(now)
        changes, _ = optimizer.update(jnp.ones(1), optimizer.init(jnp.ones(1)))
        assert changes == -rate


@pytest.mark.parametrize(
    ("name", "values"),
    [
        # (share of the run, share of the rate)
        ("constant", [(0, 1), (0.5, 1), (1, 1), (2, 1)]),
        ("linear", [(0, 1), (0.25, 1), (0.5, 1), (0.75, 0.5), (0.9, 0.2), (1, 0), (1.5, 0)]),
        ("cosine", [(0, 1), (0.25, 0.5 + np.sqrt(0.125)), (0.5, 0.5), (1, 0), (2, 0)]),
    ],
)
def test_schedules(name, values, x64):
    """Functions of the images; the linear one is flat for half of the run, then falls to 0."""
    schedule = {
        "constant": optimizers.constant(2e-4),
        "linear": optimizers.linear_decay(2e-4, IMAGES / 2, IMAGES),
        "cosine": optimizers.cosine(2e-4, IMAGES),
    }[name]
    for share, expected in values:
        value = schedule(jnp.int32(share * IMAGES))
        assert value.shape == ()
        assert not value.weak_type
        np.testing.assert_allclose(value, 2e-4 * expected, rtol=1e-12, atol=1e-20)
    if name == "linear":
        assert schedule(jnp.int32(IMAGES)) == 0


def test_the_schedules_of_2014(x64):
    """The rate is divided at every batch, not below a floor; the momentum moves evenly."""
    rate = optimizers.exponential(0.1, 1.25, 10, 0.05)
    for batches, expected in [(0, 0.1), (1, 0.08), (2, 0.064), (4, 0.05), (1000, 0.05)]:
        np.testing.assert_allclose(rate(jnp.int32(10 * batches)), expected, rtol=1e-12)
    momentum = optimizers.moving(0.5, 0.7, 200)
    for images, expected in [(0, 0.5), (50, 0.55), (200, 0.7), (900, 0.7)]:
        np.testing.assert_allclose(momentum(jnp.int32(images)), expected, rtol=1e-12)
    constant = optimizers.exponential(0.1, 1.0, 10, 0.0)
    assert constant(jnp.int32(10**9)) == 0.1


def test_cosine_ends_where_it_is_told(x64):
    assert optimizers.cosine(1.0, 100, final=0.25)(jnp.int32(100)) == 0.25


@pytest.mark.parametrize(
    "schedule",
    [
        optimizers.constant(2e-4),
        optimizers.linear_decay(1, 5, 9),
        optimizers.cosine(1, 9),
        optimizers.exponential(0.1, 1.1, 2, 0.01),
        optimizers.moving(0.5, 0.7, 9),
    ],
)
def test_schedules_keep_to_float32(schedule):
    value = schedule(jnp.int32(3))
    assert value.dtype == jnp.float32
    assert not value.weak_type


def test_linear_decay_of_a_long_run_in_float32():
    """200 epochs of 10,000 images: the rate still falls with every image."""
    schedule = optimizers.linear_decay(2e-4, 1e6, 2e6)
    images = jnp.arange(1_999_000, 2_000_001, dtype=jnp.int32)
    rates = jax.vmap(schedule)(images)
    assert (jnp.diff(rates) < 0).all()
    np.testing.assert_allclose(rates[0], 2e-4 * 1e-3, rtol=1e-4)
