"""Losses against their closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.losses import adversarial, reconstruction

REAL, FAKE = 0.7, -1.3


def softplus(x):
    return float(np.log1p(np.exp(x)))


def sigmoid(x):
    return float(1 / (1 + np.exp(-x)))


# On constant logits: (discriminator's loss, generator's loss), and their derivatives by the real
# and by the fake logit: (D by real, D by fake, G by real, G by fake).
CLOSED = {
    "lsgan": (
        ((REAL - 1) ** 2 + FAKE**2, (FAKE - 1) ** 2),
        (2 * (REAL - 1), 2 * FAKE, 0, 2 * (FAKE - 1)),
    ),
    "bce": (
        (softplus(-REAL) + softplus(FAKE), softplus(-FAKE)),
        (-sigmoid(-REAL), sigmoid(FAKE), 0, -sigmoid(-FAKE)),
    ),
    "saturating": (
        (softplus(-REAL) + softplus(FAKE), -softplus(FAKE)),
        (-sigmoid(-REAL), sigmoid(FAKE), 0, -sigmoid(FAKE)),
    ),
    # max(0, 1 - 0.7) is on its slope, max(0, 1 - 1.3) is on its floor.
    "hinge": ((0.3, -FAKE), (-1, 0, 0, -1)),
    "wasserstein": ((FAKE - REAL, -FAKE), (-1, 1, 0, -1)),
    "relativistic": (
        (softplus(FAKE - REAL), softplus(REAL - FAKE)),
        (-sigmoid(FAKE - REAL), sigmoid(FAKE - REAL), sigmoid(REAL - FAKE), -sigmoid(REAL - FAKE)),
    ),
    "relativistic_average": (
        (2 * softplus(FAKE - REAL), 2 * softplus(REAL - FAKE)),
        (
            -2 * sigmoid(FAKE - REAL),
            2 * sigmoid(FAKE - REAL),
            2 * sigmoid(REAL - FAKE),
            -2 * sigmoid(REAL - FAKE),
        ),
    ),
}


@pytest.mark.parametrize("name", CLOSED)
def test_constant_logits(name, x64):
    loss = getattr(adversarial, name)()
    real, fake = jnp.full((2, 3, 3, 1), REAL), jnp.full((2, 3, 3, 1), FAKE)
    values = loss.discriminator(real, fake), loss.generator(real, fake)
    slopes = [
        jnp.sum(jax.grad(f, argnum)(real, fake))
        for f in (loss.discriminator, loss.generator)
        for argnum in (0, 1)
    ]
    np.testing.assert_allclose(values, CLOSED[name][0], rtol=1e-12)
    np.testing.assert_allclose(slopes, CLOSED[name][1], rtol=1e-12)


@pytest.mark.parametrize("name", sorted({*CLOSED} - {"relativistic_average"}))
def test_means_over_all_logits(name, x64):
    """The loss of many logits is the mean of the losses of each, pair by pair."""
    loss = getattr(adversarial, name)()
    real, fake = np.random.default_rng(0).normal(size=(2, 3, 4, 5, 1))
    for f in (loss.discriminator, loss.generator):
        each = [f(r, g) for r, g in zip(real.ravel(), fake.ravel(), strict=True)]
        np.testing.assert_allclose(f(real, fake), np.mean(each), rtol=1e-12)


def test_relativistic_to_the_mean(x64):
    """Each logit against the mean of the other kind."""
    real, fake = np.array([1.0, -2.0, 0.5]), np.array([0.25, 3.0, -1.0])
    r, f = real - fake.mean(), fake - real.mean()
    loss = adversarial.relativistic_average()
    d = np.mean(np.log1p(np.exp(-r))) + np.mean(np.log1p(np.exp(f)))
    g = np.mean(np.log1p(np.exp(r))) + np.mean(np.log1p(np.exp(-f)))
    np.testing.assert_allclose(loss.discriminator(real, fake), d, rtol=1e-12)
    np.testing.assert_allclose(loss.generator(real, fake), g, rtol=1e-12)


@pytest.mark.parametrize("name", CLOSED)
def test_real_logits_only_where_said(name):
    loss = getattr(adversarial, name)()
    assert loss.relativistic == name.startswith("relativistic")
    if not loss.relativistic:
        fake = jnp.array([-0.5, 2.0])
        assert loss.generator(None, fake) == loss.generator(jnp.array([9.0, 9.0]), fake)


def test_lsgan_labels(x64):
    """Mao et al.'s a, b and c: the Pearson chi-square choice is -1, 1 and 0."""
    loss = adversarial.lsgan(fake_label=-1.0, real_label=1.0, wanted=0.0)
    one = jnp.ones(())
    np.testing.assert_allclose(loss.discriminator(0.5 * one, 0.25 * one), 0.25 + 1.5625)
    np.testing.assert_allclose(loss.generator(None, 0.25 * one), 0.0625)


@pytest.mark.parametrize("name", ["bce", "relativistic"])
def test_large_logits_stay_finite(name):
    loss = getattr(adversarial, name)()
    big = jnp.full((4,), 1e4)
    np.testing.assert_allclose(loss.discriminator(-big, big), 2e4, rtol=1e-6)
    assert np.isfinite(jax.grad(loss.discriminator)(-big, big)).all()
    assert loss.discriminator(big, -big) == 0


def test_distances(x64):
    image = jnp.array([1.0, -1.0, 0.5, 0.0])
    target = jnp.array([0.0, -1.0, 0.0, 1.0])
    np.testing.assert_allclose(reconstruction.l1(image, target), 2.5 / 4)
    np.testing.assert_allclose(reconstruction.l2(image, target), 2.25 / 4)
    np.testing.assert_allclose(
        jax.grad(reconstruction.l1)(image, target), np.array([1, 0, 1, -1]) / 4
    )


@pytest.mark.parametrize("name", ["l1", "l2"])
def test_distances_of_bfloat16(name):
    """4096 differences of 1/256 vanish in a bfloat16 sum; the loss is float32."""
    image = jnp.full((4096,), 1 / 256, jnp.bfloat16)
    loss = getattr(reconstruction, name)(image, jnp.zeros_like(image))
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, (1 / 256) ** (1 if name == "l1" else 2), rtol=1e-6)
