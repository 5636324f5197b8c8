"""The game of noise against pictures: its moves, by hand and by their traces."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax import linen as nn

from jaxgan.errors import UserError
from jaxgan.games.synthesis import Latent, synthesis
from jaxgan.losses.adversarial import bce, relativistic, wasserstein
from jaxgan.losses.penalties import gp
from jaxgan.models import dcgan
from jaxgan.models.initializers import normal
from jaxgan.models.layers import BatchNorm
from jaxgan.optimizers import constant, sgd
from jaxgan.update import init_state, make_update

Z, SIZE, RATE = 3, 2, 0.1


class Generator(nn.Module):
    norm: bool = False

    @nn.compact
    def __call__(self, latent, train):
        types = {"dtype": jnp.float64, "param_dtype": jnp.float64}
        x = nn.Dense(SIZE * SIZE * 3, kernel_init=normal(0.5), name="out", **types)(latent)
        x = x.reshape(-1, SIZE, SIZE, 3)
        return BatchNorm(name="norm", **types)(x, train) if self.norm else x


class Discriminator(nn.Module):
    norm: bool = False

    @nn.compact
    def __call__(self, x, train):
        types = {"dtype": jnp.float64, "param_dtype": jnp.float64}
        x = BatchNorm(name="norm", **types)(x, train) if self.norm else x
        x = x.reshape(x.shape[0], -1)
        return nn.Dense(1, kernel_init=normal(0.5), name="out", **types)(x)


def played(batch, norm=False, loss=wasserstein, rounds=1, **settings):
    """The state before and after one step of SGD."""
    nets = {"generator": Generator(norm), "discriminator": Discriminator(norm)}
    game = synthesis(nets, loss(), Latent(Z), rounds=rounds, **settings)
    optimizers = {player: sgd(player) for player in game.players}
    schedules = {f"learning_rate/{player}": constant(RATE) for player in game.players}
    args = (game, optimizers, schedules, None)
    before = init_state(*args, 0, tiny.shapes(batch), jnp.float64)
    after = tiny.jit(make_update(*args, dtype=jnp.float64))(before, batch, None)
    return before, jax.device_get(after)


def batch(rounds=1, count=4, **given):
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (rounds, 1, count, SIZE, SIZE, 3), np.uint8)
    return {"image": images} | {
        name: rng.normal(size=(rounds, 1, count, Z)) for name in given if given[name]
    }


def weights(state):
    return {
        net: (np.asarray(p["out"]["kernel"]), np.asarray(p["out"]["bias"]))
        for net, p in state.params.items()
    }


@pytest.mark.parametrize("handed", [True, False])
def test_a_step_by_hand(handed, x64):
    """Linear networks and Wasserstein's loss: D moves along the difference of the means, then G
    along D's new weights."""
    data = batch(latent=True, latent_generator=True)
    before, after = played(data, handed=handed)
    (g, g_bias), (d, d_bias) = (weights(before)[net] for net in ("generator", "discriminator"))
    real = data["image"][0, 0].reshape(4, -1) / 127.5 - 1
    latent = data["latent"][0, 0]
    fake = latent @ g + g_bias
    new_d = d - RATE * (fake.mean(0) - real.mean(0))[:, None]
    played_with = latent if handed else data["latent_generator"][0, 0]
    new_g = g + RATE * np.outer(played_with.mean(0), new_d[:, 0])
    assert np.allclose(weights(after)["discriminator"][0], new_d, rtol=1e-12)
    assert np.allclose(weights(after)["discriminator"][1], d_bias, rtol=1e-12)
    assert np.allclose(weights(after)["generator"][0], new_g, rtol=1e-12)
    assert np.allclose(weights(after)["generator"][1], g_bias + RATE * new_d[:, 0], rtol=1e-12)
    assert np.isclose(after.metrics["discriminator"][0], (fake @ d - real @ d).mean(), rtol=1e-9)


def test_every_round_has_a_batch_of_its_own(x64):
    data = batch(rounds=3, latent=True)
    before, after = played(data, rounds=3)
    d, g = weights(before)["discriminator"][0], weights(before)["generator"]
    for i in range(3):
        real = data["image"][i, 0].reshape(4, -1) / 127.5 - 1
        fake = data["latent"][i, 0] @ g[0] + g[1]
        d = d - RATE * (fake.mean(0) - real.mean(0))[:, None]
    assert np.allclose(weights(after)["discriminator"][0], d, rtol=1e-12)
    assert after.metrics["discriminator"][1] == 3
    assert after.metrics["generator"][1] == 1


def test_the_penalty_joins_the_loss(x64):
    data = batch(latent=True)
    weight = 2.0
    before, after = played(data, penalties=[gp(weight)])
    plain = played(data)[1]
    d = weights(before)["discriminator"][0]
    length = np.sqrt(np.sum(d**2))
    push = RATE * weight * 2 * (length - 1) * d / length
    ours, without = (weights(s)["discriminator"][0] for s in (after, plain))
    assert np.allclose(ours, without - push, rtol=1e-9)
    assert np.isclose(after.metrics["gradient_penalty"][0], (length - 1) ** 2, rtol=1e-9)
    # Logged as published: the critic's difference alone.
    assert after.metrics["discriminator"] == plain.metrics["discriminator"]


def test_whose_statistics_move(x64):
    """The generator's by its own move alone; the discriminator's three times."""
    data = batch(latent=True)
    before, after = played(data, norm=True, loss=bce)
    moved = {}
    for net in ("generator", "discriminator"):
        mean = after.stats[net]["batch_stats"]["norm"]["mean"]
        moved[net] = mean
    g, g_bias = weights(before)["generator"]
    flat = (data["latent"][0, 0] @ g + g_bias).reshape(-1, 3)
    assert np.allclose(moved["generator"], 0.1 * flat.mean(0), rtol=1e-9)
    # real, fake, and the fake again when the generator plays; normalised fakes have mean `bias`.
    real = (data["image"][0, 0].reshape(-1, 3) / 127.5 - 1).mean(0)
    scale = before.params["generator"]["norm"]
    fake = np.asarray(scale["bias"])
    expected = ((0.1 * real) * 0.9 + 0.1 * fake) * 0.9 + 0.1 * fake
    assert np.allclose(moved["discriminator"], expected, atol=1e-9)


def test_noise_is_drawn_where_none_is_given(x64):
    """Anew in each step and for each seed, by the law that is asked for."""
    data = batch()
    _, one = played(data)
    _, same = played(data)
    assert tiny.difference(one, same) == 0
    uniform = Latent(4000, "uniform").draw(jax.random.key(0), 2, jnp.float32)
    assert -1 <= uniform.min() < -0.99
    assert 0.99 < uniform.max() < 1
    drawn = Latent(4000).draw(jax.random.key(0), 2, jnp.float32)
    assert abs(drawn.mean()) < 0.05
    assert abs(drawn.std() - 1) < 0.05


def test_a_relativistic_generator_sees_the_real_images(x64):
    data = batch(latent=True)
    shown = data["image"].copy()
    shown[0, 0, 0] = 255 - shown[0, 0, 0]
    a, b = (played(data | {"image": x}, loss=relativistic)[1] for x in (data["image"], shown))
    assert a.metrics["generator"][0] != b.metrics["generator"][0]


def test_sizes_that_dcgan_takes():
    assert [dcgan.doublings(size) for size in (8, 16, 32, 64, 128)] == [1, 2, 3, 4, 5]
    for size, fits in ((4, 8), (0, 8), (30, 32), (48, 64), (100, 128)):
        with pytest.raises(UserError, match=f"try --config.data.image_size={fits}"):
            dcgan.doublings(size)


def test_shapes_of_dcgan():
    generator = dcgan.Generator(32, channels=1, width=2)
    latent = jnp.zeros((3, 7))
    variables = jax.eval_shape(lambda: generator.init(jax.random.key(0), latent, train=False))
    kernels = {n: p["kernel"].shape for n, p in variables["params"].items() if "kernel" in p}
    assert kernels == {
        "conv_0": (4, 4, 8, 7),
        "conv_1": (4, 4, 4, 8),
        "conv_2": (4, 4, 2, 4),
        "last": (4, 4, 1, 2),
    }
    images = jax.eval_shape(lambda v: generator.apply(v, latent, train=False), variables)
    assert images.shape == (3, 32, 32, 1)
    discriminator = dcgan.Discriminator(width=2)
    logits = jax.eval_shape(
        lambda: discriminator.init_with_output(
            jax.random.key(0), jnp.zeros((3, 32, 32, 1)), train=False
        )[0]
    )
    assert logits.shape == (3, 1)
