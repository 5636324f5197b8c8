"""Every config: the smallest form takes real steps, the big ones are checked by their shapes."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from jaxgan import commandline, experiment, optimizers
from jaxgan.errors import UserError
from jaxgan.fields import RANGES, resolve
from jaxgan.losses.adversarial import hinge

FILES = sorted(tiny.CONFIG.parent.glob("*.py"))


def load(presets="", *overrides, file=tiny.CONFIG):
    """A resolved config, as the command line gives it."""
    argv = [f"--config={file}:{presets}", *(f"--config.{word}" for word in overrides)]
    command = commandline.parse(argv, {}, "python")
    return resolve(command.config, command.overrides)


def presets_of(file):
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return ("", *module.PRESETS)


ALL = [(file, preset) for file in FILES for preset in presets_of(file)]
IDS = [f"{file.stem}:{preset}" for file, preset in ALL]


def alike(config):
    """The config's fields that its experiment depends on."""
    parts = ("checkpoint.", "evaluate.", "init.")
    fields = ("data.path", "data.name", "data.load_size", "data.count", "data.flip")
    return tuple(
        (name, value)
        for name, value in sorted(commandline.flat(config).items())
        if not name.startswith(parts) and not name.endswith("_every") and name not in fields
    )


@pytest.fixture(scope="module")
def shapes():
    """config -> its experiment, and the state before and after an update; each made once."""
    made = {}

    def shapes_of(config):
        key = alike(config)
        if key not in made:
            built = experiment.build(config, larger_domain=1334)
            before = built.template()
            given = before, built.whole_batch(), built.constants()
            after = jax.eval_shape(built.update(), *given)
            made[key] = built, before, after
        return made[key]

    return shapes_of


def check(built, before, after):
    """An update gives the state that it took: structure, shapes, types, no weak ones."""

    def kinds(state):
        return jax.tree.map(lambda x: (x.shape, x.dtype, getattr(x, "weak_type", False)), state)

    assert kinds(after) == kinds(before)
    assert not any(leaf.weak_type for leaf in jax.tree.leaves(after))
    # Orbax refuses empty arrays, and a folder without arrays would be lost.
    assert all(leaf.size for leaf in jax.tree.leaves(before))
    weights = built.weights(before)
    if built.seeds > 1:
        weights = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), weights)
    if built.game.task == "unpaired":
        size = built.batch["A"].shape[3:]
        given = {name: jax.ShapeDtypeStruct((1, *size), jnp.float32) for name in "AB"}
    elif built.game.task == "upscaling":
        size, small = (built.batch[name].shape[3:] for name in ("truth", "input"))
        given = {"input": jax.ShapeDtypeStruct((1, *small), jnp.float32)}
    elif built.game.task == "paired":
        size = built.batch["truth"].shape[3:]
        given = jax.eval_shape(lambda: built.game.noise(jax.random.key(0), 1, jnp.float32))
        given |= {"input": jax.ShapeDtypeStruct((1, *size), jnp.float32)}
    elif built.game.task == "classification":
        size = built.batch["image"].shape[3:]
        given = {"image": jax.ShapeDtypeStruct((1, *size), jnp.float32)}
        told = jax.eval_shape(built.game.sample, weights, given)
        assert [told[name].ndim for name in ("features", "logits")] == [2, 2]
        return
    else:
        size = built.batch["image"].shape[3:]
        given = jax.eval_shape(lambda: built.game.noise(jax.random.key(0), 1, jnp.float32))
        if built.game.classes:
            given |= {"label": jax.ShapeDtypeStruct((1,), jnp.int32)}
    for image in jax.eval_shape(built.game.sample, weights, given).values():
        assert image.shape == (1, *size)


# Presets that change the images' size alone, and the one that real steps are taken of below.
BY_SIZE = ("mnist", "cifar10", "folder", "smoke")
SHAPES = [
    pytest.param(
        file, preset, marks=pytest.mark.slow if file != tiny.CONFIG and preset in BY_SIZE else []
    )
    for file, preset in ALL
]


@pytest.mark.parametrize(("file", "preset"), SHAPES, ids=IDS)
def test_every_preset_by_its_shapes(file, preset, shapes):
    check(*shapes(load(preset, file=file)))


@pytest.fixture(scope="module")
def smallest():
    """config -> states of two real steps; equal configs are compiled once."""
    made = {}

    def run(config):
        key = alike(config)
        if key not in made:
            built = experiment.build(config, larger_domain=8)
            start = built.init(config.seed)
            template = built.template()
            made[key] = start, template, tiny.train(built, tiny.compiled(built), steps=2)
        return made[key]

    return run


# Each takes seconds to compile; tests/test_covering.py walks the fields that the others set.
QUICK = ("classifier", "dcgan", "pix2pix", "srgan", "toy")  # one of each game, by its default
SMALLEST = [
    pytest.param(
        file,
        preset,
        marks=[]
        if file == tiny.CONFIG or (file.stem in QUICK and not preset)
        else pytest.mark.slow,
    )
    for file, preset in ALL
]


@pytest.mark.parametrize(("file", "preset"), SMALLEST, ids=IDS)
def test_the_smallest_form_of_every_preset(file, preset, smallest):
    """Two real steps: finite, and every net learns."""
    config = load(f"{preset},smoke" if preset else "smoke", file=file)
    start, _, (first, second) = smallest(config)
    assert (second.step, second.images) == (2, 2 * config.data.batch_size)
    assert np.all(second.first_bad == -1)
    for state in (first, second):
        assert all(np.all(np.isfinite(total)) for total, _ in state.metrics.values())
    for name in start.params:
        assert tiny.difference(second.params[name], jax.device_get(start.params[name])) > 0


def test_the_start(smallest):
    """The state is what its template says."""
    start, template, _ = smallest(load("smoke"))
    leaves, wanted = jax.tree.leaves(start), jax.tree.leaves(template)
    assert jax.tree.structure(start) == jax.tree.structure(template)
    for leaf, want in zip(leaves, wanted, strict=True):
        assert (leaf.shape, leaf.dtype, leaf.sharding) == (want.shape, want.dtype, want.sharding)
        assert not leaf.weak_type


def test_the_seed_decides(smallest):
    start, _, _ = smallest(load("smoke"))
    again, other = (tiny.experiment("ema.half_life=5.0").init(seed) for seed in (0, 1))
    assert tiny.difference(again.params, start.params) == 0
    kernels = [
        np.asarray(state.params[f"generator_{way}"]["first"]["kernel"])
        for state, way in [(start, "AtoB"), (start, "BtoA"), (other, "AtoB"), (other, "BtoA")]
    ]
    for i, kernel in enumerate(kernels):
        assert not any(np.any(kernel == before) for before in kernels[:i])
    # Averages start at the weights, and no two leaves share a buffer: both would be donated.
    for name, average in again.ema.items():
        assert tiny.difference(average, again.variables(name)) == 0
    pointers = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(again)]
    assert len(set(pointers)) == len(pointers)


VARIANTS = [
    """model.discriminator.kind=pixel model.discriminator.norm=batch loss.adversarial=relativistic
    model.generator.padding=zero model.generator.blocks=9""",
    """data.channels=5 data.dtype=float32
    model.discriminator.norm=none model.generator.norm=none loss.adversarial=hinge
    loss.cycle=0.0 optimizer.generator.name=rmsprop""",
    """model.discriminator.norm=batch model.generator.norm=batch model.generator.dropout=0.5
    model.remat=true data.batch_size=8 train.accumulate=2""",
    """train.first=discriminators model.generator.norm=batch precision=bfloat16
    ema.half_life=1000.0 ema.ramp=0.05 loss.adversarial=bce""",
    """data.channels=1 pool.size=0 loss.identity=0.0 loss.adversarial=wasserstein
    optimizer.discriminator.name=sgd optimizer.generator.schedule=constant
    optimizer.discriminator.schedule=cosine model.discriminator.layers=5""",
]


@pytest.mark.parametrize("overrides", VARIANTS, ids=range(len(VARIANTS)))
def test_variants_by_their_shapes(overrides, shapes):
    check(*shapes(load("", "data.image_size=128", *overrides.split())))


@pytest.mark.parametrize(
    ("layers", "logits"), [(1, 126), (2, 62), (3, 30), (4, 14), (5, 6)], ids=str
)
def test_every_depth_of_the_discriminator(layers, logits):
    """256 pixels, halved `layers` times, less the two rows that the last convolutions take."""
    config = load("folder", f"model.discriminator.layers={layers}")
    _, discriminator = experiment.networks(config)
    images = jax.ShapeDtypeStruct((1, 256, 256, 3), jnp.float32)

    def judge(images):
        return discriminator.init_with_output(jax.random.key(0), images, train=True)[0]

    assert jax.eval_shape(judge, images).shape == (1, logits, logits, 1)


def test_the_published_settings(shapes):
    """horse2zebra as the published code trains it, and the schedule over its run."""
    config = load("horse2zebra")
    assert config.data.path == "datasets/horse2zebra"
    assert (config.data.image_size, config.data.load_size, config.data.batch_size) == (256, 286, 1)
    built, before, _ = shapes(config)
    assert built.steps == 200 * 1334
    count = {
        name: sum(x.size for x in jax.tree.leaves(params)) for name, params in before.params.items()
    }
    assert count["generator_AtoB"] == count["generator_BtoA"] == 11_378_179
    assert count["discriminator_A"] == count["discriminator_B"] == 2_764_737
    pools = [before.memory[f"pool_{domain}"].images.shape for domain in "AB"]
    assert pools == [(50, 256, 256, 3)] * 2
    for player in ("generators", "discriminators"):
        rate = built.schedules[f"learning_rate/{player}"]
        for epoch, share in [(0, 1), (99, 1), (100, 1), (150, 0.5), (199, 0.01), (200, 0)]:
            np.testing.assert_allclose(rate(jnp.int32(epoch * 1334)), 2e-4 * share, rtol=1e-4)


# Steps, epochs and choices


@pytest.mark.parametrize(
    ("epochs", "images", "batch", "steps"),
    [(1, 8, 1, 8), (2, 8, 4, 4), (1, 5, 2, 3), (0.1, 30, 1, 3), (0.3, 10, 1, 3), (0.001, 8, 1, 1)],
)
def test_epochs(epochs, images, batch, steps):
    """Passes over the larger domain; a started epoch's last batch counts."""
    config = load("", f"train.epochs={epochs}", f"data.batch_size={batch}")
    assert config.train.steps == 0
    assert experiment.total_steps(config, images) == steps


def test_the_schedule_follows_the_run():
    """Of 40 steps of 3 images: flat to image 60, 0 at image 120."""
    built = tiny.experiment("train.steps=40", "data.batch_size=3")
    rate = built.schedules["learning_rate/generators"]
    shares = [float(rate(jnp.int32(images))) / 2e-4 for images in (0, 60, 90, 120)]
    np.testing.assert_allclose(shares, [1, 1, 0.5, 0], atol=1e-6)


@pytest.mark.parametrize(
    ("schedules", "growing"),
    [(("constant", "constant"), ("train.steps", "train.epochs")), (("constant", "linear"), ())],
)
def test_which_fields_may_grow(schedules, growing):
    """More steps are the same run only where no schedule looks at its end."""
    players = ("generator", "discriminator")
    built = tiny.experiment(
        *(f"optimizer.{p}.schedule={s}" for p, s in zip(players, schedules, strict=True))
    )
    assert built.growing_fields == growing


@pytest.mark.parametrize(
    ("field", "name", "nearest"),
    [
        ("loss.adversarial", "lsgn", "lsgan"),
        ("optimizer.generator.name", "adan", "adam"),
        ("optimizer.discriminator.schedule", "linaer", "linear"),
        ("model.generator.kind", "resnets", "resnet"),
        ("model.discriminator.kind", "pixels", "pixel"),
        ("game", "cyclegans", "cyclegan"),
    ],
)
def test_unknown_names(field, name, nearest):
    with pytest.raises(UserError, match=nearest) as error:
        experiment.build(load("smoke", f"{field}={name}"), 8)
    assert field in str(error.value)


def test_ones_own_part():
    """A name like module:function is taken from there."""
    loss = experiment.choose("loss.adversarial", f"{hinge.__module__}:hinge", {})
    assert loss is hinge
    for name in (f"{hinge.__module__}:no_such", "no_such_module:hinge"):
        with pytest.raises(UserError, match=r"loss\.adversarial"):
            experiment.choose("loss.adversarial", name, {})


@pytest.mark.parametrize(
    ("overrides", "fits"),
    [
        (["data.image_size=18"], "data.image_size=16"),
        (["data.image_size=4"], "data.image_size=8"),
        (["data.image_size=16", "model.discriminator.layers=3"], "layers"),
    ],
)
def test_sizes_that_do_not_fit(overrides, fits):
    with pytest.raises(UserError, match=fits):
        experiment.build(load("smoke", *overrides), 8)


def test_ranges_name_fields_that_exist():
    """Of at least one config; and every default is in range (`load` has checked it)."""
    known = set()
    for file in FILES:
        known |= set(commandline.flat(load(file=file)))
    assert set(RANGES) <= known


def test_optimizers_by_name():
    """The config's betas reach the optimizer that it names."""
    c = load("smoke", "optimizer.generator.b1=0.25").optimizer.generator
    now = {"learning_rate/generators": jnp.float32(1)}
    for name, expected in [
        ("adam", optimizers.adam("generators", 0.25, 0.999)),
        ("sgd", optimizers.sgd("generators", 0.25)),
        ("rmsprop", optimizers.rmsprop("generators", 0.999)),
    ]:
        c.name = name
        made = []
        for build in (experiment.optimizer("generators", c), expected):
            optimizer, w = build(now), jnp.ones(3)
            state = optimizer.init(w)
            for gradient in (0.1, 0.7):
                changes, state = optimizer.update(gradient * w, state, w)
            made.append(changes)
        np.testing.assert_array_equal(*made)
