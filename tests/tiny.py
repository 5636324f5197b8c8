"""Networks that compile in no time (1 x 1 convolutions, and the norms of the real ones), and the
configs' experiments in small."""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxgan import commandline
from jaxgan.experiment import Experiment, build
from jaxgan.fields import resolve
from jaxgan.models.initializers import normal
from jaxgan.models.layers import normalise
from jaxgan.sharding import compile_update, put_batch, replicated
from jaxgan.state import TrainState, reset_metrics

CONFIG = Path(__file__).parent.parent / "configs" / "cyclegan.py"
# Compiling takes longer than anything that is computed here, and making fusions is most of it.
QUICKLY = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
jit = partial(jax.jit, compiler_options=QUICKLY)


class Generator(nn.Module):
    """Images to images of the same size, in [-1, 1]."""

    norm: str = "instance"
    dropout: float = 0.0
    dtype: jnp.dtype = jnp.float64

    @nn.compact
    def __call__(self, x, train):
        types = {"dtype": self.dtype, "param_dtype": self.dtype}
        # Before a norm a bias would be moved by rounding errors alone, a bad thing to compare.
        x = nn.Dense(4, self.norm == "none", kernel_init=normal(0.5), name="in", **types)(x)
        x = normalise(self.norm, x, train, name="norm", **types)
        if self.dropout:
            x = nn.Dropout(self.dropout)(x, deterministic=not train)
        return jnp.tanh(nn.Dense(3, kernel_init=normal(0.5), name="out", **types)(nn.relu(x)))


class Discriminator(nn.Module):
    """Images to a logit for every pixel."""

    norm: str = "instance"
    dtype: jnp.dtype = jnp.float64

    @nn.compact
    def __call__(self, x, train):
        types = {"dtype": self.dtype, "param_dtype": self.dtype}
        # Before a norm a bias would be moved by rounding errors alone, a bad thing to compare.
        x = nn.Dense(4, self.norm == "none", kernel_init=normal(0.5), name="in", **types)(x)
        x = normalise(self.norm, x, train, name="norm", **types)
        x = jnp.where(x > 0, x, 0.2 * x)
        return nn.Dense(1, kernel_init=normal(0.5), name="out", **types)(x)


def nets(norm: str = "instance", dtype=jnp.float64, **generator) -> dict[str, nn.Module]:
    """The four networks of CycleGAN."""
    made = Generator(norm, dtype=dtype, **generator), Discriminator(norm, dtype)
    return {
        "generator_AtoB": made[0],
        "generator_BtoA": made[0],
        "discriminator_A": made[1],
        "discriminator_B": made[1],
    }


def images(seed: int, *shape: int) -> dict[str, np.ndarray]:
    """Random uint8 images of both domains."""
    rng = np.random.default_rng(seed)
    return {name: rng.integers(0, 256, shape, np.uint8) for name in "AB"}


def like(seed: int, shapes) -> dict[str, np.ndarray]:
    """Random images, and classes 0, of the given shapes and types."""
    rng = np.random.default_rng(seed)
    return {
        name: rng.integers(0, 256, x.shape, np.uint8)
        if x.dtype == np.uint8
        else np.zeros(x.shape, x.dtype)
        for name, x in sorted(shapes.items())
    }


def shapes(batch) -> dict[str, jax.ShapeDtypeStruct]:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), batch)


def difference(a, b) -> float:
    """Of two trees: the largest absolute error over the largest magnitude of its array."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    assert jax.tree.structure(a) == jax.tree.structure(b)
    worst = 0.0
    for x, y in pairs:
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        assert x.shape == y.shape
        if x.size and np.any(x != y):
            with np.errstate(divide="ignore"):
                worst = max(worst, float(np.max(np.abs(x - y)) / np.max(np.abs(y))))
    return worst


def experiment(*overrides: str, presets: str = "smoke") -> Experiment:
    """Of configs/cyclegan.py and overrides such as `data.image_size=8`."""
    argv = [f"--config={CONFIG}:{presets}", *(f"--config.{word}" for word in overrides)]
    command = commandline.parse(argv, {}, "python")
    return build(resolve(command.config, command.overrides), larger_domain=8)


def compiled(experiment: Experiment):
    """Its update."""
    update = compile_update(experiment.update(), experiment.mesh)
    given = experiment.template(), experiment.whole_batch(), experiment.constants()
    lowered = update.lower(*given)
    return lowered.compile(compiler_options=QUICKLY)


def train(experiment: Experiment, update, steps: int = 3, seed: int = 0) -> list[TrainState]:
    """The states after each step on random images, on the host, metrics reset at each."""
    state, states = experiment.init(seed), []
    constants = jax.device_put(experiment.constants(), replicated(experiment.mesh))
    for step in range(steps):
        batch = like(step, experiment.whole_batch())
        state = update(state, put_batch(batch, experiment.mesh), constants)
        states.append(jax.device_get(state))
        state = reset_metrics(state)
    return states
