"""The training step against vectors that the published implementations computed.

Every `.npz` in tests/golden, and in the folder that JAXGAN_GOLDEN names, is one test. What a file
is shows in its arrays' names; sizes, widths, depth, norms and steps come from the arrays.
Everything runs in float64: there a faithful step agrees over all steps, while in float32 Adam's
division by tiny gradients makes any two implementations part.
"""

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.games.synthesis import GradientPenalty, Latent, synthesis
from jaxgan.games.unpaired import cyclegan
from jaxgan.losses.adversarial import bce, lsgan, wasserstein
from jaxgan.models import dcgan, published
from jaxgan.models.patchgan import PatchDiscriminator, PixelDiscriminator
from jaxgan.models.resnet import ResNetGenerator
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
    if "latent_critic" in names:
        return "wgan_gp"
    if "latent" in names:
        return "dcgan"
    return "unknown"


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
        self.update = jax.jit(make_update(*args, dtype=dtype))

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
        output, _ = self.modules[name].apply(variables, images, train=True, mutable=kept)
        return output

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


class Synthesis:
    """DCGAN's networks and the training step that a file's arrays describe."""

    def __init__(self, arrays, adversarial, rate, betas, rounds, **settings):
        self.arrays = arrays
        self.modules, variables = {}, {}
        for net, module in (("generator", dcgan.Generator), ("discriminator", dcgan.Discriminator)):
            weights = self.weights(net[0].upper() + "/")
            layers = self.layers(net, weights)
            norm = "batch" if any(name.endswith("norm_1") for name in layers.values()) else "none"
            first = weights["0.weight"].shape
            size = {"size": arrays["real"].shape[-1], "channels": arrays["real"].shape[-3]}
            count = len([name for name in layers.values() if name.startswith("conv_")])
            width = first[1] // 2 ** (count - 1) if net == "generator" else first[0]
            types = {"dtype": jnp.float64, "param_dtype": jnp.float64}
            size = size if net == "generator" else {}
            self.modules[net] = module(width=width, norm=norm, **size, **types)
            variables[net] = self.variables(layers, weights)
        latent = Latent(self.weights("G/")["0.weight"].shape[0])
        game = synthesis(self.modules, adversarial, latent, rounds=rounds, **settings)
        optimizers = {player: adam(player, *betas) for player in game.players}
        schedules = {f"learning_rate/{player}": constant(rate) for player in game.players}
        args = (game, optimizers, schedules, None)
        self.batches = [self.batch(i, rounds) for i in range(len(arrays["real"]))]
        shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), self.batches[0])
        params, stats = split_variables(jax.tree.map(jnp.asarray, variables))
        params, stats = jax.tree.map(lambda x: x.astype(jnp.float64), (params, stats))
        state = init_state(*args, 0, shapes, jnp.float64)
        assert jax.tree.map(jnp.shape, state.params) == jax.tree.map(jnp.shape, params)
        self.state = state.replace(params=params, stats=stats)
        self.update = jax.jit(make_update(*args, dtype=jnp.float64))

    def weights(self, prefix):
        return {n.removeprefix(prefix): a for n, a in self.arrays.items() if n.startswith(prefix)}

    @staticmethod
    def layers(net, weights):
        """Position in the `nn.Sequential` -> name here."""
        positions = sorted({int(name.split(".")[0]) for name in weights})
        convolutions = [i for i in positions if weights[f"{i}.weight"].ndim == 4]
        names = {i: f"conv_{n}" for n, i in enumerate(convolutions[:-1])}
        norms = {i: names[i - 1].replace("conv", "norm") for i in positions if i - 1 in names}
        norms = {i: name for i, name in norms.items() if i not in convolutions}
        return names | norms | {convolutions[-1]: "last"}

    @staticmethod
    def variables(layers, weights):
        made = {"params": {}, "batch_stats": {}}
        for i, name in layers.items():
            here = made["params"].setdefault(name, {})
            weight = weights[f"{i}.weight"]
            if weight.ndim == 4:
                here["kernel"] = weight.transpose(2, 3, 1, 0)
            else:
                here["scale"] = weight
                running = {"mean": f"{i}.running_mean", "var": f"{i}.running_var"}
                made["batch_stats"][name] = {n: weights[at] for n, at in running.items()}
            if f"{i}.bias" in weights:
                here["bias"] = weights[f"{i}.bias"]
        return {name: tree for name, tree in made.items() if tree}

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
        return batch

    def run(self, net, x):
        """A network in training mode; statistics are dropped."""
        variables = self.state.variables(net)
        kept = [key for key in variables if key != "params"]
        x = jnp.asarray(x, jnp.float64)
        return self.modules[net].apply(variables, x, train=True, mutable=kept)[0]

    def step(self, i):
        """Means of the losses of one training step."""
        after = self.update(self.state, self.batches[i], None)
        self.state = reset_metrics(after)
        return {name: total / count for name, (total, count) in after.metrics.items()}

    def first_latent(self):
        """Of the generator's first step."""
        return self.arrays.get("latent", self.arrays.get("latent_generator"))[0]

    def check_before(self):
        fake = self.run("generator", self.first_latent())
        assert relative(nchw(fake), self.arrays["fake_before"]) < 1e-8

    def check_after(self, statistics):
        for net in ("generator", "discriminator"):
            weights = self.weights(f"{net[0].upper()}_after/")
            theirs = self.variables(self.layers(net, weights), weights)
            ours = self.state.variables(net)
            for part in theirs if statistics else ("params",):
                for (path, a), b in zip(
                    jax.tree_util.tree_leaves_with_path(theirs[part]),
                    jax.tree.leaves(ours[part]),
                    strict=True,
                ):
                    assert relative(b, a) < 1e-8, (net, path)
        sample = self.run("generator", self.first_latent())
        assert relative(nchw(sample), self.arrays["sample_train_after"]) < 1e-8
        real = nhwc(self.arrays["real"][0, 0]) / 127.5 - 1
        assert relative(self.run("discriminator", real), self.arrays["logits_after"]) < 1e-8


def check_dcgan(arrays):
    ours = Synthesis(arrays, bce(), 2e-4, (0.5, 0.999), 1)
    ours.check_before()
    steps = [ours.step(i) for i in range(len(ours.batches))]
    theirs = arrays["losses/D_real"] + arrays["losses/D_fake"]
    assert relative([step["discriminator"] for step in steps], theirs) < 1e-9
    assert relative([step["generator"] for step in steps], arrays["losses/G"]) < 1e-9
    ours.check_after(statistics=True)


def check_wgan_gp(arrays):
    rounds = arrays["real"].shape[1]
    penalty = GradientPenalty(10.0)
    settings = {"gradient_penalty": penalty, "handed": False}
    ours = Synthesis(arrays, wasserstein(), 1e-4, (0.0, 0.9), rounds, **settings)
    ours.check_before()
    steps = [ours.step(i) for i in range(len(ours.batches))]
    # Rounds are logged as their mean.
    for name, theirs in (("discriminator", "critic"), ("gradient_penalty", "penalty")):
        mean = arrays[f"losses/{theirs}"].mean(1)
        assert relative([step[name] for step in steps], mean) < 1e-9, name
    assert relative([step["generator"] for step in steps], arrays["losses/G"]) < 1e-9
    ours.check_after(statistics=False)


CHECKS = {"cyclegan": check_cyclegan, "dcgan": check_dcgan, "wgan_gp": check_wgan_gp}


@pytest.mark.parametrize("file", golden_files(), ids=lambda file: f"parity-{file.stem}")
def test_golden(file, x64):
    arrays = dict(np.load(file))
    kind = kind_of(list(arrays))
    if kind not in CHECKS:
        pytest.skip(f"{file.stem}: vectors of a system that is not built yet")
    CHECKS[kind](arrays)


def test_first_step_in_float32():
    """In float32 the first step's losses agree within 1e-5 relative."""
    arrays = dict(np.load(GOLDEN / "cyclegan.npz"))
    losses = CycleGAN(arrays, jnp.float32).losses(0)
    assert len(losses) == 8
    for name, value in losses.items():
        assert abs(value / arrays[f"losses/{name}"][0] - 1) < 1e-5, name
