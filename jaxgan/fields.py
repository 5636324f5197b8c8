"""What the fields of a config may hold, checked before anything is built or written."""

import math
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from jaxgan.commandline import flat
from jaxgan.data import datasets
from jaxgan.errors import UserError


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
    if config.checkpoint.best and not config.evaluate.every:
        raise UserError(
            f"checkpoint.best={config.checkpoint.best!r} needs scores during the run; try "
            f"--config.evaluate.every={config.checkpoint.every}"
        )
    if config.checkpoint.best and "latent" in config.model and not config.evaluate.num:
        raise UserError(
            f"checkpoint.best={config.checkpoint.best!r} needs samples to be judged; try "
            "--config.evaluate.num=1000"
        )
    if "low" in config.data and not config.data.low < config.data.high:
        raise UserError(
            f"data.low={config.data.low} is not below data.high={config.data.high}; they are the "
            "values that become -1 and 1"
        )
    ranged = [name for name in ("data.low", "data.high") if name in overrides]
    if ranged and config.data.dtype == "uint8":
        raise UserError(
            f"--config.{ranged[0]} is of floating-point data, and data.dtype=uint8 goes from 0 to "
            "255; add --config.data.dtype=float32"
        )
    if "load_size" not in config.data:
        return config
    if not config.data.load_size:
        config.data.load_size = datasets.default_load_size(config.data)
    if config.data.load_size < config.data.image_size:
        raise UserError(
            f"data.load_size={config.data.load_size} is smaller than "
            f"data.image_size={config.data.image_size}, which is cut from it; leave it at 0"
        )
    return config


def wanted(field: str) -> str:
    """What a field may hold, in words; "" where only building it will tell."""
    return RANGES[field][1] if field in RANGES else ""


def _among(*words: str):
    return (lambda value: value in words), "one of " + ", ".join(words)


def _at_least(low: float):
    return (lambda value: low <= value < float("inf")), f"{low:g} or more"


def _above(low: float, most: float = float("inf")):
    text = f"above {low:g}" + (f", at most {most:g}" if most < float("inf") else "")
    return (lambda value: low < value <= most and value < float("inf")), text


def _between(low: float, high: float):
    return (lambda value: low <= value < high), f"at least {low} and less than {high}"


def _devices(value) -> bool:
    return value == "auto" or (str(value).isdigit() and int(value) > 0)


RANGES = {
    "task": _among("labelled", "points"),
    "precision": _among("float32", "bfloat16", "float64"),
    "devices": (_devices, "auto or a number of devices"),
    "awake": _among("auto", "on", "off"),
    "seed": _between(0, 2**31),
    "train.steps": _at_least(0),
    "train.epochs": _between(0, 10**9),
    "train.accumulate": _at_least(1),
    "train.first": _among("generators", "discriminators", "generator", "discriminator"),
    "train.seeds": _at_least(1),
    "train.generator_multiple": _at_least(1),
    "train.warmup.rounds": _at_least(0),
    "train.warmup.steps": _at_least(0),
    "train.warmup.every": _at_least(0),
    "train.critic_rounds": _at_least(1),
    "train.log_every": _at_least(1),
    "train.sample_every": _at_least(0),
    "data.batch_size": _at_least(1),
    "data.image_size": _at_least(4),
    "data.load_size": _at_least(0),
    "data.channels": _at_least(1),
    "data.dtype": _among("uint8", "float32"),
    "data.scale": ((lambda value: value in (2, 4, 8)), "2, 4 or 8"),
    "data.kernel": _among("pillow", "matlab"),
    "pretraining.steps": _at_least(0),
    "pretraining.learning_rate": _at_least(0),
    "model.generator.growth": _at_least(1),
    "model.generator.behind": _among("norm", "prelu"),
    "model.discriminator.stages": ((lambda value: 1 <= value <= 6), "1 to 6"),
    "model.discriminator.kernel": ((lambda value: value in (3, 4)), "3 or 4"),
    "model.discriminator.dense": _at_least(1),
    "loss.perceptual.weight": _at_least(0),
    "loss.perceptual.rescale": _above(0),
    "loss.l2": _at_least(0),
    **{f"optimizer.{player}.factor": _above(0, 1) for player in ("generator", "discriminator")},
    "loss.weight": _at_least(0),  # where it isn't one for each player
    "data.low": (math.isfinite, "a finite number"),
    "data.high": (math.isfinite, "a finite number"),
    "data.count": _at_least(1),
    "data.world": _at_least(0),
    "model.convolution": _among("auto", "canonical", "xla"),
    "model.generator.width": _at_least(1),
    "model.generator.blocks": _at_least(1),
    "model.generator.padding": _among("reflect", "zero"),
    "model.generator.norm": _among("instance", "batch", "none"),
    "model.generator.dropout": _between(0, 1),
    "model.discriminator.width": _at_least(1),
    "model.discriminator.layers": ((lambda value: 1 <= value <= 5), "1 to 5"),
    "model.discriminator.norm": _among("instance", "batch", "none"),
    "model.classifier.width": _at_least(1),
    "model.classifier.stages": ((lambda value: 1 <= value <= 8), "1 to 8"),
    "model.classifier.norm": _among("batch", "none"),
    "model.classifier.features": _at_least(1),
    "model.classifier.dropout": _between(0, 1),
    "model.latent.size": _at_least(1),
    "model.latent.law": _among("normal", "uniform"),
    "model.conditioning": _among("none", "concatenation", "projection", "auxiliary"),
    "model.generator.activation": _among("leaky_relu", "relu"),
    "model.generator.output": _among("tanh", "sigmoid", "linear"),
    **{f"model.{net}.init_range": _at_least(0) for net in ("generator", "discriminator")},
    **{
        f"loss.labels.{name}": (math.isfinite, "a finite number")
        for name in ("fake", "real", "wanted")
    },
    "model.discriminator.pool": _among("mean", "sum"),
    "model.discriminator.maxout": _at_least(0),
    "model.discriminator.dropout": _between(0, 1),
    "model.discriminator.input_dropout": _between(0, 1),
    "loss.smoothing": _between(0, 1),
    **{
        f"loss.{group}.{player}": _at_least(0)
        for group in ("weight", "classes")
        for player in ("discriminator", "generator")
    },
    **{f"penalty.{name}.weight": _at_least(0) for name in ("gp", "r1", "r2", "dragan")},
    **{f"penalty.{name}.every": _at_least(1) for name in ("gp", "r1", "r2", "dragan")},
    "penalty.gp.target": _at_least(0),
    "penalty.dragan.target": _at_least(0),
    "penalty.clip.limit": _at_least(0),
    "augment.noise.deviation": _at_least(0),
    "augment.noise.images": _at_least(0),
    "data.classes": _at_least(0),
    "loss.cycle": _at_least(0),
    "loss.identity": _at_least(0),
    "loss.l1": _at_least(0),
    "model.generator.levels": ((lambda value: value == 0 or 2 <= value <= 10), "2 to 10, or 0"),
    "model.generator.dropout_where": _among("published", "paper"),
    "model.inference": _among("published", "deterministic"),
    "data.direction": _among("AtoB", "BtoA"),
    "pool.size": _at_least(0),
    "ema.half_life": _at_least(0),
    "ema.ramp": _at_least(0),
    **{
        f"optimizer.{player}.{field}": rule
        for player in ("generator", "discriminator")
        for field, rule in {
            "learning_rate": _at_least(0),
            "b1": _between(0, 1),
            "b2": _between(0, 1),
            "decay": _at_least(1),
            "lowest": _at_least(0),
            "last_b1": _between(0, 1),
            "last_b1_images": _at_least(0),
        }.items()
    },
    **{
        f"optimizer.classifier.{field}": rule
        for field, rule in {
            "learning_rate": _at_least(0),
            "b1": _between(0, 1),
            "b2": _between(0, 1),
        }.items()
    },
    "init.step": (lambda value: value == "latest" or value.isdigit(), "latest or a step's number"),
    "checkpoint.every": _at_least(1),
    "checkpoint.keep": _at_least(1),
    "evaluate.every": _at_least(0),
    "evaluate.num": _at_least(0),
}
