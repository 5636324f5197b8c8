"""Config -> everything that a run is made of. Networks, losses and updates never see a ConfigDict.

Names in a config select functions from the tables below; an unknown name, a value out of range
or networks that can't take the images raise a `UserError` before anything is written.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.sharding import Mesh
from ml_collections import ConfigDict

from jaxgan import optimizers, seeds
from jaxgan.choices import ADVERSARIAL, choose, types
from jaxgan.classifier_experiment import classifier_game
from jaxgan.data import datasets
from jaxgan.errors import UserError
from jaxgan.games.game import Game, Segment
from jaxgan.games.unpaired import DISCRIMINATORS, GENERATORS, cyclegan
from jaxgan.models import patchgan, resnet
from jaxgan.paired_experiment import paired_game
from jaxgan.sharding import choose_devices, make_mesh, replicated
from jaxgan.state import Ema, TrainState
from jaxgan.synthesis_experiment import instance_noise, synthesis_game
from jaxgan.tasks import TASKS, Task
from jaxgan.update import Optimizer, Schedules, init_state, make_rounds, make_update, start_anew
from jaxgan.upscaling_experiment import constants, upscaling_game

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
      seeds: trained side by side; with more than one the state has them as a leading axis.
      batch: shapes and types of one seed's global batch.
      constants: () -> frozen networks' arrays for `update`, read from their files; or None.
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
    seeds: int
    batch: dict[str, jax.ShapeDtypeStruct]
    constants: Callable[[], Any]
    free_fields: tuple[str, ...]
    growing_fields: tuple[str, ...]

    @property
    def platform(self) -> str:
        """cpu, gpu or tpu."""
        return self.mesh.devices.flat[0].platform

    def init(self, seed: int) -> TrainState:
        """The state before the first step, whole on every device."""
        return jax.device_put(self._state(seed), replicated(self.mesh))

    def template(self) -> TrainState:
        """Shapes, types and places of the state, as a checkpoint is restored to them."""
        shapes = jax.eval_shape(lambda: self._state(0))
        place = replicated(self.mesh)
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), shapes
        )

    def _state(self, seed: int) -> TrainState:
        args = (self.game, self.optimizers, self.schedules, self.ema)
        states = [init_state(*args, seed + i, self.batch, self.dtype) for i in range(self.seeds)]
        return states[0] if self.seeds == 1 else seeds.stacked(states)

    def whole_batch(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes and types of what `update` takes: the batches of all seeds."""
        if self.seeds == 1:
            return self.batch
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct((self.seeds, *x.shape), x.dtype), self.batch
        )

    def update(
        self, segment: Segment | None = None
    ) -> Callable[[TrainState, Any, Any], TrainState]:
        """The uncompiled update of the whole game, or of a segment of it."""
        phases = None if segment is None else segment.phases
        update = make_update(
            self.game, self.optimizers, self.schedules, self.ema, self.dtype, phases
        )
        return update if self.seeds == 1 else seeds.side_by_side(update)

    def segment(self, step: int) -> Segment | None:
        """The segment of a step, counted from 0, of a game that has segments."""
        begun = [segment for segment in self.game.segments if segment.first <= step]
        return begun[-1] if begun else None

    def entered(self, state: TrainState, segment: Segment) -> TrainState:
        """The state with which a segment begins, from the last one's."""
        fresh = {player: self.game.players[player] for player in segment.fresh}
        begin = partial(
            start_anew, players=fresh, optimizers=self.optimizers, schedules=self.schedules
        )
        return jax.jit(begin, donate_argnums=0)(state) if fresh else state

    def rounds(self) -> Callable[[TrainState, Any, Any, Any], TrainState] | None:
        """The uncompiled batch of the rounds that the game adds to some steps, if it does."""
        if self.game.extra is None:
            return None
        rounds = make_rounds(self.game, self.optimizers, self.schedules, self.dtype)
        return rounds if self.seeds == 1 else seeds.side_by_side(rounds)

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
    lengthens = all(c.schedule in ("constant", "exponential") for c in players.values())
    share = {player: _lazy_share(game, player) for player in players}
    schedules = instance_noise(config) if "augment" in config else {}
    begin = game.segments[-1].first if game.segments else 0
    for player, c in players.items():
        images = (steps - begin) * config.data.batch_size
        made = player_schedules(player, c, images, config.data.batch_size, share[player])
        if begin:  # of a segment of its own, whose images count from its start
            rate = config.pretraining.learning_rate
            border = begin * config.data.batch_size
            made = {name: optimizers.later(f, rate, border) for name, f in made.items()}
        schedules = schedules | made
    return Experiment(
        task=task,
        game=game,
        optimizers={player: optimizer(player, c, share[player]) for player, c in players.items()},
        schedules=schedules,
        ema=ema if config.ema.half_life else None,
        dtype=jnp.float64 if config.precision == "float64" else jnp.float32,
        mesh=make_mesh(_devices(config, micro)),
        steps=steps,
        seeds=_seeds(config),
        batch=task.shapes(config, (rounds, config.train.accumulate, micro)),
        constants=constants(config),
        free_fields=FREE_FIELDS,
        growing_fields=("train.steps", "train.epochs") if lengthens else (),
    )


def _seeds(config: ConfigDict) -> int:
    """How many are trained side by side.

    Raises:
      UserError: where several shall start from another run's networks.
    """
    count = config.train.seeds if "seeds" in config.train else 1
    if count > 1 and config.init.workdir:
        raise UserError(
            f"train.seeds={count} would all start from the networks of init.workdir="
            f"{config.init.workdir}; add --config.train.seeds=1, and run one seed at a time"
        )
    return count


def _devices(config: ConfigDict, micro: int) -> list[jax.Device]:
    """The devices that share a batch; one for several seeds.

    Raises:
      UserError: where there can't be so many.
    """
    count = _seeds(config)
    if count == 1:
        return choose_devices(config.devices, micro)
    if str(config.devices) not in ("auto", "1") or jax.process_count() > 1:
        raise UserError(
            f"train.seeds={count} train side by side on one device; set --config.devices=auto, or "
            "train one seed on several by --config.train.seeds=1"
        )
    return choose_devices(1, micro)


def open_data(config: ConfigDict, task: Task) -> Any:
    """The data set that a config names, for a task.

    Raises:
      UserError: where it isn't there, or isn't what it should be.
    """
    name = config.data.name
    kind = "tfds" if name.startswith("tfds:") else name  # the colon is of no module here
    data = choose("data.name", kind, task.datasets)(config.data)
    if kind not in task.datasets:
        _require_images(config, data, task.channels(config))
    if "classes" in config.data:
        _settle_classes(config, len(data.classes))
    return data


def _settle_classes(config: ConfigDict, there: int) -> None:
    """Makes `data.classes` what the data have.

    Raises:
      UserError: where another number was given.
    """
    if config.data.classes not in (0, there):
        raise UserError(
            f"data.classes={config.data.classes}, but data.name={config.data.name} has {there}; "
            "leave it at 0"
        )
    config.data.classes = there


def _require_images(config: ConfigDict, data: Any, channels: int) -> None:
    """Checks the first image of each source of one's own."""
    size = config.data.image_size
    dtype = datasets.values(config.data).dtype if "dtype" in config.data else np.uint8
    for field in (name for name in data._fields if name.startswith(("train", "test"))):
        source = getattr(data, field)
        if isinstance(source, Mapping):  # sets of their own sizes
            continue
        image = source[0]
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
    choose("train.first", config.train.first, dict.fromkeys(("generators", "discriminators")))
    cycles = config.loss.get("cycles", "both")  # a younger field
    choose("loss.cycles", cycles, dict.fromkeys(("both", "forward", "backward")))
    generator, discriminator = networks(config)
    return cyclegan(
        dict.fromkeys(GENERATORS, generator) | dict.fromkeys(DISCRIMINATORS, discriminator),
        choose("loss.adversarial", config.loss.adversarial, ADVERSARIAL)(),
        cycle=config.loss.cycle,
        cycles=cycles,
        identity=config.loss.identity,
        pool_size=config.pool.size,
        first=config.train.first,
    )


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
    given = types(config)
    g, d = config.model.generator, config.model.discriminator
    generator = choose("model.generator.kind", g.kind, GENERATOR_KINDS)
    discriminator = choose("model.discriminator.kind", d.kind, DISCRIMINATOR_KINDS)
    return generator(config, given), discriminator(config, given)


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


def player_schedules(
    player: str, c: ConfigDict, images: int, batch_size: int, share: float = 1.0
) -> dict[str, optimizers.Schedule]:
    """A player's learning rate, and what else moves, over the run's images; times `share`."""
    rate = c.learning_rate * share
    tables = {
        "constant": lambda: optimizers.constant(rate),
        "linear": lambda: optimizers.linear_decay(rate, images / 2, images),
        "to_zero": lambda: optimizers.linear_decay(rate, 0, images),
        "cosine": lambda: optimizers.cosine(rate, images),
    }
    # These take fields of their own, which not every game's config has.
    if "milestones" in c:
        tables["stepped"] = lambda: optimizers.stepped(
            rate, c.factor, [part * images for part in _shares(player, c.milestones)]
        )
    if "decay" in c:
        tables["exponential"] = lambda: optimizers.exponential(
            rate, c.decay, batch_size, c.lowest * share
        )
    made = {
        f"learning_rate/{player}": choose(
            f"optimizer.{player.removesuffix('s')}.schedule", c.schedule, tables
        )()
    }
    if c.name == "momentum" and "last_b1" in c:
        moves = c.last_b1_images > 0
        moving = optimizers.moving(c.b1, c.last_b1, c.last_b1_images) if moves else None
        made[f"momentum/{player}"] = moving or optimizers.constant(c.b1)
    return made


def _shares(player: str, text: str) -> list[float]:
    """`0.5,0.75`: shares of a run.

    Raises:
      UserError: for anything else.
    """
    try:
        shares = [float(word) for word in text.split(",")]
    except ValueError:
        shares = [math.nan]
    if not all(0 < share < 1 for share in shares):
        raise UserError(
            f"optimizer.{player.removesuffix('s')}.milestones={text} doesn't fit: it takes shares "
            "of the run between 0 and 1, such as 0.5 or 0.25,0.5"
        )
    return shares


def optimizer(player: str, c: ConfigDict, share: float = 1.0) -> Optimizer:
    """A player's optimizer; its decays to the power of `share`."""
    tables = {
        "adam": lambda: optimizers.adam(player, c.b1**share, c.b2**share),
        "sgd": lambda: optimizers.sgd(player, c.b1**share),
        "rmsprop": lambda: optimizers.rmsprop(player, c.b2**share),
    }
    if "last_b1" in c:
        tables["momentum"] = lambda: optimizers.sgd_with_moving_momentum(player)
    return choose(f"optimizer.{player.removesuffix('s')}.name", c.name, tables)()


def _lazy_share(game: Game, player: str) -> float:
    """Of a player's m steps between two lazy ones: m / (m + 1), or 1 where there are none.

    So much rate and decays are scaled, that m + 1 steps do what m did (Karras et al. 2020, app. B).
    """
    phases = [phase for phase in game.phases if phase.player == player]
    every = max((phase.every for phase in phases), default=1)
    steps = every * max((phase.repeats for phase in phases if phase.every == 1), default=1)
    return steps / (steps + 1) if every > 1 else 1.0


GENERATOR_KINDS = {"resnet": resnet_generator}
DISCRIMINATOR_KINDS = {"patch": patch_discriminator, "pixel": pixel_discriminator}
GAMES = {
    "classification": classifier_game,
    "cyclegan": unpaired,
    "paired": partial(paired_game, discriminators=DISCRIMINATOR_KINDS),
    "synthesis": synthesis_game,
    "upscaling": partial(upscaling_game, discriminators=DISCRIMINATOR_KINDS),
}
