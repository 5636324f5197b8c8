"""Promises of noise to image: resume, streamed rounds, any number of devices, lazy penalties."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_resume
import test_synthesis
import tiny

from jaxgan import commandline, experiment, main, optimizers, records, train
from jaxgan.fields import resolve
from jaxgan.games.game import Extra
from jaxgan.games.synthesis import NOISE, Latent, synthesis
from jaxgan.losses.adversarial import bce, hinge, saturating, wasserstein, weighted
from jaxgan.losses.penalties import dragan, gp, r1
from jaxgan.optimizers import adam, constant, linear_decay, sgd
from jaxgan.state import Ema
from jaxgan.update import init_state, make_rounds, make_update

CONFIGS = tiny.CONFIG.parent
RATE = test_synthesis.RATE
G, D = "model.generator", "model.discriminator"
stopped_at = test_resume.stopped_at


def words(config, fields):
    small = {
        "data.image_size": 8,
        "data.channels": 3,
        f"{G}.width": 2,
        f"{D}.width": 2,
        "data.batch_size": 4,
    }
    given = (
        small | {"model.latent.size": 3, f"{G}.widths": "6,5,4", f"{D}.widths": "6,5,4"} | fields
    )
    return [
        f"--config={CONFIGS / config}.py:smoke",
        *(f"--config.{n}={v}" for n, v in given.items()),
    ]


def built(config, fields):
    """The experiment of a config in small."""
    command = commandline.parse(words(config, fields), {}, "python")
    return experiment.build(resolve(command.config, command.overrides), larger_domain=40)


# Resume

# All that a state can hold; more rounds before steps 1, 2 and 5.
FIELDS = {
    "train.steps": 6,
    "train.log_every": 4,
    "train.sample_every": 6,
    "train.critic_rounds": 2,
    "train.warmup.rounds": 4,
    "train.warmup.steps": 2,
    "train.warmup.every": 4,
    "checkpoint.every": 2,
    "checkpoint.keep": 10,
    "evaluate.every": 0,
    "evaluate.num": 8,
    "ema.half_life": 20.0,
    "model.conditioning": "projection",
    f"{G}.kind": "mlp",
    f"{G}.norm": "batch",
    f"{D}.kind": "mlp",
    f"{D}.norm": "none",
    f"{D}.spectral": "true",
    f"{D}.dropout": 0.1,
    "penalty.gp.weight": 1.0,
    "augment.noise.deviation": 0.1,
    "augment.noise.images": 40,
    "loss.adversarial": "hinge",
}


@pytest.fixture(scope="module")
def compiled_once():
    """Runs of this one game compile it once, and quickly: it takes longest."""
    compile_update, programs = train.compile_update, {}

    class Once:
        def __init__(self, function, mesh, more):
            self.name, self.jitted = function.__name__, compile_update(function, mesh, more)

        def lower(self, *arguments):
            if self.name not in programs:
                lowered = self.jitted.lower(*arguments)
                programs[self.name] = lowered.compile(compiler_options=tiny.QUICKLY)
            return self

        def compile(self):
            return programs[self.name]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "compile_update", Once)
        yield


@pytest.fixture(scope="module")
def reference(tmp_path_factory, compiled_once):
    """A run that was never stopped, with all its checkpoints."""
    folder = tmp_path_factory.mktemp("reference") / "run"
    assert run(folder) == 0
    return folder


def run(folder):
    return main.main([*words("dcgan", FIELDS), f"--workdir={folder}"])


@pytest.mark.parametrize("step", [2, 4])
def test_the_same_bits_after_a_stop(reference, stopped_at, step, capsys):
    """Weights, u, averages, metrics and the place in the data; steps 2 and 4 lie between lines."""
    folder = stopped_at(step)
    assert test_resume.newest(folder) == step
    assert run(folder) == 0
    assert f"resumed at step {step}\n" in capsys.readouterr().out
    test_resume.assert_same_run(folder, reference)
    first, last = records.read(folder / "metrics.jsonl")
    assert (first["step"], last["step"]) == (4, 6)
    assert first["discriminator"] != last["discriminator"]


# Rounds that stream in


class Linear:
    """A game of the linear networks of test_synthesis, in float64."""

    def __init__(
        self, optimizer=sgd, noise=None, ema=None, norm=False, loss=wasserstein, **settings
    ):
        nets = {
            "generator": test_synthesis.Generator(norm),
            "discriminator": test_synthesis.Discriminator(norm),
        }
        self.game = synthesis(nets, loss(), Latent(test_synthesis.Z), **settings)
        made = {player: optimizer(player) for player in self.game.players}
        schedules = {f"learning_rate/{player}": constant(RATE) for player in self.game.players}
        schedules |= {NOISE: noise} if noise else {}
        self.args = self.game, made, schedules
        self.ema = ema

    def init(self, batch):
        return init_state(*self.args, self.ema, 0, tiny.shapes(batch), jnp.float64)

    def update(self):
        return tiny.jit(make_update(*self.args, self.ema, jnp.float64))

    def rounds(self):
        return tiny.jit(make_rounds(*self.args, jnp.float64))


def test_streamed_rounds_are_those_of_one_large_batch(x64):
    """6 rounds before a step, in three batches of 2 or in one: what is drawn, seen and counted."""

    def adam_of(player):
        return adam(player, 0.5, 0.9)

    settings = {
        "optimizer": adam_of,
        "noise": constant(0.1),
        "ema": Ema(("generator",), 50.0),
        "loss": hinge,
        "penalties": [gp(2.0), dragan(1.0)],
    }
    large, batch = Linear(rounds=6, **settings), test_synthesis.batch(rounds=6)
    whole = large.init(batch)
    assert whole.step == 0
    streamed = Linear(rounds=2, extra=lambda step: 2, **settings)
    pieces = [{"image": batch["image"][i : i + 2]} for i in (0, 2, 4)]
    state = streamed.init(pieces[0])
    assert tiny.difference(state, whole) == 0
    more, update = streamed.rounds(), streamed.update()
    at_once = large.update()
    for _ in range(2):
        whole = at_once(whole, batch, None)
        for i in (0, 1):
            state = more(state, pieces[i], None, np.int32(2 * i))
        state = update(state, pieces[2], None, np.int32(4))
    assert whole.metrics["discriminator"][1] == 12
    assert tiny.difference(jax.device_get(state), jax.device_get(whole)) < 1e-12


def test_no_more_batches_are_held_than_critic_rounds(monkeypatch):
    """The published 100 rounds come as 20 batches of 5, one after another."""
    made = built("wgan", {f"train.warmup.{n}": v for n, v in WARMUP.items()})
    assert made.batch["image"].shape == (5, 1, 4, 8, 8, 3)
    played, held = [], []

    class Compiled:
        def __init__(self, function, mesh, more):
            self.name = function.__name__

        def lower(self, state, batch, constants, first):
            assert batch == made.batch
            return self

        def compile(self):
            return self.play

        def play(self, state, batch, constants, first):
            assert held == [batch]  # that of before is gone
            played.append((self.name, int(first)))
            held.clear()
            return state

    def batches():
        for i in range(10**6):
            held.append(i)
            yield i

    monkeypatch.setattr(train, "compile_update", Compiled)
    monkeypatch.setattr(train, "put_batch", lambda batch, mesh: batch)
    _, step_of = train.compiled_steps(made, None, 0)
    stream = batches()
    warm = [*(("rounds", n) for n in range(0, 95, 5)), ("update", 95)]
    for step in (0, 24, 25, 499, 500, 501, 1000):
        played.clear()
        step_of(None, step, stream)
        assert played == (warm if step < 25 or step % 500 == 0 else [("update", 0)])


WARMUP = {"rounds": 100, "steps": 25, "every": 500}


# Devices

NORMS = {f"{net}.{name}": v for net in (G, D) for name, v in (("kind", "mlp"), ("norm", "batch"))}
CRITIC = {
    "data.image_size": 16,
    "train.handed": "false",
    "train.generator_multiple": 2,
    "loss.adversarial": "wasserstein",
    "penalty.gp.weight": 10.0,
    "train.accumulate": 2,
    "data.batch_size": 8,
    "model.conditioning": "projection",
    f"{D}.norm": "instance",
    f"{D}.spectral": "true",
}


@pytest.mark.parametrize(
    "fields",
    [
        {"train.critic_rounds": 2, **NORMS},
        pytest.param(CRITIC, marks=pytest.mark.slow),
    ],
    ids=["batch norm", "penalty, micro-batches"],
)
def test_any_number_of_devices(fields, x64):
    """Latents, labels, instance noise, norms and penalties over 3 steps: 1 device or 4."""
    runs = []
    for devices in (1, 4):
        made = built(
            "dcgan",
            {
                "model.conditioning": "auxiliary",
                "precision": "float64",
                "devices": devices,
                "ema.half_life": 20.0,
                "augment.noise.deviation": 0.1,
                "optimizer.generator.name": "sgd",
                "optimizer.discriminator.name": "sgd",
            }
            | fields,
        )
        assert made.mesh.size == devices
        update, state, states = tiny.compiled(made), made.init(0), []
        for step in range(3):
            rng = np.random.default_rng(step)
            shapes = made.batch
            batch = {
                "image": rng.integers(0, 256, shapes["image"].shape, np.uint8),
                "label": rng.integers(0, 10, shapes["label"].shape, np.int32),
            }
            state = update(state, train.put_batch(batch, made.mesh), None)
            states.append(jax.device_get(state))
        runs.append(states)
    for alone, shared in zip(*runs, strict=True):
        assert alone.first_bad.tolist() == [-1, -1]
        for part in ("metrics", "stats"):
            assert tiny.difference(getattr(shared, part), getattr(alone, part)) < 1e-9
        # Biases before a norm have no effect, and only rounding errors for gradients.
        for part in ("params", "ema"):
            leaves = [jax.tree.leaves(getattr(state, part)) for state in (alone, shared)]
            for a, b in zip(*leaves, strict=True):
                assert np.max(np.abs(a - b)) < 1e-9 * max(1e-2, np.max(np.abs(a)))


# Moves by hand


def test_a_lazy_penalty_by_hand(x64):
    """At every third step, after the moves: its weight times 3, no other trace of it."""
    lazy, plain = Linear(penalties=[r1(2.0, every=3)]), Linear()
    batch = test_synthesis.batch(latent=True)
    state, play, play_without = lazy.init(batch), lazy.update(), plain.update()
    assert [phase.name for phase in lazy.game.phases][-1] == "regularizer"
    for step in range(4):
        without = play_without(state.replace(metrics=plain.init(batch).metrics), batch, None)
        state = play(state, batch, None)
        kernels = [np.asarray(s.params["discriminator"]["out"]["kernel"]) for s in (without, state)]
        # R1 of a linear discriminator is half of its squared weights: their gradient is themselves.
        kept = 1 - RATE * 2.0 * 3 if step % 3 == 0 else 1
        assert np.allclose(kernels[1], kept * kernels[0], rtol=1e-12)
        assert tiny.difference(state.params["generator"], without.params["generator"]) == 0
        total, count = state.metrics["r1"]
        assert count == step // 3 + 1
        if step == 0:
            assert np.isclose(total, np.sum(kernels[0] ** 2) / 2, rtol=1e-12)


def test_a_lazy_penalty_scales_rate_and_betas():
    """Of 4 steps of 5 rounds: 21 moves do what 20 did (Karras et al. 2020, appendix B)."""
    made = built("wgan_gp", {"penalty.gp.every": 4, "optimizer.discriminator.b1": 0.5})
    plain = built("wgan_gp", {"optimizer.discriminator.b1": 0.5})
    rates = [
        made.schedules[f"learning_rate/{p}"](jnp.int32(0)) for p in ("discriminator", "generator")
    ]
    wanted = [
        plain.schedules[f"learning_rate/{p}"](jnp.int32(0)) for p in ("discriminator", "generator")
    ]
    np.testing.assert_allclose(rates, [wanted[0] * 20 / 21, wanted[1]], rtol=1e-6)
    now = {"learning_rate/discriminator": jnp.float32(1)}
    expected = optimizers.adam("discriminator", 0.5 ** (20 / 21), 0.9 ** (20 / 21))
    steps = []
    for build in (made.optimizers["discriminator"], expected):
        optimizer = build(now)
        changes, state = optimizer.update(jnp.float32(0.1), optimizer.init(jnp.float32(0)))
        steps.append([changes, optimizer.update(jnp.float32(0.7), state)[0]])
    assert steps[0] == steps[1]


def test_the_generator_first_hands_over_its_images(x64):
    """The discriminator sees what the generator made before its own step, and its weights then."""
    data = test_synthesis.batch(latent=True)
    before, after = test_synthesis.played(data, first="generator", handed=True)
    (g, g_bias), (d, _) = (
        test_synthesis.weights(before)[n] for n in ("generator", "discriminator")
    )
    real = data["image"][0, 0].reshape(4, -1) / 127.5 - 1
    latent = data["latent"][0, 0]
    fake = latent @ g + g_bias
    (new_g, _), (new_d, _) = (
        test_synthesis.weights(after)[n] for n in ("generator", "discriminator")
    )
    assert np.allclose(new_g, g + RATE * np.outer(latent.mean(0), d[:, 0]), rtol=1e-12)
    assert np.allclose(new_d, d - RATE * (fake.mean(0) - real.mean(0))[:, None], rtol=1e-12)


def test_clipping_follows_every_round_and_regularizer(x64):
    """No weight of the discriminator is ever beyond the limit; the generator's are free."""

    def project(params):
        return jax.tree.map(lambda p: jnp.clip(p, -0.05, 0.05), params)

    made = Linear(rounds=2, penalties=[r1(-50.0, every=2)], project=project)
    batch = test_synthesis.batch(rounds=2)
    state = made.update()(made.init(batch), batch, None)
    sizes = {
        net: max(np.max(np.abs(x)) for x in jax.tree.leaves(params))
        for net, params in state.params.items()
    }
    assert sizes["discriminator"] == 0.05
    assert sizes["generator"] > 0.05


# Losses and noise


@pytest.mark.parametrize("loss", [bce, saturating])
def test_one_sided_smoothing(loss, x64):
    """The cross-entropy with labels 0.9 and 0; the generator's loss is as it was."""
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(2, 7, 1))
    p, q = (1 / (1 + np.exp(-x)) for x in (real, fake))
    smooth = loss(0.1)
    expected = -np.mean(0.9 * np.log(p) + 0.1 * np.log(1 - p)) - np.mean(np.log(1 - q))
    assert np.isclose(smooth.discriminator(real, fake), expected, rtol=1e-12)
    assert smooth.generator(None, fake) == loss().generator(None, fake)


def test_weighted_losses(x64):
    real, fake = np.random.default_rng(0).normal(size=(2, 7, 1))
    plain, ours = bce(), weighted(bce(), 0.5, 3.0)
    assert np.isclose(ours.discriminator(real, fake), 0.5 * plain.discriminator(real, fake))
    assert np.isclose(ours.generator(None, fake), 3 * plain.generator(None, fake))


def test_instance_noise_follows_its_schedule(x64):
    """With a linear critic and the same draws, what it adds to the loss falls with the images."""
    noisy = Linear(noise=linear_decay(0.5, 0, 80))
    batch = test_synthesis.batch(latent=True)
    state, update = noisy.init(batch), noisy.update()

    def loss(images):
        after = update(state.replace(images=jnp.int32(images)), batch, None)
        return float(after.metrics["discriminator"][0])

    calm = loss(80)
    assert loss(1000) == calm
    full = loss(0) - calm
    assert abs(full) > 1e-3
    for images in (20, 40, 60):
        assert np.isclose(loss(images) - calm, full * (1 - images / 80), rtol=1e-9)
    plain = Linear()
    after = plain.update()(plain.init(batch), batch, None)
    assert np.isclose(float(after.metrics["discriminator"][0]), calm, rtol=1e-12)


def test_instance_noise_of_a_config():
    """In images; it stays where no end is given, and isn't there at 0."""
    fields = {"augment.noise.deviation": 0.2, "augment.noise.images": 100}
    falling, staying = built("dcgan", fields), built("dcgan", {"augment.noise.deviation": 0.2})
    for images, expected in [(0, 0.2), (50, 0.1), (100, 0), (500, 0)]:
        assert np.isclose(falling.schedules[NOISE](jnp.int32(images)), expected)
        assert np.isclose(staying.schedules[NOISE](jnp.int32(images)), 0.2)
    assert NOISE not in built("dcgan", {"augment.noise.images": 100}).schedules


def test_a_momentum_that_stays():
    """Without images to move over it is b1 for good."""
    made = built("gan", {"optimizer.generator.name": "momentum", "optimizer.generator.b1": 0.5})
    momentum = made.schedules["momentum/generator"]
    assert [momentum(jnp.int32(n)) for n in (0, 10**6)] == [0.5, 0.5]


def test_extra_needs_a_phase():
    """More rounds are the discriminator's."""
    made = Linear(rounds=2, extra=lambda step: 3 * (step < 2))
    assert isinstance(made.game.extra, Extra)
    assert made.game.extra.phase == "discriminator"
    assert [made.game.extra.batches(step) for step in range(3)] == [3, 3, 0]
