"""Config -> the game of paired images. Read by `experiment.py` alone."""

from collections.abc import Mapping
from typing import Any

from flax import linen as nn
from ml_collections import ConfigDict

from jaxgan.choices import ADVERSARIAL, choose, types
from jaxgan.errors import UserError
from jaxgan.games.game import Game
from jaxgan.games.paired import L1, paired
from jaxgan.models import patchgan, unet

MOST_LEVELS = 8


def paired_game(config: ConfigDict, discriminators: Mapping[str, Any]) -> Game:
    """pix2pix with the config's networks and losses.

    Args:
      config: resolved.
      discriminators: what `model.discriminator.kind` may be.

    Raises:
      UserError: for settings that don't go together.
    """
    given = types(config)
    choose("train.first", config.train.first, dict.fromkeys(("discriminator", "generator")))
    generator = choose("model.generator.kind", config.model.generator.kind, GENERATORS)
    discriminator = choose(
        "model.discriminator.kind", config.model.discriminator.kind, discriminators
    )
    game = paired(
        {"generator": generator(config, given), "discriminator": discriminator(config, given)},
        choose("loss.adversarial", config.loss.adversarial, ADVERSARIAL)(),
        content=(L1._replace(weight=config.loss.l1),) if config.loss.l1 else (),
        first=config.train.first,
        conditional=config.model.discriminator.conditional,
        deterministic=config.model.inference == "deterministic",
    )
    return game._replace(notes=_field(config.model.discriminator, config.data.image_size))


def _field(d: ConfigDict, size: int) -> tuple[str, ...]:
    """What the discriminator sees, in words; of one of the user's own nothing is known."""
    fields = {"pixel": 1, "patch": patchgan.receptive_field(d.layers)}
    if d.kind not in fields:
        return ()
    side = fields[d.kind]
    more = f", more than the images' {size}" if side > size else ""
    return (f"each logit of the discriminator sees {side} x {side} pixels{more}",)


def unet_generator(config: ConfigDict, types: Mapping[str, Any]) -> nn.Module:
    """The U-Net of a config; `types` are its dtype fields."""
    g, levels = config.model.generator, unet_levels(config)
    return unet.UNetGenerator(
        levels=levels,
        channels=config.data.channels,
        width=g.width,
        norm=g.norm,
        dropout=g.dropout,
        dropout_where=g.dropout_where,
        **types,
    )


def unet_levels(config: ConfigDict) -> int:
    """How often the config's U-Net halves.

    Raises:
      UserError: where the images can't be halved so often.
    """
    size = config.data.image_size
    halvings = (size & -size).bit_length() - 1
    levels = config.model.generator.levels or min(halvings, MOST_LEVELS)
    if not 2 <= levels <= halvings:
        multiple = 2 ** max(levels, 2)
        fits = max(1, round(size / multiple)) * multiple
        raise UserError(
            f"data.image_size={size} doesn't fit a U-Net of {max(levels, 2)} levels, which takes "
            f"multiples of {multiple}; try --config.data.image_size={fits}"
        )
    return levels


GENERATORS = {"unet": unet_generator}
