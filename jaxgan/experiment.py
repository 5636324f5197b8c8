"""Config -> everything that a run is made of. The only reader of a ConfigDict.

Names in a config select functions from the tables below; an unknown name, a value out of range
or networks that can't take the images raise a `UserError` before anything is written.
"""

import importlib
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.sharding import Mesh
from ml_collections import ConfigDict

from jaxgan import optimizers
from jaxgan.commandline import nearest
from jaxgan.data import datasets
from jaxgan.errors import UserError
from jaxgan.games.game import Game
from jaxgan.games.synthesis import GradientPenalty, Latent, synthesis
from jaxgan.games.unpaired import DISCRIMINATORS, GENERATORS, cyclegan
from jaxgan.losses import adversarial
from jaxgan.models import dcgan, patchgan, resnet
from jaxgan.sharding import choose_devices, make_mesh, replicated
from jaxgan.state import Ema, TrainState
from jaxgan.tasks import TASKS, Task
from jaxgan.update import Optimizer, Schedules, init_state, make_update

ADVERSARIAL = {
    "lsgan": adversarial.lsgan,
    "bce": adversarial.bce,
    "saturating": adversarial.saturating,
    "hinge": adversarial.hinge,
    "wasserstein": adversarial.wasserstein,
    "relativistic": adversarial.relativistic,
    "relativistic_average": adversarial.relativistic_average,
}
# Changing these in an old folder changes no bit of what is learned.
FREE_FIELDS = (
    "train.log_every",
    "train.sample_every",
    "checkpoint",
    "evaluate",
    "devices",
    "awake",
)
MOST_IMAGES = 2**31 - 1  # the state counts in int32


class Experiment(NamedTuple):
    """All of a run but its data and its folder.

    Attributes:
      task: what the game is played on.
      game, optimizers, schedules, ema: as `update.make_update` takes them.
      dtype: of decoded images.
      mesh: the devices that share a batch.
      steps: of the whole run.
      batch: shapes and types of one global batch.
      free_fields: config fields that may change between starts of the same run.
      growing_fields: config fields that may become larger between them.
    """

    task: Task
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

    @property
    def platform(self) -> str:
        """cpu, gpu or tpu."""
        return self.mesh.devices.flat[0].platform

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


def build(config: ConfigDict, larger_domain: int) -> Experiment:
    """Everything but data and folder.

    Args:
      config: resolved.
      larger_domain: images in the larger training domain; an epoch is a pass over it.

    Raises:
      UserError: for an unknown name, networks that can't take the images, or devices that don't
        divide a batch.
    """
    steps = total_steps(config, larger_domain)
    micro = config.data.batch_size // config.train.accumulate
    if steps * config.data.batch_size > MOST_IMAGES:
        raise UserError(
            f"this run would see more than the {MOST_IMAGES} images that it can count; lower "
            "--config.train.steps, train.epochs or data.batch_size"
        )
    game = choose("game", config.game, GAMES)(config)
    task = TASKS[game.task]
    rounds = max(phase.repeats for phase in game.phases)
    # The fields are named after one player of a kind: optimizer.generator, of the generators.
    players = {player: config.optimizer[player.removesuffix("s")] for player in game.players}
    averaged = [net for net in game.nets if net.startswith("generator")]
    ema = Ema(tuple(averaged), float(config.ema.half_life), float(config.ema.ramp))
    lengthens = all(c.schedule == "constant" for c in players.values())
    return Experiment(
        task=task,
        game=game,
        optimizers={player: optimizer(player, c) for player, c in players.items()},
        schedules={
            f"learning_rate/{player}": schedule(player, c, steps * config.data.batch_size)
            for player, c in players.items()
        },
        ema=ema if config.ema.half_life else None,
        dtype=jnp.float64 if config.precision == "float64" else jnp.float32,
        mesh=make_mesh(choose_devices(config.devices, micro)),
        steps=steps,
        batch=task.shapes(config, (rounds, config.train.accumulate, micro)),
        free_fields=FREE_FIELDS,
        growing_fields=("train.steps", "train.epochs") if lengthens else (),
    )


def open_data(config: ConfigDict, task: Task) -> Any:
    """The data set that a config names, for a task.

    Raises:
      UserError: where it isn't there, or isn't what it should be.
    """
    name = config.data.name
    kind = "tfds" if name.startswith("tfds:") else name  # the colon is of no module here
    data = choose("data.name", kind, task.datasets)(config.data)
    if kind not in task.datasets:
        _require_images(config, data)
    return data


def _require_images(config: ConfigDict, data: Any) -> None:
    """Checks the first image of each source of one's own."""
    size, channels = config.data.image_size, config.data.channels
    dtype = datasets.values(config.data).dtype
    for field in (name for name in data._fields if name.startswith(("train", "test"))):
        image = getattr(data, field)[0]
        fits = image.ndim == 3 and image.dtype == dtype and image.shape[2] == channels
        if field.startswith("train"):
            fits, sides = fits and min(image.shape[:2]) >= size, f"of at least {size} x {size} px"
        else:
            fits, sides = fits and image.shape[:2] == (size, size), f"of {size} x {size} px"
        if not fits:
            raise UserError(
                f"data.name={config.data.name!r} gives {field} images of {image.dtype} "
                f"{list(image.shape)}; by the config's data fields they should be {dtype} [H, W, "
                f"{channels}], {sides}"
            )


def unpaired(config: ConfigDict) -> Game:
    """CycleGAN with the config's networks and losses."""
    generator, discriminator = networks(config)
    return cyclegan(
        dict.fromkeys(GENERATORS, generator) | dict.fromkeys(DISCRIMINATORS, discriminator),
        choose("loss.adversarial", config.loss.adversarial, ADVERSARIAL)(),
        cycle=config.loss.cycle,
        identity=config.loss.identity,
        pool_size=config.pool.size,
        first=config.train.first,
    )


def synthesis_game(config: ConfigDict) -> Game:
    """Noise to image with the config's networks, loss and penalties.

    Raises:
      UserError: where a gradient penalty meets batch norm.
    """
    d, gp, types = config.model.discriminator, config.penalty.gp, _types(config)
    generator = choose("model.generator.kind", config.model.generator.kind, SYNTHESIS_GENERATORS)
    discriminator = choose("model.discriminator.kind", d.kind, SYNTHESIS_DISCRIMINATORS)
    if gp.weight and d.norm == "batch":
        raise UserError(
            "penalty.gp needs the gradient of each image alone, and batch norm mixes them; set "
            "--config.model.discriminator.norm=instance or none"
        )
    penalty = GradientPenalty(gp.weight, gp.target, gp.one_sided)
    return synthesis(
        {"generator": generator(config, types), "discriminator": discriminator(config, types)},
        choose("loss.adversarial", config.loss.adversarial, ADVERSARIAL)(),
        Latent(config.model.latent.size, config.model.latent.law),
        rounds=config.train.critic_rounds,
        gradient_penalty=penalty if gp.weight else None,
        handed=config.train.handed,
    )


def dcgan_generator(config: ConfigDict, types: Mapping[str, Any]) -> nn.Module:
    """DCGAN's generator of a config; `types` are its dtype fields."""
    size, g = config.data.image_size, config.model.generator
    dcgan.doublings(size)
    return dcgan.Generator(size, config.data.channels, g.width, g.norm, **types)


def dcgan_discriminator(config: ConfigDict, types: Mapping[str, Any]) -> nn.Module:
    """DCGAN's discriminator of a config."""
    d = config.model.discriminator
    return dcgan.Discriminator(d.width, d.norm, **types)


def total_steps(config: ConfigDict, larger_domain: int) -> int:
    """Steps of the whole run; a started epoch's last batch counts."""
    if config.train.steps:
        return config.train.steps
    steps = config.train.epochs * larger_domain / config.data.batch_size
    return max(1, math.ceil(steps - 1e-6))  # 0.3 * 10 is a little more than 3


def networks(config: ConfigDict) -> tuple[nn.Module, nn.Module]:
    """The generator and the discriminator that a config describes.

    Raises:
      UserError: where the images are too small or of a size that the generator can't take.
    """
    types = _types(config)
    g, d = config.model.generator, config.model.discriminator
    generator = choose("model.generator.kind", g.kind, GENERATOR_KINDS)
    discriminator = choose("model.discriminator.kind", d.kind, DISCRIMINATOR_KINDS)
    return generator(config, types), discriminator(config, types)


def _types(config: ConfigDict) -> dict[str, Any]:
    compute = {"float32": jnp.float32, "bfloat16": jnp.bfloat16, "float64": jnp.float64}
    compute = compute[config.precision]
    return {
        "dtype": compute,
        "param_dtype": jnp.float64 if compute == jnp.float64 else jnp.float32,
        "path": config.model.convolution,
    }


def resnet_generator(config: ConfigDict, types: Mapping[str, Any]) -> nn.Module:
    """The ResNet generator of a config; `types` are its dtype fields."""
    g, size = config.model.generator, config.data.image_size
    smallest = resnet.smallest_image(g.padding, g.norm)
    if size % resnet.MULTIPLE or size < smallest:
        fits = max(smallest, round(size / resnet.MULTIPLE) * resnet.MULTIPLE)
        raise UserError(
            f"data.image_size={size} doesn't fit the generator, which takes multiples of "
            f"{resnet.MULTIPLE} from {smallest} on; try --config.data.image_size={fits}"
        )
    return resnet.ResNetGenerator(
        channels=config.data.channels,
        width=g.width,
        blocks=g.blocks,
        padding=g.padding,
        norm=g.norm,
        dropout=g.dropout,
        remat=config.model.remat,
        **types,
    )


def patch_discriminator(config: ConfigDict, types: Mapping[str, Any]) -> nn.Module:
    """The PatchGAN of a config."""
    d, size = config.model.discriminator, config.data.image_size
    smallest = patchgan.smallest_image(d.layers)
    if size < smallest:
        raise UserError(
            f"data.image_size={size} is too small for a discriminator of {d.layers} layers, which "
            f"takes {smallest} or more; lower --config.model.discriminator.layers"
        )
    return patchgan.PatchDiscriminator(width=d.width, layers=d.layers, norm=d.norm, **types)


def pixel_discriminator(config: ConfigDict, types: Mapping[str, Any]) -> nn.Module:
    """The 1 x 1 discriminator of a config."""
    d = config.model.discriminator
    return patchgan.PixelDiscriminator(width=d.width, norm=d.norm, **types)


def schedule(player: str, c: ConfigDict, images: int) -> optimizers.Schedule:
    """A player's learning rate over the run's images."""
    tables = {
        "constant": lambda: optimizers.constant(c.learning_rate),
        "linear": lambda: optimizers.linear_decay(c.learning_rate, images / 2, images),
        "cosine": lambda: optimizers.cosine(c.learning_rate, images),
    }
    return choose(f"optimizer.{player.removesuffix('s')}.schedule", c.schedule, tables)()


def optimizer(player: str, c: ConfigDict) -> Optimizer:
    """A player's optimizer."""
    tables = {
        "adam": lambda: optimizers.adam(player, c.b1, c.b2),
        "sgd": lambda: optimizers.sgd(player, c.b1),
        "rmsprop": lambda: optimizers.rmsprop(player, c.b2),
    }
    return choose(f"optimizer.{player.removesuffix('s')}.name", c.name, tables)()


def choose(field: str, name: str, table: Mapping[str, Any]) -> Any:
    """`table[name]`; or, for a name like `module:function`, that function of the user's own.

    Raises:
      UserError: for an unknown name, with the nearest, or a module that can't be imported.
    """
    if ":" in name:
        module, _, function = name.partition(":")
        try:
            found = importlib.import_module(module)
        except Exception as error:  # whatever the module raises
            raise UserError(
                f"{field}={name!r} can't be imported ({type(error).__name__}: {error}); it should "
                "be MODULE:FUNCTION, with MODULE.py in the folder that the command is run from"
            ) from None
        if not callable(getattr(found, function, None)):
            raise UserError(f"{field}={name!r}: {found.__name__} has no function {function!r}")
        return getattr(found, function)
    if name not in table:
        raise UserError(f"{field}={name!r} is unknown: {nearest(name, list(table))}")
    return table[name]


GAMES = {"cyclegan": unpaired, "synthesis": synthesis_game}
SYNTHESIS_GENERATORS = {"dcgan": dcgan_generator}
SYNTHESIS_DISCRIMINATORS = {"dcgan": dcgan_discriminator}
GENERATOR_KINDS = {"resnet": resnet_generator}
DISCRIMINATOR_KINDS = {"patch": patch_discriminator, "pixel": pixel_discriminator}
