"""The number of devices changes nothing: on virtual CPU devices, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from jaxgan import sharding
from jaxgan.errors import UserError
from jaxgan.games.unpaired import cyclegan
from jaxgan.losses.adversarial import lsgan, relativistic
from jaxgan.optimizers import adam, constant
from jaxgan.sharding import choose_devices, compile_update, make_mesh, put_batch
from jaxgan.state import Ema, reset_metrics
from jaxgan.update import init_state, make_update


def play(norm, devices, steps=3, dtype=jnp.float64, accumulate=1, loss=lsgan, pool_size=10):
    """States after each step of CycleGAN with networks of 1 x 1, on 8 images a step."""
    game = cyclegan(tiny.nets(norm, dtype), loss(), pool_size=pool_size)
    optimizers = {player: adam(player, 0.5, 0.999) for player in game.players}
    schedules = {f"learning_rate/{player}": constant(1e-2) for player in game.players}
    args = (game, optimizers, schedules, Ema(("generator_AtoB",), 50.0))
    mesh = make_mesh(jax.devices()[:devices])
    shape = (1, accumulate, 8 // accumulate, 8, 8, 3)
    batch = tiny.images(0, *shape)
    state = init_state(*args, 0, tiny.shapes(batch), dtype)
    state = jax.device_put(state, sharding.replicated(mesh))
    # Compiled for this placement and no other, as in training.
    update = compile_update(make_update(*args, dtype=dtype), mesh)
    update = update.lower(state, tiny.shapes(batch), None)
    update = update.compile(compiler_options=tiny.QUICKLY)
    states = []
    for step in range(steps):
        state = update(state, put_batch(tiny.images(step, *shape), mesh), None)
        states.append(jax.device_get(state))
        assert {len(x.sharding.device_set) for x in jax.tree.leaves(state)} == {devices}
        state = reset_metrics(state)
    return states


@pytest.mark.parametrize(
    ("norm", "settings", "numbers"),
    [
        # Each micro-batch is shared by the devices; the micro-batches aren't.
        ("instance", {"accumulate": 2}, [4]),
        ("batch", {"loss": relativistic}, [2, 8]),
    ],
    ids=["instance", "batch"],
)
def test_any_number_of_devices(norm, settings, numbers, x64):
    """Losses, weights, moments, statistics, pools and averages over 3 steps, within 1e-9."""
    alone = play(norm, 1, **settings)
    assert alone[-1].step == 3
    for devices in numbers:
        for ours, theirs in zip(play(norm, devices, **settings), alone, strict=True):
            assert tiny.difference(ours, theirs) < 1e-9


def test_the_first_step_in_float32():
    """Later ones part: Adam divides by gradients that are little more than rounding errors."""
    alone, shared = (play("batch", devices, 1, jnp.float32, pool_size=0)[0] for devices in (1, 4))
    assert tiny.difference(shared.metrics, alone.metrics) < 1e-5
    assert tiny.difference(shared.stats, alone.stats) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "losses"),
    [(["loss.cycle=0.0", "pool.size=0"], 4), ([], 8)],
    ids=["adversarial", "whole"],
)
def test_real_networks_on_1_and_4_devices(settings, losses, x64):
    """A ResNet with batch norm and a PatchGAN with instance norm, as configs build them."""
    runs = []
    for devices in (1, 4):
        experiment = tiny.experiment(
            "precision=float64",
            "data.batch_size=4",
            "data.image_size=8",
            "model.generator.width=2",
            "model.generator.norm=batch",
            "model.discriminator.width=2",
            "optimizer.generator.name=sgd",
            "optimizer.discriminator.name=sgd",
            f"devices={devices}",
            *settings,
        )
        assert experiment.mesh.size == devices
        runs.append(tiny.train(experiment, tiny.compiled(experiment)))
    for shared, alone in zip(runs[1], runs[0], strict=True):
        assert len(alone.metrics) == losses
        for part in ("metrics", "stats", "memory"):
            assert tiny.difference(getattr(shared, part), getattr(alone, part)) < 1e-9
        # Biases before an instance norm have no effect, and only rounding errors for gradients.
        noise = jax.tree.map(lambda x: 1e-9 * max(1e-2, np.max(np.abs(x))), alone.params)
        close = jax.tree.map(
            lambda a, b, size: np.max(np.abs(a - b)) < size, shared.params, alone.params, noise
        )
        assert all(jax.tree.leaves(close))


# Which devices


@pytest.mark.parametrize(
    ("wanted", "batch", "count"),
    [
        ("auto", 1, 1),
        ("auto", 6, 6),
        ("auto", 12, 6),
        ("auto", 7, 7),
        ("auto", 11, 1),
        ("auto", 16, 8),
        ("3", 9, 3),
        (2, 2, 2),
        ("1", 5, 1),
    ],
)
def test_devices_that_share_a_batch(wanted, batch, count):
    """`auto` takes as many of the eight as divide the batch."""
    assert choose_devices(wanted, batch) == jax.devices()[:count]


@pytest.mark.parametrize(
    ("wanted", "batch", "words"),
    [
        ("9", 9, ["devices=9", "has 8", "--config.devices=auto"]),
        ("0", 9, ["devices=0", "has 8"]),
        ("4", 6, ["devices=4", "batch of 6", "--config.data.batch_size", "--config.devices=auto"]),
    ],
)
def test_devices_that_cannot_be(wanted, batch, words):
    with pytest.raises(UserError) as error:
        choose_devices(wanted, batch)
    for word in words:
        assert word in str(error.value)


class Device:
    def __init__(self, process_index):
        self.process_index = process_index


@pytest.fixture
def two_processes(monkeypatch):
    """Two processes of four devices each."""
    devices = [Device(process) for process in (0, 0, 0, 0, 1, 1, 1, 1)]
    monkeypatch.setattr(jax, "devices", lambda: devices)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    return devices


@pytest.mark.parametrize(
    ("wanted", "batch", "each"), [("auto", 2, 1), ("auto", 12, 3), ("auto", 8, 4), ("4", 8, 2)]
)
def test_every_process_takes_part_alike(two_processes, wanted, batch, each):
    chosen = choose_devices(wanted, batch)
    assert chosen == two_processes[:each] + two_processes[4 : 4 + each]


@pytest.mark.parametrize(
    ("wanted", "batch", "word"), [("auto", 3, "multiple of 2"), ("1", 2, "devices=1")]
)
def test_batches_that_processes_cannot_share(two_processes, wanted, batch, word):
    with pytest.raises(UserError, match=word):
        choose_devices(wanted, batch)


def test_an_option_that_xla_does_not_know_is_left_out(monkeypatch):
    sharding.compiler_options.cache_clear()
    assert sharding.compiler_options("gpu") is None
    assert sharding.compiler_options("cpu") == {"xla_cpu_experimental_ynn_fusion_type": ""}
    jit = jax.jit

    def older(function, compiler_options):
        return jit(function, compiler_options={"xla_cpu_of_another_release": "1"})

    sharding.compiler_options.cache_clear()
    monkeypatch.setattr(jax, "jit", older)
    assert sharding.compiler_options("cpu") is None
    sharding.compiler_options.cache_clear()
