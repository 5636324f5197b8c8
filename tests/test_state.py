"""The state and its averages (EMA) against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from jaxgan.games.game import Game, Outcome, Phase
from jaxgan.optimizers import constant, sgd
from jaxgan.state import Ema, TrainState, average, reset_metrics, split_variables
from jaxgan.update import init_state, make_update


def state_of(images, ema, params, stats=None) -> TrainState:
    return TrainState(
        step=jnp.int32(1),
        images=jnp.int32(images),
        rng=None,
        params={"g": params},
        stats={"g": stats} if stats else {},
        opt={},
        ema={"g": ema},
        memory={},
        metrics={"loss": (jnp.float32(6), jnp.int32(3))},
        first_bad=None,
    )


def fresh_weight(half_life, ramp, images, batch_size):
    """How much of an average of 0 and weights of 1 is new after a step."""
    state = state_of(images, {"params": {"w": jnp.zeros(2)}}, {"w": jnp.ones(2)})
    made = average(Ema(("g",), half_life, ramp), state, batch_size)["g"]["params"]["w"]
    assert made.dtype == state.params["g"]["w"].dtype
    assert made[0] == made[1]
    return float(made[0])


@pytest.mark.parametrize("batch_size", [1, 16])
@pytest.mark.parametrize("half_life", [10.0, 500.0])
def test_half_life_is_in_images(half_life, batch_size, x64):
    assert fresh_weight(half_life, 0.0, 10**6, batch_size) == pytest.approx(
        1 - 2 ** (-batch_size / half_life), rel=1e-12
    )


def test_half_life_of_one_batch():
    assert fresh_weight(8.0, 0.0, 100, 8) == 0.5


def test_long_half_lives_in_float32():
    """At half a million images a step counts 1.4e-6, near the rounding of 1."""
    expected = -np.expm1(-np.log(2) / 500_000)
    assert fresh_weight(500_000.0, 0.0, 10**6, 1) == pytest.approx(expected, rel=1e-5)


def test_ramp(x64):
    """The half-life is at most `ramp` times the images so far, this step's counted."""
    for images, half_life in [(4, 0.2), (1000, 50.0), (100_000, 800.0)]:
        expected = 1 - 2 ** (-4 / half_life)
        assert fresh_weight(800.0, 0.05, images, 4) == pytest.approx(expected, rel=1e-12)


def test_statistics_are_averaged_and_counters_copied():
    old = {"params": {"w": jnp.zeros(1)}, "batch_stats": {"mean": jnp.ones(1), "n": jnp.int32(2)}}
    state = state_of(0, old, {"w": jnp.ones(1)}, {"batch_stats": {"mean": jnp.ones(1) * 3, "n": 7}})
    state = state.replace(stats=jax.tree.map(jnp.asarray, state.stats))
    new = average(Ema(("g",), 1.0), state, 1)["g"]
    assert new["params"]["w"] == 0.5
    assert new["batch_stats"]["mean"] == 2
    assert new["batch_stats"]["n"] == 7


class Slope:
    """One net of one weight that falls by 1 a step, on batches of `accumulate` x 2 images."""

    def __init__(self, ema, accumulate=1):
        def objective(nets, memory, handoff, batch, context):
            return nets["g"]["params"]["w"], Outcome({}, {}, {}, {})

        def init(key, batch):
            nets = {name: {"params": {"w": jnp.full((), 2.0)}} for name in ("g", "other")}
            return nets, {}

        nets, players = dict.fromkeys(("g", "other")), {"g": ("g",)}
        game = Game(nets, players, (Phase("g", "g", objective),), init, None)
        args = (game, {"g": sgd("g")}, {"learning_rate/g": constant(1.0)}, ema)
        self.batch = {"x": jnp.zeros((1, accumulate, 2, 1))}
        self.state = init_state(*args, 0, tiny.shapes(self.batch))
        self.update = tiny.jit(make_update(*args))

    def run(self, steps):
        for _ in range(steps):
            self.state = self.update(self.state, self.batch, None)
        return self.state


@pytest.mark.parametrize("accumulate", [1, 3])
def test_average_over_steps(accumulate, x64):
    """Of weights 2, 1, 0, ...: a sum of powers of 2^(-images / half-life), over whole batches."""
    half_life, steps = 7.0, 5
    state = Slope(Ema(("g",), half_life), accumulate).run(steps)
    assert state.images == steps * accumulate * 2
    keep = 2 ** (-2 * accumulate / half_life)
    expected = sum(-i * (1 - keep) * keep ** (steps - i) for i in range(1, steps + 1))
    assert state.ema["g"]["params"]["w"].item() - 2 == pytest.approx(expected, rel=1e-12)
    assert sorted(state.ema) == ["g"]


def test_off_has_no_slot():
    assert Slope(None).run(1).ema == {}


def test_begins_at_the_weights():
    play = Slope(Ema(("g", "other"), 5.0))
    for name in ("g", "other"):
        assert play.state.ema[name]["params"]["w"] == 2
    # The average of a net that never moves is that net.
    state = play.run(3)
    assert state.ema["other"]["params"]["w"] == state.params["other"]["w"] == 2


def test_split_and_back():
    nets = {
        "a": {"params": {"w": jnp.ones(2)}, "batch_stats": {"mean": jnp.zeros(2)}},
        "b": {"params": {"w": jnp.zeros(3)}},
        "c": {"params": {}, "batch_stats": {}},
    }
    params, stats = split_variables(nets)
    assert sorted(params) == ["a", "b", "c"]
    # A collection without arrays would be an empty folder in a checkpoint; nets without any
    # further collection have no entry.
    assert "b" not in stats
    state = state_of(0, {}, {}).replace(params=params, stats=stats)
    for name in "ab":
        assert tiny.difference(state.variables(name), nets[name]) == 0


def test_reset_metrics():
    state = state_of(0, {}, {})
    reset = reset_metrics(state)
    assert reset.metrics == {"loss": (0, 0)}
    kinds = jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), (state.metrics, reset.metrics))
    assert kinds[0] == kinds[1]
