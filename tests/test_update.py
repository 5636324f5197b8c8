"""What `update` promises, on games whose answers are known: nets of three numbers, SGD."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

from jaxgan.games.game import Game, Outcome, Phase
from jaxgan.losses.reconstruction import l2
from jaxgan.optimizers import adam, constant, sgd
from jaxgan.state import Ema, reset_metrics
from jaxgan.update import decode, init_state, make_update

NETS = ("g", "d", "frozen")


class Play:
    """A game of nets with parameters `w` and a running `sum`, and its compiled update."""

    players: ClassVar = {"generator": ("g",), "discriminator": ("d",)}

    def __init__(self, *phases, batch=(1, 1, 2, 3), memory=None, rate=1.0, optimizer=sgd, ema=None):
        def init(key, batch):
            nets = {
                name: {
                    "params": {"w": jnp.array([1.0, 2.0, 3.0]) * (i + 1)},
                    "batch_stats": {"sum": jnp.zeros(3)},
                }
                for i, name in enumerate(NETS)
            }
            return nets, {"slot": jnp.zeros(3)} if memory is None else memory

        game = Game(dict.fromkeys(NETS), self.players, phases, init, None)
        optimizers = {player: optimizer(player) for player in self.players}
        schedules = {f"learning_rate/{player}": constant(rate) for player in self.players}
        args = (game, optimizers, schedules, ema)
        self.batch = {"x": jnp.arange(np.prod(batch), dtype=jnp.float32).reshape(batch)}
        self.state = init_state(*args, 0, tiny.shapes(self.batch))
        self.plain = make_update(*args)
        self.update = tiny.jit(self.plain)

    def run(self, steps=1, **batch):
        for _ in range(steps):
            self.state = self.update(self.state, self.batch | batch, None)
        return self.state

    def w(self, net):
        return np.asarray(self.state.params[net]["w"])


def outcome(stats=(), memory=(), handoff=(), **metrics):
    return Outcome(dict(stats), dict(memory), dict(handoff), metrics)


def pull(net, **leaves):
    """An objective whose gradient by the net's `w` is the batch's mean, [3]."""

    def objective(nets, memory, handoff, batch, context):
        mean = jnp.mean(batch["x"], 0)
        loss = jnp.dot(nets[net]["params"]["w"], mean)
        return loss, outcome(**{k: v(mean, nets, memory, context) for k, v in leaves.items()})

    return objective


def counted(mean, nets, memory, context):
    """All nets' statistics, one higher."""
    return {name: {"batch_stats": {"sum": nets[name]["batch_stats"]["sum"] + 1}} for name in nets}


# Ownership


def test_a_phase_changes_only_its_own_nets():
    def objective(nets, memory, handoff, batch, context):
        # The loss sees every net, and every net's statistics are given back.
        loss = sum(jnp.sum(nets[name]["params"]["w"] ** 2) for name in NETS)
        return loss, outcome(stats=counted(None, nets, memory, context))

    play = Play(Phase("d", "discriminator", objective))
    before = play.state
    after = play.run()
    np.testing.assert_array_equal(play.w("d"), -np.array([2.0, 4.0, 6.0]))  # w - 2 w
    np.testing.assert_array_equal(after.stats["d"]["batch_stats"]["sum"], [1, 1, 1])
    for name in ("g", "frozen"):
        assert tiny.difference(after.params[name], before.params[name]) == 0
        assert tiny.difference(after.stats[name], before.stats[name]) == 0
    assert tiny.difference(after.memory, before.memory) == 0
    assert tiny.difference(after.opt["generator"], before.opt["generator"]) == 0


def test_foreign_statistics_move_where_they_are_named():
    play = Play(Phase("d", "discriminator", pull("d", stats=counted), stats=("g",)))
    after = play.run(2)
    sums = {name: after.stats[name]["batch_stats"]["sum"][0].item() for name in NETS}
    assert sums == {"g": 2, "d": 2, "frozen": 0}


def test_named_memory_is_kept():
    add = pull("g", memory=lambda mean, nets, memory, context: {"slot": memory["slot"] + mean})
    play = Play(Phase("g", "generator", add, memory=("slot",)))
    np.testing.assert_array_equal(play.run(2).memory["slot"], 2 * np.array([1.5, 2.5, 3.5]))


@pytest.mark.parametrize(
    ("message", "phase"),
    [
        ("memory that it does not name", {"memory": lambda *_: {"slot": jnp.zeros(3)}}),
        ("metrics", {"loss": lambda mean, *_: mean[0]}),
    ],
)
def test_what_is_not_named_is_refused(message, phase):
    with pytest.raises(ValueError, match=message):
        Play(Phase("g", "generator", pull("g", **phase))).run()


@pytest.mark.parametrize(
    "phases",
    [
        (Phase("g", "nobody", pull("g")),),
        (Phase("g", "generator", pull("g"), stats=("no_net",)),),
        (Phase("g", "generator", pull("g")), Phase("g", "discriminator", pull("d"))),
    ],
    ids=["player", "net", "name"],
)
def test_phases_that_cannot_be_are_refused(phases):
    with pytest.raises(ValueError, match="phase"):
        make_update(Game(dict.fromkeys(NETS), Play.players, phases, None, None), {}, {})


# Repeats and accumulation


def test_repeats_each_on_its_own_batch():
    seen = []

    def give(mean, *_):
        return {"mean": mean}

    def late(nets, memory, handoff, batch, context):
        seen.append(handoff["mean"].shape)
        gap = jnp.max(jnp.abs(handoff["mean"] - jnp.mean(batch["x"], 0)))
        return jnp.dot(nets["g"]["params"]["w"], jnp.mean(batch["x"], 0)), outcome(gap=gap)

    play = Play(
        Phase(
            "critic",
            "discriminator",
            pull("d", stats=counted, handoff=give, mean=lambda mean, *_: mean[0]),
            ("mean",),
            repeats=3,
        ),
        Phase("late", "generator", late, ("gap",)),
        batch=(3, 1, 2, 3),
    )
    after = play.run()
    means = np.asarray(play.batch["x"][:, 0].mean(1))
    np.testing.assert_array_equal(play.w("d"), [2, 4, 6] - means.sum(0))
    # A phase that isn't repeated sees the last round's batch; the last round's handoff comes on.
    np.testing.assert_array_equal(play.w("g"), [1, 2, 3] - means[-1])
    assert seen == [(3,)]
    assert after.metrics["gap"] == (0, 1)
    assert after.metrics["mean"] == (means[:, 0].sum(), 3)
    np.testing.assert_array_equal(after.stats["d"]["batch_stats"]["sum"], [3, 3, 3])
    # One step, and the images of one generator update.
    assert (after.step, after.images) == (1, 2)


@pytest.mark.parametrize("slices", [1, 4])
def test_accumulation_threads_statistics_and_slices(slices):
    def first(nets, memory, handoff, batch, context):
        return jnp.sum(nets["d"]["params"]["w"]), outcome(
            stats=counted(None, nets, memory, context), handoff={"twice": 2 * batch["x"]}
        )

    def second(nets, memory, handoff, batch, context):
        gap = jnp.max(jnp.abs(handoff["twice"] - 2 * batch["x"]))
        mean = jnp.mean(batch["x"], 0)
        return jnp.dot(nets["g"]["params"]["w"], mean), outcome(
            memory={"slot": memory["slot"] + mean}, gap=gap
        )

    play = Play(
        Phase("first", "discriminator", first),
        Phase("second", "generator", second, ("gap",), memory=("slot",)),
        batch=(1, slices, 8 // slices, 3),
    )
    after = play.run()
    everything = np.asarray(play.batch["x"]).reshape(8, 3)
    assert after.metrics["gap"] == (0, 1)
    assert after.images == 8
    np.testing.assert_allclose(play.w("g"), [1, 2, 3] - everything.mean(0))
    np.testing.assert_array_equal(after.stats["d"]["batch_stats"]["sum"], [slices] * 3)
    np.testing.assert_allclose(after.memory["slot"], slices * everything.mean(0))


def test_accumulation_equals_the_full_batch(x64):
    """Of nets without batch statistics, in float64, to 1e-12; the gradient is the mean."""
    net = tiny.Generator("instance")

    def objective(nets, memory, handoff, batch, context):
        made = net.apply(nets["g"], batch["A"], train=True)
        loss = l2(made, batch["B"])
        return loss, outcome(loss=loss)

    def init(key, batch):
        return {"g": net.lazy_init(key, batch["A"], train=True)}, {}

    game = Game({"g": net}, {"g": ("g",)}, (Phase("g", "g", objective, ("loss",)),), init, None)
    states = []
    for accumulate in (1, 2, 4):
        batch = tiny.images(3, 1, accumulate, 8 // accumulate, 4, 4, 3)
        args = (game, {"g": adam("g", 0.5, 0.999)}, {"learning_rate/g": constant(0.1)}, None)
        state = init_state(*args, 0, tiny.shapes(batch), jnp.float64)
        update = tiny.jit(make_update(*args, dtype=jnp.float64))
        for _ in range(3):
            state = update(state, batch, None)
        states.append(state)
    for state in states[1:]:
        assert tiny.difference(state, states[0]) < 1e-12


# Lazy phases


def lazy_pair(**lazy):
    """A phase of every step, and one of the discriminator's that may be lazy."""
    return (
        Phase(
            "lazy", "discriminator", pull("d", level=lambda *_: jnp.float32(5)), ("level",), **lazy
        ),
        Phase("g", "generator", pull("g", loss=lambda mean, *_: mean[0]), ("loss",)),
    )


def test_a_lazy_phase_is_played_at_every_nth_step():
    lazily = Play(*lazy_pair(every=3))
    often, never = Play(*lazy_pair()), Play(lazy_pair()[1])
    for step in range(7):
        w, played = lazily.w("d"), lazily.state.metrics["level"]
        lazily.run(), often.run(), never.run()
        due = step % 3 == 0
        # Played, it is the very phase; skipped, it isn't there.
        np.testing.assert_array_equal(lazily.w("d"), w - [1.5, 2.5, 3.5] if due else w)
        level = lazily.state.metrics["level"]
        assert (level[0] - played[0], level[1] - played[1]) == ((5, 1) if due else (0, 0))
        np.testing.assert_array_equal(lazily.w("g"), never.w("g"))
        if step == 0:
            assert tiny.difference(lazily.state, often.state) == 0
    assert lazily.state.metrics["level"] == (15, 3)
    assert lazily.state.metrics["loss"] == often.state.metrics["loss"]
    assert often.state.metrics["level"] == (35, 7)


def test_a_lazy_phase_hands_off_nothing():
    seen = []

    def late(nets, memory, handoff, batch, context):
        seen.append(sorted(handoff))
        return jnp.sum(nets["g"]["params"]["w"]), outcome()

    give = pull("d", handoff=lambda mean, *_: {"mean": mean})
    Play(Phase("lazy", "discriminator", give, every=2), Phase("late", "generator", late)).run()
    Play(Phase("each", "discriminator", give), Phase("late", "generator", late)).run()
    assert seen == [[], ["mean"]]


def test_a_lazy_phase_may_repeat():
    play = Play(
        Phase(
            "lazy",
            "discriminator",
            pull("d", mean=lambda mean, *_: mean[0]),
            ("mean",),
            every=2,
            repeats=2,
        ),
        batch=(2, 1, 2, 3),
    )
    means = np.asarray(play.batch["x"][:, 0].mean(1))
    after = play.run(3)
    np.testing.assert_array_equal(play.w("d"), [2, 4, 6] - 2 * means.sum(0))
    assert after.metrics["mean"] == (2 * means[:, 0].sum(), 4)


# After the optimizer


def test_projection():
    clip = pull("d")
    phase = Phase(
        "d",
        "discriminator",
        clip,
        project=lambda params: jax.tree.map(lambda w: jnp.clip(w, -0.5, 3.0), params),
    )
    play = Play(phase)
    play.run()
    np.testing.assert_array_equal(play.w("d"), [0.5, 1.5, 2.5])
    play.run()
    np.testing.assert_array_equal(play.w("d"), [-0.5, -0.5, -0.5])


def poisoned(net, where):
    """An objective that is NaN where the batch is negative: its loss, or only its gradient."""

    def objective(nets, memory, handoff, batch, context):
        w, mean = nets[net]["params"]["w"], jnp.mean(batch["x"])
        if where == "loss":
            return jnp.sum(w) + 0 * jnp.log(mean), outcome()
        # The root of 0 is 0, and its slope is infinite.
        return jnp.sum(jnp.sqrt(jnp.maximum(mean, 0) * w**2)), outcome()

    return objective


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_the_first_bad_step_and_phase_are_kept(where):
    phases = [Phase("g", "generator", pull("g")), Phase("d", "discriminator", poisoned("d", where))]
    play = Play(*phases)
    play.run(2)
    assert play.state.first_bad.tolist() == [-1, -1]
    play.run(x=-play.batch["x"])
    assert play.state.first_bad.tolist() == [2, 1]
    play.run(2)
    play.run(x=jnp.full((1, 1, 2, 3), jnp.nan))
    assert play.state.first_bad.tolist() == [2, 1]


@pytest.mark.parametrize("fields", [{"every": 2}, {"repeats": 3}], ids=["lazy", "repeated"])
def test_a_bad_step_inside_of_control_flow(fields):
    phase = Phase("d", "discriminator", poisoned("d", "loss"), **fields)
    play = Play(
        Phase("g", "generator", pull("g")), phase, batch=(fields.get("repeats", 1), 1, 2, 3)
    )
    bad = play.batch["x"].at[0].multiply(-1)  # of three rounds, the first
    play.run(1)
    assert play.state.first_bad.tolist() == [-1, -1]
    play.run(2, x=bad)
    assert play.state.first_bad.tolist() == [1 if "repeats" in fields else 2, 1]


def test_a_bad_micro_batch():
    play = Play(Phase("d", "discriminator", poisoned("d", "loss")), batch=(1, 4, 2, 3))
    play.run(1, x=play.batch["x"].at[0, 2].multiply(-1))
    assert play.state.first_bad.tolist() == [0, 0]


def test_gradients_count_where_the_optimizer_hides_them():
    """An optimizer that passes over NaNs leaves finite weights."""

    def hiding(player):
        return lambda schedules: optax.chain(optax.zero_nans(), sgd(player)(schedules))

    play = Play(Phase("d", "discriminator", poisoned("d", "gradient")), optimizer=hiding)
    play.run(x=jnp.zeros_like(play.batch["x"]))
    assert np.isfinite(play.w("d")).all()
    assert play.state.first_bad.tolist() == [0, 0]


def test_weights_thrown_out_of_range_count_at_once():
    """Finite loss and gradient, infinite weights: they must not be saved before a loss tells."""
    play = Play(Phase("d", "discriminator", pull("d")), rate=3e38)
    play.run()
    assert not np.isfinite(play.w("d")).all()
    assert play.state.first_bad.tolist() == [0, 0]


# Keys and metrics


def drawn(play_state):
    """The distinct pairs of words among the keys that were noted."""
    words = np.asarray(play_state.memory["keys"])
    return words.reshape(-1, 2)


def noting(rows):
    """An objective that notes the words of its key in the next free row of its memory."""

    def objective(nets, memory, handoff, batch, context):
        words, count = memory[f"{rows}/keys"], memory[f"{rows}/count"]
        words = jax.lax.dynamic_update_slice(
            words, jax.random.key_data(context.key)[None], (count, 0)
        )
        kept = {f"{rows}/keys": words, f"{rows}/count": count + 1}
        return jnp.sum(nets["d"]["params"]["w"]), outcome(memory=kept)

    return objective


def test_every_draw_has_a_key_of_its_own():
    """Step, phase, round and micro-batch each change it; the same step draws the same again."""
    memory, phases = {}, []
    for name, count, fields in [("a", 12, {"repeats": 2}), ("b", 6, {}), ("c", 2, {"every": 2})]:
        memory |= {f"{name}/keys": jnp.zeros((count, 2), jnp.uint32), f"{name}/count": jnp.int32(0)}
        slots = (f"{name}/keys", f"{name}/count")
        phases.append(Phase(name, "discriminator", noting(name), memory=slots, **fields))
    play = Play(*phases, batch=(2, 2, 2, 3), memory=memory)
    start = play.state
    once = play.run(3)
    # 3 steps of 2 rounds of 2 micro-batches; of 2 micro-batches; and steps 0 and 2 of 2.
    assert [once.memory[f"{name}/count"].item() for name in "abc"] == [12, 6, 4]
    words = np.concatenate([once.memory[f"{name}/keys"] for name in "ab"])
    assert len({tuple(pair) for pair in words.tolist()}) == 18
    assert tiny.difference(once.rng, start.rng) == 0
    play.state = start
    assert tiny.difference(play.run(3), once) == 0


def test_keys_do_not_depend_on_other_phases():
    """A phase's key is a hash of its name: another phase before it leaves its draws alone."""
    memory = {"a/keys": jnp.zeros((2, 2), jnp.uint32), "a/count": jnp.int32(0)}
    phase = Phase("a", "discriminator", noting("a"), memory=("a/keys", "a/count"))
    alone = Play(phase, memory=memory).run(2)
    second = Play(Phase("g", "generator", pull("g")), phase, memory=memory).run(2)
    assert tiny.difference(second.memory, alone.memory) == 0


def test_metrics_are_means_since_the_last_reset():
    phase = Phase("g", "generator", pull("g", loss=lambda mean, *_: mean[0]), ("loss",))
    play = Play(phase)
    for scale in (1.0, 2.0, 6.0):
        play.run(x=scale * play.batch["x"])
    total, count = play.state.metrics["loss"]
    assert (total / count, count) == (3 * 1.5, 3)
    play.state = reset_metrics(play.state)
    assert play.state.metrics["loss"] == (0, 0)
    play.run()
    assert play.state.metrics["loss"] == (1.5, 1)


def test_schedules_see_the_images_so_far():
    """And the objective sees their values, the step and the images before this step."""

    def objective(nets, memory, handoff, batch, context):
        now = context.schedules["learning_rate/generator"]
        seen = jnp.stack([now, context.step.astype(now.dtype), context.images.astype(now.dtype)])
        return jnp.sum(nets["g"]["params"]["w"]), outcome(memory={"slot": seen})

    phase = Phase("g", "generator", objective, memory=("slot",))
    game_args = Play(phase, batch=(1, 2, 3, 3))
    schedules = {
        "learning_rate/generator": lambda images: images.astype(jnp.float32) / 6,
        "learning_rate/discriminator": constant(0.0),
    }
    game = Game(dict.fromkeys(NETS), Play.players, (phase,), None, None)
    optimizers = {player: sgd(player) for player in Play.players}
    update = tiny.jit(make_update(game, optimizers, schedules))
    state = game_args.state
    for step in range(4):
        before = state.params["g"]["w"]
        state = update(state, game_args.batch, None)
        assert state.memory["slot"].tolist() == [step, step, 6 * step]
        np.testing.assert_array_equal(before - state.params["g"]["w"], [step] * 3)


# Compilation and buffers


def whole_game():
    """Everything at once: repeats, a lazy phase, memory, statistics, averages, Adam."""
    add = pull(
        "g",
        memory=lambda mean, nets, memory, context: {"slot": memory["slot"] + mean},
        stats=counted,
        loss=lambda mean, *_: mean[0],
    )
    return Play(
        Phase("critic", "discriminator", pull("d", stats=counted), repeats=2, stats=("g",)),
        Phase("g", "generator", add, ("loss",), memory=("slot",)),
        *lazy_pair(every=2)[:1],
        batch=(2, 3, 2, 3),
        optimizer=lambda player: adam(player, 0.5, 0.9),
        ema=Ema(("g",), 10.0, 0.1),
    )


def kinds(state):
    return jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), state)


def test_compiled_once():
    play = whole_game()
    before = kinds(play.state)
    play.run(3)
    play.state = reset_metrics(play.state)
    play.run(2, x=play.batch["x"] + 1)
    assert play.update._cache_size() == 1
    assert kinds(play.state) == before
    assert not any(leaf.weak_type for leaf in jax.tree.leaves(play.state))


def test_donation():
    """No two leaves share a buffer, before or after, and the state given is used up."""

    def buffers(state):
        return [x.unsafe_buffer_pointer() for x in jax.tree.leaves(state) if x.size]

    play = whole_game()
    donating = tiny.jit(play.plain, donate_argnums=0)
    state, expected = play.state, play.run()
    for _ in range(2):
        assert len(set(buffers(state))) == len(buffers(state))
        given, state = state, donating(state, play.batch, None)
        assert all(x.is_deleted() for x in jax.tree.leaves(given))
    assert tiny.difference(state, play.run()) == 0
    assert tiny.difference(expected.ema, state.ema) > 0


def test_decode(x64):
    bytes_ = np.array([[0, 255], [51, 204]], np.uint8)
    batch = {"A": jnp.asarray(bytes_), "label": jnp.arange(2), "latent": jnp.ones(2, jnp.float32)}
    decoded = decode(batch, jnp.float64)
    assert decoded["A"].dtype == jnp.float64
    np.testing.assert_allclose(decoded["A"], [[-1, 1], [-0.6, 0.6]], rtol=1e-15)
    assert decoded["label"] is batch["label"]
    assert decoded["latent"].dtype == jnp.float64
    np.testing.assert_array_equal(decoded["latent"], [1, 1])
