"""Config -> the game of super-resolution. Read by `experiment.py` alone."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from ml_collections import ConfigDict

from jaxgan import files, state_dicts, tiles
from jaxgan.choices import ADVERSARIAL, choose, types
from jaxgan.errors import UserError
from jaxgan.games.game import Game
from jaxgan.games.paired import Content, Pretraining, paired
from jaxgan.losses import perceptual
from jaxgan.losses.reconstruction import l1, l2, without_constants
from jaxgan.models import rrdb, srresnet, vgg
from jaxgan.models.vgg_discriminator import VGGDiscriminator

RANDOM = "random"
DISTANCES = {"l1": l1, "l2": l2}


def upscaling_game(config: ConfigDict, discriminators: Mapping[str, Any]) -> Game:
    """SRGAN or ESRGAN with the config's networks and losses.

    Args:
      config: resolved.
      discriminators: what `model.discriminator.kind` may be, besides `vgg`.

    Raises:
      UserError: for settings that don't go together.
    """
    given = types(config)
    size, scale, before = config.data.image_size, config.data.scale, config.pretraining
    if size % scale:
        raise UserError(
            f"data.image_size={size} is no multiple of data.scale={scale}; try "
            f"--config.data.image_size={max(1, round(size / scale)) * scale}"
        )
    choose("train.first", config.train.first, dict.fromkeys(("discriminator", "generator")))
    generator = choose("model.generator.kind", config.model.generator.kind, GENERATORS)
    nets = {"generator": generator(config, given)}
    weight, adversarial = config.loss.weight, None
    if weight:
        adversarial = choose("loss.adversarial", config.loss.adversarial, ADVERSARIAL)()
        kinds = {**discriminators, "vgg": vgg_discriminator}
        kind = choose("model.discriminator.kind", config.model.discriminator.kind, kinds)
        nets["discriminator"] = kind(config, given)
    content = _content(config, given)
    if not content and not weight:
        raise UserError(
            "all of loss.l1, loss.l2, loss.perceptual.weight and loss.weight are 0, so there is "
            "nothing to learn; try --config.loss.l2=1"
        )
    pretraining = None
    if before.steps:
        if not weight or config.train.epochs or before.steps >= config.train.steps:
            raise UserError(
                f"pretraining.steps={before.steps} needs an adversarial part behind it: "
                "loss.weight above 0, and train.steps, which counts both, above it"
            )
        distance = choose("pretraining.loss", before.loss, DISTANCES)
        # Named apart from the same distance in what follows, which has another weight.
        lesson = Content(f"pretraining_{before.loss}", 1.0, without_constants(distance))
        pretraining = Pretraining(before.steps, (lesson,))
    return paired(
        nets,
        adversarial,
        content=content,
        weight=weight,
        halved=False,
        first=config.train.first,
        conditional=False,
        deterministic=True,
        pretraining=pretraining,
        task="upscaling",
    )._replace(notes=_notes(config))


def _content(config: ConfigDict, types: Mapping[str, Any]) -> tuple[Content, ...]:
    terms = [
        Content(name, config.loss[name], without_constants(distance))
        for name, distance in DISTANCES.items()
        if config.loss[name]
    ]
    p = config.loss.perceptual
    if p.weight:
        if config.data.channels != 3:
            raise UserError(
                f"loss.perceptual.weight={p.weight:g} needs images in colour, which VGG-19 sees, "
                f"and data.channels={config.data.channels}; add --config.loss.perceptual.weight=0"
            )
        layers = perceptual.read_layers(p.layers)
        smallest = 2 ** (max(int(name[4]) for name in layers) - 1)
        if config.data.image_size < smallest:
            raise UserError(
                f"data.image_size={config.data.image_size} is too small for "
                f"loss.perceptual.layers={p.layers}, which take {smallest} pixels or more"
            )
        network = vgg.VGG19(tuple(layers), **types)
        distance = choose("loss.perceptual.distance", p.distance, DISTANCES)
        made = perceptual.perceptual(network, layers, distance, p.rescale)
        terms.append(Content("perceptual", p.weight, made))
    return tuple(terms)


def _notes(config: ConfigDict) -> tuple[str, ...]:
    p = config.loss.perceptual
    if not p.weight:
        return ()
    if p.weights == RANDOM:
        return (
            "the perceptual loss sees with a VGG-19 of fixed random weights, a weak stand-in; for "
            "trained ones add --config.loss.perceptual.weights=FILE (torchvision's vgg19)",
        )
    return (f"the perceptual loss sees with the VGG-19 in {p.weights}",)


def digest(config: ConfigDict) -> str:
    """The hash of the file that `loss.perceptual.weights` names, for the run's record; "" of none.

    Raises:
      UserError: where it isn't there, or holds no VGG-19.
    """
    p = _perceptual(config)
    if p is None or not p.weight or p.weights == RANDOM:
        return ""
    if not p.weights:
        raise UserError(
            "loss.perceptual.weights names no file; it takes torchvision's vgg19 (.pth or "
            f".safetensors), or {RANDOM}, or --config.loss.perceptual.weight=0 does without"
        )
    _read(p.weights)
    return files.digest(p.weights)[:16]


def constants(config: ConfigDict) -> Callable[[], Any]:
    """() -> the variables of the frozen networks that a config's losses see with, or None."""
    p = _perceptual(config)
    if p is None or not p.weight:
        return lambda: None
    dtype = types(config)["param_dtype"]

    def read():
        # What lies behind the last of the layers isn't computed, so it isn't kept either.
        seen = vgg.needed(perceptual.read_layers(p.layers))
        if p.weights == RANDOM:
            variables = vgg.from_published(vgg.random_arrays(seen), seen)
        else:
            whole = _read(p.weights)["params"]
            variables = {"params": {name: whole[name] for name in seen}}
        kept = jax.tree.map(lambda x: jnp.asarray(x, dtype), variables)
        return {perceptual.NETWORK: kept}

    return read


def _perceptual(config: ConfigDict) -> ConfigDict | None:
    """The part of a config's losses that sees with a frozen network, where there is one."""
    return config.loss.get("perceptual") if "loss" in config else None


def _read(file: str) -> Any:
    try:
        return vgg.from_published(state_dicts.read(file))
    except UserError as error:
        raise UserError(f"loss.perceptual.weights={file}: {error}") from None


def srresnet_generator(config: ConfigDict, types: Mapping[str, Any]) -> nn.Module:
    """SRGAN's generator of a config; `types` are its dtype fields."""
    g = config.model.generator
    if g.norm == "instance":
        raise UserError("model.generator.norm=instance doesn't fit an SRResNet; try batch or none")
    choose("model.generator.output", g.output, dict.fromkeys(("linear", "tanh")))
    return srresnet.SRResNet(
        scale=config.data.scale,
        channels=config.data.channels,
        width=g.width,
        blocks=g.blocks,
        norm=g.norm,
        behind=g.behind,
        output=g.output,
        **types,
    )


def rrdb_generator(config: ConfigDict, types: Mapping[str, Any]) -> nn.Module:
    """ESRGAN's generator of a config; `types` are its dtype fields."""
    g = config.model.generator
    return rrdb.RRDBNet(
        scale=config.data.scale,
        channels=config.data.channels,
        width=g.width,
        blocks=g.blocks,
        growth=g.growth,
        remat=config.model.remat,
        **types,
    )


def vgg_discriminator(config: ConfigDict, types: Mapping[str, Any]) -> nn.Module:
    """The discriminator of whole crops of a config."""
    d, size = config.model.discriminator, config.data.image_size
    multiple = 2**d.stages
    if size % multiple:
        fits = max(1, round(size / multiple)) * multiple
        raise UserError(
            f"data.image_size={size} doesn't fit a discriminator of {d.stages} stages, which takes "
            f"multiples of {multiple}; try --config.data.image_size={fits}"
        )
    return VGGDiscriminator(
        width=d.width, stages=d.stages, kernel=d.kernel, dense=d.dense, norm=d.norm, **types
    )


def receptive_radius(config: ConfigDict) -> int:
    """Pixels of the small image, to each side, that one of the large image depends on."""
    g = config.model.generator
    if g.kind == "srresnet":
        # 9x9; two 3x3 in each block and one behind; the rest at larger scales, rounded up.
        return 4 + 2 * g.blocks + 1 + 2 + 2
    if g.kind == "rrdb":
        return 1 + rrdb.DENSE * rrdb.LAYERS * g.blocks + 1 + 4
    return tiles.MOST_OVERLAP  # a network of one's own, of which nothing is known


GENERATORS = {"srresnet": srresnet_generator, "rrdb": rrdb_generator}
