"""Config -> everything that a run is made of. The only reader of a ConfigDict.

Names in a config select functions from the tables below; an unknown name, a value out of range
or networks that can't take the images raise a `UserError` before anything is written.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from ml_collections import ConfigDict

from jaxgan import optimizers
from jaxgan.commandline import flat, nearest
from jaxgan.data import datasets
from jaxgan.errors import UserError
from jaxgan.games.game import Game
from jaxgan.games.unpaired import DISCRIMINATORS, GENERATORS, cyclegan
from jaxgan.losses import adversarial
from jaxgan.models import patchgan, resnet
from jaxgan.sharding import choose_devices, make_mesh, replicated
from jaxgan.state import Ema, TrainState
from jaxgan.update import Optimizer, Schedules, init_state, make_update

PRECISIONS = {"float32": jnp.float32, "bfloat16": jnp.bfloat16, "float64": jnp.float64}
ADVERSARIAL = {
    "lsgan": adversarial.lsgan,
    "bce": adversarial.bce,
    "hinge": adversarial.hinge,
    "wasserstein": adversarial.wasserstein,
    "relativistic": adversarial.relativistic,
}
# Changing these in an old folder changes no bit of what is learned.
FREE_FIELDS = ("train.log_every", "train.sample_every", "checkpoint", "evaluate", "devices")


class Experiment(NamedTuple):
    """All of a run but its data and its folder.

    Attributes:
      game, optimizers, schedules, ema: as `update.make_update` takes them.
      dtype: of decoded images.
      mesh: the devices that share a batch.
      steps: of the whole run.
      batch: shapes and types of one global batch.
      free_fields: config fields that may change between starts of the same run.
      growing_fields: config fields that may become larger between them.
    """

    game: Game
    optimizers: Mapping[str, Optimizer]
    schedules: Schedules
    ema: Ema | None
    dtype: Any
    mesh: Mesh
    steps: int
    batch: dict[str, jax.ShapeDtypeStruct]
    free_fields: tuple[str, ...]
    growing_fields: tuple[str, ...]

    def init(self, seed: int) -> TrainState:
        """The state before the first step, whole on every device."""
        args = (self.game, self.optimizers, self.schedules, self.ema)
        state = init_state(*args, seed, self.batch, self.dtype)
        return jax.device_put(state, replicated(self.mesh))

    def template(self) -> TrainState:
        """Shapes, types and places of the state, as a checkpoint is restored to them."""
        args = (self.game, self.optimizers, self.schedules, self.ema)
        shapes = jax.eval_shape(lambda: init_state(*args, 0, self.batch, self.dtype))
        place = replicated(self.mesh)
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), shapes
        )

    def update(self) -> Callable[[TrainState, Any, Any], TrainState]:
        """The uncompiled update of the whole game."""
        return make_update(self.game, self.optimizers, self.schedules, self.ema, self.dtype)

    def weights(self, state: TrainState) -> dict[str, Any]:
        """net -> the variables to judge: averaged ones where there are any."""
        return {name: state.ema.get(name, state.variables(name)) for name in self.game.nets}


def resolve(config: ConfigDict, overrides: Mapping[str, Any] = ()) -> ConfigDict:
    """Checks a config's values and settles steps against epochs.

    Where the command line gives one of `train.steps` and `train.epochs`, the other is set to 0.

    Raises:
      UserError: for a value that is out of range or unknown.
    """
    given = [name for name in ("train.steps", "train.epochs") if dict(overrides).get(name)]
    if len(given) == 1:
        config.train["epochs" if given == ["train.steps"] else "steps"] = 0
    if bool(config.train.steps) == bool(config.train.epochs):
        raise UserError(
            f"train.steps={config.train.steps} and train.epochs={config.train.epochs:g}: "
            "set one of them, and the other to 0"
        )
    for field, (check, wanted) in RANGES.items():
        value = flat(config).get(field)
        if value is not None and not check(value):
            raise UserError(f"--config.{field}={value} doesn't fit: it takes {wanted}")
    if config.data.batch_size % config.train.accumulate:
        raise UserError(
            f"data.batch_size={config.data.batch_size} can't be cut into "
            f"train.accumulate={config.train.accumulate} equal parts; make it a multiple"
        )
    if not config.data.load_size:
        config.data.load_size = datasets.default_load_size(config.data)
    if config.data.load_size < config.data.image_size:
        raise UserError(
            f"data.load_size={config.data.load_size} is smaller than "
            f"data.image_size={config.data.image_size}, which is cut from it; leave it at 0"
        )
    return config


def build(config: ConfigDict, larger_domain: int) -> Experiment:
    """Everything but data and folder.

    Args:
      config: resolved.
      larger_domain: images in the larger training domain; an epoch is a pass over it.

    Raises:
      UserError: for networks that can't take the images, or devices that don't divide a batch.
    """
    steps = total_steps(config, larger_domain)
    micro = config.data.batch_size // config.train.accumulate
    size, channels = config.data.image_size, config.data.channels
    shape = (1, config.train.accumulate, micro, size, size, channels)
    images = jax.ShapeDtypeStruct(shape, jnp.uint8)
    schedules = {}
    players = {"generators": config.optimizer.generator}
    players["discriminators"] = config.optimizer.discriminator
    for player, c in players.items():
        schedules[f"learning_rate/{player}"] = schedule(c, steps * config.data.batch_size)
    ema = None
    if config.ema.half_life:
        ema = Ema(GENERATORS, float(config.ema.half_life), float(config.ema.ramp))
    lengthens = all(c.schedule == "constant" for c in players.values())
    return Experiment(
        game=cyclegan(
            networks(config),
            choose("loss.adversarial", config.loss.adversarial, ADVERSARIAL)(),
            cycle=config.loss.cycle,
            identity=config.loss.identity,
            pool_size=config.pool.size,
            first=config.train.first,
        ),
        optimizers={player: optimizer(player, c) for player, c in players.items()},
        schedules=schedules,
        ema=ema,
        dtype=jnp.float64 if config.precision == "float64" else jnp.float32,
        mesh=make_mesh(choose_devices(config.devices, micro)),
        steps=steps,
        batch={"A": images, "B": images},
        free_fields=FREE_FIELDS,
        growing_fields=("train.steps", "train.epochs") if lengthens else (),
    )


def total_steps(config: ConfigDict, larger_domain: int) -> int:
    """Steps of the whole run; a started epoch's last batch counts."""
    if config.train.steps:
        return config.train.steps
    return max(1, round(config.train.epochs * larger_domain / config.data.batch_size))


def networks(config: ConfigDict) -> dict[str, Any]:
    """Two generators and two discriminators.

    Raises:
      UserError: where the images are too small or of a size that the generator can't take.
    """
    compute = PRECISIONS[config.precision]
    types = {
        "dtype": compute,
        "param_dtype": jnp.float64 if compute == jnp.float64 else jnp.float32,
        "path": config.model.convolution,
    }
    g, d, size = config.model.generator, config.model.discriminator, config.data.image_size
    smallest = resnet.smallest_image(g.padding, g.norm)
    if size % 4 or size < smallest:
        raise UserError(
            f"data.image_size={size} doesn't fit the generator, which takes multiples of 4 from "
            f"{smallest} on; try --config.data.image_size={max(smallest, round(size / 4) * 4)}"
        )
    pixel = d.kind == "pixel"
    smallest = patchgan.smallest_pixel_image(d.norm) if pixel else patchgan.smallest_image(d.layers)
    if size < smallest:
        raise UserError(
            f"data.image_size={size} is too small for a discriminator of {d.layers} layers, which "
            f"takes {smallest} or more; lower --config.model.discriminator.layers"
        )
    generator = resnet.ResNetGenerator(
        config.data.channels,
        g.width,
        g.blocks,
        g.padding,
        g.norm,
        g.dropout,
        config.model.remat,
        **types,
    )
    if pixel:
        discriminator = patchgan.PixelDiscriminator(d.width, d.norm, **types)
    else:
        discriminator = patchgan.PatchDiscriminator(d.width, d.layers, d.norm, **types)
    return dict.fromkeys(GENERATORS, generator) | dict.fromkeys(DISCRIMINATORS, discriminator)


def schedule(c: ConfigDict, images: int) -> optimizers.Schedule:
    """A player's learning rate over the run's images."""
    tables = {
        "constant": lambda: optimizers.constant(c.learning_rate),
        "linear": lambda: optimizers.linear_decay(c.learning_rate, images / 2, images),
        "cosine": lambda: optimizers.cosine(c.learning_rate, images),
    }
    return choose("optimizer.*.schedule", c.schedule, tables)()


def optimizer(player: str, c: ConfigDict) -> Optimizer:
    """A player's optimizer."""
    tables = {
        "adam": lambda: optimizers.adam(player, c.b1, c.b2),
        "sgd": lambda: optimizers.sgd(player, c.b1),
        "rmsprop": lambda: optimizers.rmsprop(player, c.b2),
    }
    return choose("optimizer.*.name", c.name, tables)()


def choose(field: str, name: str, table: Mapping[str, Any]) -> Any:
    """table[name].

    Raises:
      UserError: naming the nearest.
    """
    if name not in table:
        raise UserError(f"{field}={name!r} is unknown: {nearest(name, list(table))}")
    return table[name]


def _among(*words: str):
    return (lambda value: value in words), "one of " + ", ".join(words)


def _at_least(low: float):
    return (lambda value: low <= value < float("inf")), f"{low:g} or more"


def _between(low: float, high: float):
    return (lambda value: low <= value < high), f"at least {low:g} and less than {high:g}"


def _devices(value) -> bool:
    return value == "auto" or (str(value).isdigit() and int(value) > 0)


RANGES = {
    "game": _among("cyclegan"),
    "precision": _among(*PRECISIONS),
    "devices": (_devices, "auto or a number of devices"),
    "seed": _between(0, 2**31),
    "train.steps": _at_least(0),
    "train.epochs": _at_least(0),
    "train.accumulate": _at_least(1),
    "train.first": _among("generators", "discriminators"),
    "train.log_every": _at_least(1),
    "train.sample_every": _at_least(0),
    "data.name": _among(*datasets.NAMES),
    "data.batch_size": _at_least(1),
    "data.image_size": _at_least(4),
    "data.load_size": _at_least(0),
    "data.channels": ((lambda value: value in (1, 3)), "1 (grey) or 3 (colour)"),
    "data.count": _at_least(1),
    "data.world": _at_least(0),
    "model.convolution": _among("auto", "canonical", "xla"),
    "model.generator.width": _at_least(1),
    "model.generator.blocks": _at_least(1),
    "model.generator.padding": _among("reflect", "zero"),
    "model.generator.norm": _among("instance", "batch", "none"),
    "model.generator.dropout": _between(0, 1),
    "model.discriminator.kind": _among("patch", "pixel"),
    "model.discriminator.width": _at_least(1),
    "model.discriminator.layers": ((lambda value: 1 <= value <= 5), "1 to 5"),
    "model.discriminator.norm": _among("instance", "batch", "none"),
    "loss.adversarial": _among(*ADVERSARIAL),
    "loss.cycle": _at_least(0),
    "loss.identity": _at_least(0),
    "pool.size": _at_least(0),
    "ema.half_life": _at_least(0),
    "ema.ramp": _at_least(0),
    **{
        f"optimizer.{player}.{field}": rule
        for player in ("generator", "discriminator")
        for field, rule in {
            "name": _among("adam", "sgd", "rmsprop"),
            "learning_rate": _at_least(0),
            "b1": _between(0, 1),
            "b2": _between(0, 1),
            "schedule": _among("constant", "linear", "cosine"),
        }.items()
    },
    "checkpoint.every": _at_least(1),
    "checkpoint.keep": _at_least(1),
    "evaluate.every": _at_least(0),
    "evaluate.num": _at_least(0),
}
