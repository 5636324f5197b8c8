"""The training step against vectors that the published implementations computed.

Every `.npz` in tests/golden, and in the folder that JAXGAN_GOLDEN names, is one test. What a file
is shows in its arrays' names; sizes, widths, depth, norms and steps come from the arrays.
Everything runs in float64: there a faithful step agrees over all steps, while in float32 Adam's
division by tiny gradients makes any two implementations part.
"""

import json
import os
import re
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import jit

from jaxgan.games.paired import paired
from jaxgan.games.synthesis import Classes, Latent, synthesis
from jaxgan.games.unpaired import cyclegan
from jaxgan.losses.adversarial import bce, hinge, lsgan, wasserstein, weighted
from jaxgan.losses.penalties import gp
from jaxgan.metrics import frechet, inception, kernel, neighbours
from jaxgan.metrics.inception_score import inception_score
from jaxgan.models import dcgan, published, published_dcgan, vgg
from jaxgan.models.patchgan import PatchDiscriminator, PixelDiscriminator
from jaxgan.models.published_rrdb import rrdb_from_published
from jaxgan.models.resnet import ResNetGenerator
from jaxgan.models.rrdb import RRDBNet
from jaxgan.models.unet import UNetGenerator
from jaxgan.optimizers import adam, constant
from jaxgan.state import reset_metrics, split_variables
from jaxgan.update import init_state, make_update

GOLDEN = Path(__file__).parent / "golden"


def golden_files() -> list[Path]:
    """The committed vectors and those of the folder JAXGAN_GOLDEN, sorted by name."""
    extra = os.environ.get("JAXGAN_GOLDEN")
    folders = [GOLDEN, *([Path(extra)] if extra else [])]
    return [file for folder in folders for file in sorted(folder.glob("*.npz"))]


def kind_of(names: list[str]) -> str:
    """Which system a file's arrays belong to."""
    if any(name.startswith("G_A/") for name in names):
        return "cyclegan"
    for prefix, kind in (("D/model.", "pix2pix"), ("D/net.", "pixelgan")):
        if any(name.startswith(prefix) for name in names):
            return kind
    marks = {
        "rrdb_input": "esrgan",
        "features_before_relu/conv5_4": "vgg19",
        "features_real": "metrics",
        "features_32/2048": "inception",
        "u/0": "sngan",
        "weight_G": "acgan",
        "label": "cgan",
        "labels_abc": "lsgan",
        "latent_critic": "wgan_gp",
        "latent": "dcgan",
    }
    return next((kind for mark, kind in marks.items() if mark in names), "unknown")


def relative(ours, theirs) -> float:
    """Largest absolute error over the largest magnitude."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape
    return float(np.max(np.abs(ours - theirs)) / np.max(np.abs(theirs)))


def nhwc(images) -> np.ndarray:
    return np.moveaxis(np.asarray(images), -3, -1)


def nchw(images) -> np.ndarray:
    return np.moveaxis(np.asarray(images), -1, -3)


# The published code names discriminators after the generator that they teach, and both
# generators' losses after themselves.
NETS = {
    "generator_AtoB": "G_A",
    "generator_BtoA": "G_B",
    "discriminator_B": "D_A",
    "discriminator_A": "D_B",
}
LOSSES = {
    "generator_AtoB": "G_A",
    "generator_BtoA": "G_B",
    "cycle_A": "cycle_A",
    "cycle_B": "cycle_B",
    "identity_B": "idt_A",
    "identity_A": "idt_B",
    "discriminator_B": "D_A",
    "discriminator_A": "D_B",
}


class CycleGAN:
    """The networks and the training step that a file's arrays describe."""

    def __init__(self, arrays, dtype):
        self.dtype = dtype
        self.modules, variables = {}, {}
        for ours, theirs in NETS.items():
            prefix = theirs + "/"
            weights = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
            self.modules[ours], variables[ours] = self._net(ours, weights)
        identity = 0.5 if np.any(arrays.get("losses/idt_A", 1)) else 0.0
        game = cyclegan(self.modules, lsgan(), cycle=10.0, identity=identity, pool_size=0)
        optimizers = {player: adam(player, 0.5, 0.999) for player in game.players}
        schedules = {f"learning_rate/{player}": constant(2e-4) for player in game.players}
        # [step, domain, n, c, h, w] -> per step {"A": [repeats, accumulate, n, h, w, c], ...}
        self.batches = [
            {domain: nhwc(step[i])[None, None] for i, domain in enumerate("AB")}
            for step in arrays["batches"]
        ]
        args = (game, optimizers, schedules, None)
        shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), self.batches[0])
        state = init_state(*args, 0, shapes, dtype)
        params, stats = split_variables(variables)
        params, stats = jax.tree.map(lambda x: jnp.asarray(x, dtype), (params, stats))
        self.state = state.replace(params=params, stats=stats)
        self.update = jit(make_update(*args, dtype=dtype))

    def _net(self, name, weights):
        types = {"dtype": self.dtype, "param_dtype": self.dtype}
        if name.startswith("generator"):
            kwargs, variables = published.resnet_generator_from_published(weights)
            return ResNetGenerator(**kwargs, **types), variables
        if any(key.startswith("net.") for key in weights):
            kwargs, variables = published.pixel_discriminator_from_published(weights)
            return PixelDiscriminator(**kwargs, **types), variables
        kwargs, variables = published.patch_discriminator_from_published(weights)
        return PatchDiscriminator(**kwargs, **types), variables

    def run(self, name, images):
        """A network in training mode on NHWC images in [-1, 1]; statistics are dropped."""
        variables = self.state.variables(name)
        kept = [key for key in variables if key != "params"]
        run = jit(partial(self.modules[name].apply, train=True, mutable=kept))
        return run(variables, images)[0]

    def losses(self, i) -> dict[str, float]:
        """One training step; its losses by the published names."""
        after = self.update(self.state, self.batches[i], None)
        self.state = reset_metrics(after)
        means = {name: total / count for name, (total, count) in after.metrics.items()}
        return {theirs: means[ours] for ours, theirs in LOSSES.items() if ours in means}

    def first(self, domain) -> jax.Array:
        return jnp.asarray(self.batches[0][domain][0, 0], self.dtype) / 127.5 - 1


def check_cyclegan(arrays):
    ours = CycleGAN(arrays, jnp.float64)
    fake_B = ours.run("generator_AtoB", ours.first("A"))
    rec_A = ours.run("generator_BtoA", fake_B)
    assert relative(nchw(fake_B), arrays["fake_B_before"]) < 1e-8
    assert relative(nchw(rec_A), arrays["rec_A_before"]) < 1e-8

    steps = [ours.losses(i) for i in range(len(ours.batches))]
    compared = 0
    for name in LOSSES.values():
        theirs = arrays[f"losses/{name}"]
        if name in steps[0]:
            assert relative([step[name] for step in steps], theirs) < 1e-9, name
            compared += 1
        else:
            assert not np.any(theirs), name
    assert compared >= 6
    after = ours.run("generator_AtoB", ours.first("A"))
    assert relative(nchw(after), arrays["fake_B_after"]) < 1e-8
    if "D_A_after" in arrays:
        logits = ours.run("discriminator_B", ours.first("B"))
        assert relative(nchw(logits), arrays["D_A_after"]) < 1e-8


def check_pix2pix(arrays):
    """pix2pix, and PixelGAN by its discriminator."""

    def stored(prefix):
        return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}

    types = {"dtype": jnp.float64, "param_dtype": jnp.float64}
    arguments, generator = published.unet_generator_from_published(stored("G/"))
    modules = {"generator": UNetGenerator(**arguments, dropout=0.0, **types)}
    if any(name.startswith("D/net.") for name in arrays):
        at, judge = published.pixel_discriminator_from_published(stored("D/"))
        modules["discriminator"] = PixelDiscriminator(**at, **types)
    else:
        at, judge = published.patch_discriminator_from_published(stored("D/"))
        modules["discriminator"] = PatchDiscriminator(**at, **types)
    variables = {"generator": generator, "discriminator": judge}
    variables = jax.tree.map(lambda x: x.astype(np.float64), variables)
    game = paired(modules, bce())._replace(init=lambda key, batch: (variables, {}))
    optimizers = {player: adam(player, 0.5, 0.999) for player in game.players}
    schedules = {f"learning_rate/{player}": constant(2e-4) for player in game.players}
    args = (game, optimizers, schedules, None)
    # [step, domain, n, c, h, w]
    batches = [
        {name: nhwc(step[i])[None, None] for i, name in enumerate(("input", "truth"))}
        for step in arrays["batches"]
    ]
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), batches[0])
    state = init_state(*args, 0, shapes, jnp.float64)
    update = jit(make_update(*args, dtype=jnp.float64))

    def translated(state):
        """The first image of the first batch, which is normalised by the whole batch."""
        run = partial(modules["generator"].apply, train=True, mutable=["batch_stats"])
        image = jnp.asarray(batches[0]["input"][0, 0], jnp.float64) / 127.5 - 1
        return nchw(jit(run)(state.variables("generator"), image)[0])[:1]

    assert relative(translated(state), arrays["fake_B_before"]) < 1e-8
    found = []
    for batch in batches:
        state = update(state, batch, None)
        found.append({name: total / count for name, (total, count) in state.metrics.items()})
        state = reset_metrics(state)
    judged = 0.5 * (arrays["losses/D_real"] + arrays["losses/D_fake"])
    theirs = {"generator": "losses/G_GAN", "l1": "losses/G_L1"}
    for name, values in {
        "discriminator": judged,
        **{n: arrays[k] for n, k in theirs.items()},
    }.items():
        assert relative([step[name] for step in found], values) < 1e-9, name
    assert relative(translated(state), arrays["fake_B_after"]) < 1e-8


class Synthesis:
    """DCGAN's networks and the training step that a file's arrays describe."""

    def __init__(self, arrays, adversarial, rate, betas, classes=None, judge=None, **settings):
        self.arrays, self.classes = arrays, classes
        rounds = arrays["real"].shape[1]
        self.modules, variables = {}, {}
        for net, module in (("generator", dcgan.Generator), ("discriminator", dcgan.Discriminator)):
            arguments, variables[net] = self.stored(net)
            at = arguments | {"classes": classes.count if classes else 0}
            if net == "discriminator":
                at |= {"spectral": "spectral" in variables[net]} | (judge or {})
            self.modules[net] = module(**at, dtype=jnp.float64, param_dtype=jnp.float64)
        latent = Latent(self.first_latent().shape[-1])
        settings |= {"classes": classes, "rounds": rounds}
        game = synthesis(self.modules, adversarial, latent, **settings)
        variables = jax.tree.map(lambda x: x.astype(np.float64), variables)
        game = game._replace(init=lambda key, batch: (variables, {}))
        optimizers = {player: adam(player, *betas) for player in game.players}
        schedules = {f"learning_rate/{player}": constant(rate) for player in game.players}
        args = (game, optimizers, schedules, None)
        self.batches = [self.batch(i, rounds) for i in range(len(arrays["real"]))]
        shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), self.batches[0])
        self.state = init_state(*args, 0, shapes, jnp.float64)
        self.update = jit(make_update(*args, dtype=jnp.float64))
        self.outputs = jit(self.run)

    def stored(self, net, when=""):
        """A network's arguments and variables before training, or ``_after`` it."""
        weights = self.weights(f"{net[0].upper()}{when}/")
        head = {n: weights.pop(n) for n in list(weights) if n.startswith("classes.")}
        read = {
            "generator": published_dcgan.dcgan_generator_from_published,
            "discriminator": published_dcgan.dcgan_discriminator_from_published,
        }
        arguments, variables = read[net](weights)
        vectors = self.weights(f"u{when}/") if net == "discriminator" else {}
        if vectors:
            layers = [name for name in variables["params"] if not name.startswith("norm_")]
            vectors = [vectors[i] for i in sorted(vectors, key=int)]
            variables["spectral"] = {
                name: {"u": u} for name, u in zip(layers, vectors, strict=True)
            }
        if head:
            kernel = head["classes.weight"].transpose(2, 3, 1, 0)
            variables["params"]["classes_head"] = {"kernel": kernel, "bias": head["classes.bias"]}
        return arguments, variables

    def weights(self, prefix):
        return {n.removeprefix(prefix): a for n, a in self.arrays.items() if n.startswith(prefix)}

    def batch(self, i, rounds):
        """[rounds, 1, N, ...] of every array of one step; what has no rounds is the same in all."""
        keys = {"latent": "latent", "latent_critic": "latent", "interpolation": "interpolation"}
        keys |= {"latent_generator": "latent_generator"}
        batch = {"image": nhwc(self.arrays["real"][i])[:, None]}
        for theirs, ours in keys.items():
            if theirs in self.arrays:
                array = self.arrays[theirs][i]
                given = array if theirs in ("latent_critic", "interpolation") else array[None]
                batch[ours] = np.broadcast_to(given, (rounds, *given.shape[1:]))[:, None]
        if self.classes:
            batch["label"] = self.arrays["label"][i][:, None].astype(np.int32)
        return batch

    def run(self, state):
        """Images of the first latents, and the judgement of the first images.

        Networks run in training mode, with the first batch's labels; their statistics are dropped.
        """
        label = (self.batches[0]["label"][0, 0],) if self.classes else ()
        told = () if self.classes and self.classes.auxiliary else label
        real = nhwc(self.arrays["real"][0, 0]) / 127.5 - 1
        inputs = {
            "generator": (jnp.asarray(self.first_latent(), jnp.float64), *label),
            "discriminator": (jnp.asarray(real), *told),
        }
        return {
            net: self.modules[net].apply(
                state.variables(net), *given, train=True, mutable=list(state.stats.get(net, ()))
            )[0]
            for net, given in inputs.items()
        }

    def step(self, i):
        """Means of the losses of one training step."""
        after = self.update(self.state, self.batches[i], None)
        self.state = reset_metrics(after)
        return {name: total / count for name, (total, count) in after.metrics.items()}

    def first_latent(self):
        """Of the generator's first step."""
        return self.arrays.get("latent", self.arrays.get("latent_generator"))[0]

    def check(self, losses, statistics=True):
        """All of a file: `losses` are theirs by our names, [step] or [step, round]."""
        fake = self.outputs(self.state)["generator"]
        assert relative(nchw(fake), self.arrays["fake_before"]) < 1e-8
        steps = [self.step(i) for i in range(len(self.batches))]
        assert set(steps[0]) == set(losses)
        for name, theirs in losses.items():
            # Rounds are logged as their mean.
            theirs = theirs.reshape(len(steps), -1).mean(1)
            assert relative([step[name] for step in steps], theirs) < 1e-9, name
        self.check_after(statistics)

    def check_after(self, statistics):
        for net in ("generator", "discriminator"):
            theirs, ours = self.stored(net, "_after")[1], self.state.variables(net)
            assert set(theirs) == set(ours)
            for part in theirs if statistics else ("params",):
                for (path, a), b in zip(
                    jax.tree_util.tree_leaves_with_path(theirs[part]),
                    jax.tree.leaves(ours[part]),
                    strict=True,
                ):
                    assert relative(b, a) < 1e-8, (net, part, path)
        after = self.outputs(self.state)
        sample, judged = after["generator"], after["discriminator"]
        assert relative(nchw(sample), self.arrays["sample_train_after"]) < 1e-8
        if "classes_after" in self.arrays:
            judged, named = judged
            assert relative(named, self.arrays["classes_after"]) < 1e-8
        assert relative(judged, self.arrays["logits_after"]) < 1e-8


def adversarial_losses(arrays):
    """Of the two players, by our names."""
    losses = {name: arrays[f"losses/{name}"] for name in ("D_real", "D_fake", "G")}
    return {"discriminator": losses["D_real"] + losses["D_fake"], "generator": losses["G"]}


def classes_of(arrays, **settings):
    """The classes are what the generator takes besides the latent."""
    return Classes(arrays["G/0.weight"].shape[0] - arrays["latent"].shape[-1], **settings)


def check_dcgan(arrays):
    Synthesis(arrays, bce(), 2e-4, (0.5, 0.999)).check(adversarial_losses(arrays))


def check_wgan_gp(arrays):
    settings = {"penalties": [gp(10.0)], "handed": False}
    ours = Synthesis(arrays, wasserstein(), 1e-4, (0.0, 0.9), **settings)
    losses = {
        "discriminator": arrays["losses/critic"],
        "gradient_penalty": arrays["losses/penalty"],
        "generator": arrays["losses/G"],
    }
    ours.check(losses, statistics=False)


def check_lsgan(arrays):
    loss = weighted(lsgan(*arrays["labels_abc"].tolist()), 0.5, 0.5)
    Synthesis(arrays, loss, 1e-3, (0.5, 0.99)).check(adversarial_losses(arrays))


def check_cgan(arrays):
    settings = {"classes": classes_of(arrays), "judge": {"conditioning": "concatenation"}}
    Synthesis(arrays, bce(), 2e-4, (0.5, 0.999), **settings).check(adversarial_losses(arrays))


def check_acgan(arrays):
    weights = {
        player: float(arrays[f"weight_{player[0].upper()}"])
        for player in ("discriminator", "generator")
    }
    classes = classes_of(arrays, auxiliary=True, **weights)
    settings = {"classes": classes, "judge": {"conditioning": "auxiliary"}}
    ours = Synthesis(arrays, bce(), 2e-4, (0.5, 0.999), **settings)
    named = {"class_real": "class_real", "class_fake": "class_fake", "class_generator": "class_G"}
    named = {ours: arrays[f"losses/{theirs}"] for ours, theirs in named.items()}
    ours.check(adversarial_losses(arrays) | named)


def check_sngan(arrays):
    ours = Synthesis(arrays, hinge(), 2e-4, (0.0, 0.9), handed=False)
    assert "spectral" in ours.state.stats["discriminator"]
    ours.check(adversarial_losses(arrays))


def check_esrgan(arrays):
    weights = {k.removeprefix("RRDB/"): v for k, v in arrays.items() if k.startswith("RRDB/")}
    arguments, variables = rrdb_from_published(weights)
    variables = jax.tree.map(lambda x: x.astype(np.float64), variables)
    module = RRDBNet(**arguments, dtype=jnp.float64, param_dtype=jnp.float64)
    images = nhwc(arrays["rrdb_input"]) / 127.5 - 1
    # The published network's values are those of [0, 1].
    made = (jit(module.apply)(variables, images) + 1) / 2
    assert relative(nchw(made), arrays["rrdb_output"]) < 1e-9


def check_vgg19(arrays):
    assert {n: list(a.shape) for n, a in vgg.random_arrays().items()} == {
        name: list(shape)
        for name, shape in json.loads(str(arrays["shapes"])).items()
        if name.startswith("features.")
    }
    variables = vgg.from_published(vgg.random_arrays())
    variables = jax.tree.map(lambda x: x.astype(np.float64), variables)
    layers = sorted(name.rpartition("/")[2] for name in arrays if "before_relu/" in name)
    module = vgg.VGG19(tuple(layers), dtype=jnp.float64, param_dtype=jnp.float64)
    found = jit(module.apply)(variables, arrays["images"] / 127.5 - 1)
    for name, theirs in arrays.items():
        kind, _, layer = name.rpartition("/")
        if kind == "features_before_relu":
            assert relative(nchw(found[layer]), theirs) < 1e-9, name
        if kind == "spatial_mean_before_relu":
            assert relative(np.mean(found[layer], (1, 2)), theirs) < 1e-9, name


def check_metrics(arrays):
    real, fake = arrays["features_real"], arrays["features_fake"]
    found = neighbours.neighbourhoods(real, fake, [3])[3]
    ours = {
        "fid": frechet.frechet_distance(frechet.fit([real]), frechet.fit([fake])),
        "kid_unbiased_all_samples": kernel.squared_mmd(real, fake),
        "precision": found.precision,
        "recall": found.recall,
    }
    for name in arrays:
        if match := re.fullmatch(r"inception_score_(\d+)_splits_(mean|std)", name):
            score = inception_score(arrays["logits_fake"], int(match[1]))
            ours[name] = score[match[2] == "std"]
    for name, value in ours.items():
        assert abs(value - arrays[name]) <= 1e-6 * abs(arrays[name]), name


def check_inception(arrays, dtype=np.float64, most=1e-5):
    shapes = json.loads(str(arrays["shapes"]))
    published = {n: _drawn(i, n, shapes[n]) for i, n in enumerate(sorted(shapes))}
    variables = inception.from_published(published)
    variables = jax.tree.map(lambda x: x.astype(dtype), variables)
    sizes = sorted(name.removeprefix("images_") for name in arrays if name.startswith("images_"))
    images = np.concatenate([inception.resized(arrays[f"images_{n}"].astype(dtype)) for n in sizes])
    module = inception.InceptionV3(tuple(inception.FEATURES))
    found = jit(module.apply)(variables, images)
    start = 0
    for size in sizes:
        end = start + len(arrays[f"images_{size}"])
        for name in inception.FEATURES:
            theirs = arrays[f"features_{size}/{name}"]
            assert found[name].dtype == dtype
            assert relative(found[name][start:end], theirs) < most, (size, name)
        start = end


def _drawn(i, name, shape):
    """Array i of a network's sorted names, by the rule that the vectors were made with."""
    r = np.random.RandomState(i)
    if name.endswith("running_var"):
        array = 1 + 0.1 * r.rand(*shape)
    elif name.endswith("running_mean") or (name.endswith("bias") and len(shape) == 1):
        array = 0.1 * r.randn(*shape)
    elif len(shape) > 1:
        array = r.randn(*shape) * np.sqrt(2 / np.prod(shape[1:]))
    else:
        array = 1 + 0.1 * r.randn(*shape)
    return array.astype(np.float32)


CHECKS = {
    "metrics": check_metrics,
    "inception": check_inception,
    "esrgan": check_esrgan,
    "vgg19": check_vgg19,
    "cyclegan": check_cyclegan,
    "pix2pix": check_pix2pix,
    "pixelgan": check_pix2pix,
    "dcgan": check_dcgan,
    "wgan_gp": check_wgan_gp,
    "lsgan": check_lsgan,
    "cgan": check_cgan,
    "acgan": check_acgan,
    "sngan": check_sngan,
}


@pytest.mark.parametrize("file", golden_files(), ids=lambda file: f"parity-{file.stem}")
def test_golden(file, x64):
    arrays = dict(np.load(file))
    kind = kind_of(list(arrays))
    assert file.parent != GOLDEN or kind == file.stem
    if kind not in CHECKS:
        pytest.skip(f"{file.stem}: vectors of a system that is not built yet")
    CHECKS[kind](arrays)


@pytest.mark.slow
def test_first_step_in_float32():
    """In float32 the first step's losses agree within 1e-5 relative."""
    arrays = dict(np.load(GOLDEN / "cyclegan.npz"))
    losses = CycleGAN(arrays, jnp.float32).losses(0)
    assert len(losses) == 8
    for name, value in losses.items():
        assert abs(value / arrays[f"losses/{name}"][0] - 1) < 1e-5, name


@pytest.mark.slow
def test_inception_in_float32():
    """As it is used; in float64 it is one of the golden files above."""
    check_inception(dict(np.load(GOLDEN / "inception.npz")), np.float32, 1e-3)
