"""Config -> the game of noise to image. Read by `experiment.py` alone.

Any loss, penalty, conditioning and network goes with any other by fields alone; what makes no
sense is refused here, with the reason.
"""

from collections.abc import Mapping
from typing import Any

from flax import linen as nn
from ml_collections import ConfigDict

from jaxgan.choices import ADVERSARIAL, SOME_CLASSES, choose, types
from jaxgan.errors import UserError
from jaxgan.games.game import Game
from jaxgan.games.synthesis import NOISE, Classes, Latent, synthesis
from jaxgan.losses import adversarial, penalties
from jaxgan.models import dcgan, mlp, residual
from jaxgan.models.initializers import uniform
from jaxgan.optimizers import Schedule, constant, linear_decay


def synthesis_game(config: ConfigDict) -> Game:
    """Noise to image with the config's networks, loss and penalties.

    Raises:
      UserError: for settings that don't go together.
    """
    loss = adversarial_loss(config.loss)
    terms = penalty_terms(config)
    train, warmup = config.train, config.train.warmup
    _require_sense(config, loss, terms)
    given = types(config)
    generator = choose("model.generator.kind", config.model.generator.kind, GENERATORS)
    discriminator = choose("model.discriminator.kind", config.model.discriminator.kind, JUDGES)
    limit = config.penalty.clip.limit
    return synthesis(
        {"generator": generator(config, given), "discriminator": discriminator(config, given)},
        loss,
        Latent(config.model.latent.size, config.model.latent.law),
        classes=_classes(config),
        penalties=terms,
        rounds=train.critic_rounds,
        first=train.first,
        handed=train.handed,
        multiple=train.generator_multiple,
        project=penalties.clip(limit) if limit else None,
        extra=_extra(warmup, train.critic_rounds) if warmup.rounds else None,
        task=config.task,
    )


def adversarial_loss(c: ConfigDict) -> adversarial.AdversarialLoss:
    """The config's loss, with its labels and weights.

    Raises:
      UserError: where its labels can't be smoothed.
    """
    make, settings = choose("loss.adversarial", c.adversarial, ADVERSARIAL), {}
    if c.adversarial == "lsgan":
        settings = {"fake_label": c.labels.fake, "real_label": c.labels.real}
        settings["wanted"] = c.labels.wanted
    elif (c.labels.fake, c.labels.real, c.labels.wanted) != (0, 1, 1):
        raise UserError(
            f"loss.labels are those of loss.adversarial=lsgan, and it is {c.adversarial}; leave "
            "them at fake=0, real=1 and wanted=1"
        )
    if c.smoothing:
        if c.adversarial not in ("bce", "saturating"):
            better = (
                f"; give its real label, --config.loss.labels.real={1 - c.smoothing:g}"
                if c.adversarial == "lsgan"
                else ", whose labels are 0 and 1"
            )
            raise UserError(f"loss.smoothing is for loss.adversarial=bce or saturating{better}")
        settings = {"smoothing": c.smoothing}
    loss = make(**settings)
    if (c.weight.discriminator, c.weight.generator) == (1, 1):
        return loss
    return adversarial.weighted(loss, c.weight.discriminator, c.weight.generator)


def penalty_terms(config: ConfigDict) -> list[penalties.Penalty]:
    """The penalties that weigh something."""
    c = config.penalty
    terms = [
        penalties.gp(c.gp.weight, c.gp.target, c.gp.one_sided, c.gp.every),
        penalties.r1(c.r1.weight, c.r1.every),
        penalties.r2(c.r2.weight, c.r2.every),
        penalties.dragan(c.dragan.weight, c.dragan.target, c.dragan.every),
    ]
    return [term for term in terms if term.weight]


def instance_noise(config: ConfigDict) -> dict[str, Schedule]:
    """The schedule of the noise on the discriminator's inputs, where there is any."""
    c = config.augment.noise
    if not c.deviation:
        return {}
    falls = c.images > 0
    return {NOISE: linear_decay(c.deviation, 0, c.images) if falls else constant(c.deviation)}


def _require_sense(config: ConfigDict, loss: adversarial.AdversarialLoss, terms: list) -> None:
    """Refuses what would run and mean nothing.

    Raises:
      UserError: saying why.
    """
    d, train, warmup = config.model.discriminator, config.train, config.train.warmup
    first = {"generator": 0, "discriminator": 1}
    choose("train.first", train.first, first)
    for player in first:
        _require_read(f"model.{player}", config.model[player])
        _require_points(config, player)
    if terms and d.norm == "batch":
        names = {"gradient_penalty": "gp"}
        name = names.get(terms[0].name, terms[0].name)
        raise UserError(
            f"penalty.{name} needs the gradient of each image alone, and batch norm mixes them; "
            "set --config.model.discriminator.norm=none or instance"
        )
    lazy = sorted({term.every for term in terms} - {1})
    if len(lazy) > 1:
        raise UserError(
            f"penalties with every={lazy[0]} and every={lazy[1]} would scale one optimizer's rate "
            "in two ways; give them the same `every`, or 1"
        )
    if config.penalty.clip.limit and d.spectral:
        raise UserError(
            "penalty.clip cuts weights that model.discriminator.spectral divides by their norm "
            "anyway; set one of them, --config.penalty.clip.limit=0 or "
            "--config.model.discriminator.spectral=false"
        )
    if loss.relativistic and train.generator_multiple > 1:
        raise UserError(
            f"loss.adversarial={config.loss.adversarial} compares each fake with a real image, and "
            f"train.generator_multiple={train.generator_multiple} makes more fakes than there are; "
            "set it to 1"
        )
    if train.handed and train.generator_multiple > 1:
        raise UserError(
            "train.handed gives the generator the discriminator's noise, which is too little for "
            f"train.generator_multiple={train.generator_multiple}; add --config.train.handed=false"
        )
    if train.handed and train.first == "generator" and train.critic_rounds > 1:
        raise UserError(
            "with train.first=generator and train.handed all rounds of the discriminator would see "
            "the same fakes; add --config.train.handed=false"
        )
    if warmup.rounds and (warmup.rounds % train.critic_rounds or train.first == "generator"):
        raise UserError(
            f"train.warmup.rounds={warmup.rounds} come in batches of train.critic_rounds="
            f"{train.critic_rounds}, before the generator moves: make it a multiple, with "
            "train.first=discriminator"
        )
    if warmup.rounds and not (warmup.steps or warmup.every):
        raise UserError(
            f"train.warmup.rounds={warmup.rounds} never come; say in how many first steps with "
            "--config.train.warmup.steps=25, and in every n-th with --config.train.warmup.every=500"
        )
    if config.checkpoint.best == "class_accuracy" and config.model.conditioning == "none":
        raise UserError(
            "checkpoint.best=class_accuracy is of classes that are asked for, and "
            "model.conditioning=none asks for none; try --config.checkpoint.best=readable"
        )
    if config.model.conditioning != "none" and config.data.classes == 1:
        folders = "" if config.task == "points" else ", or bring one sub-folder for each class"
        raise UserError(
            f"model.conditioning={config.model.conditioning} needs classes, and "
            f"data.name={config.data.name} has none; add --config.model.conditioning=none{folders}"
        )


def _require_points(config: ConfigDict, player: str) -> None:
    """Refuses networks of pixels where the data are points.

    Raises:
      UserError: saying so.
    """
    kind, dense = config.model[player].kind, ("mlp", "cgan_mlp")
    if config.task == "points" and kind in (*GENERATORS, *JUDGES) and kind not in dense:
        raise UserError(
            f"model.{player}.kind={kind} is for images, and data.name={config.data.name} is of "
            f"points in the plane; set --config.model.{player}.kind=mlp"
        )


def _require_read(field: str, c: ConfigDict) -> None:
    """Refuses what a player's network would pass over in silence, or has no room for.

    Raises:
      UserError: saying why.
    """
    if c.kind == "mlp" and c.norm == "instance":
        raise UserError(
            f"{field}.norm=instance is taken over an image's pixels, and the layers of "
            f"{field}.kind=mlp have no pixels; set --config.{field}.norm=batch or none"
        )
    if c.kind == "cgan_mlp" and c.norm != "none":
        raise UserError(
            f"{field}.kind=cgan_mlp has no norm; set --config.{field}.norm=none, or "
            f"--config.{field}.kind=mlp"
        )
    kinds = READ[field.removeprefix("model.")]
    unread = [
        name
        for name, readers in kinds.items()
        # Runs of before a field was don't have it.
        if c.get(name) and c.kind in (*GENERATORS, *JUDGES) and c.kind not in readers
    ]
    if unread:
        name = unread[0]
        value = "true" if c[name] is True else f"{c[name]:g}"
        off = {n: "false" if c[n] is True else "0" for n in unread}
        raise UserError(
            f"{field}.{name}={value} is for {field}.kind={' or '.join(kinds[name])}, and it is "
            f"{c.kind}; set {' '.join(f'--config.{field}.{n}={zero}' for n, zero in off.items())}"
        )


def _classes(config: ConfigDict) -> Classes | None:
    if config.model.conditioning == "none":
        return None
    c = config.loss.classes
    auxiliary = config.model.conditioning == "auxiliary"
    return Classes(_count(config), auxiliary, c.discriminator, c.generator, c.fake)


def _count(config: ConfigDict) -> int:
    return config.data.classes or SOME_CLASSES


def _extra(c: ConfigDict, rounds: int):
    """Step, from 0 -> batches of rounds beyond its own: Arjovsky et al.'s published schedule."""

    def batches(step: int) -> int:
        due = step < c.steps or bool(c.every and step % c.every == 0)
        return c.rounds // rounds - 1 if due else 0

    return batches


def _generator_settings(config: ConfigDict) -> dict[str, Any]:
    return {"classes": 0 if config.model.conditioning == "none" else _count(config)}


def _discriminator_settings(config: ConfigDict) -> dict[str, Any]:
    conditional = config.model.conditioning != "none"
    return {
        "conditioning": config.model.conditioning,
        "classes": _count(config) if conditional else 0,
        "spectral": config.model.discriminator.spectral,
    }


def dcgan_generator(config: ConfigDict, types: Mapping[str, Any]) -> nn.Module:
    """DCGAN's generator of a config; `types` are its dtype fields."""
    size, g = config.data.image_size, config.model.generator
    dcgan.doublings(size)
    settings = _generator_settings(config)
    return dcgan.Generator(size, config.data.channels, g.width, g.norm, **settings, **types)


def dcgan_discriminator(config: ConfigDict, types: Mapping[str, Any]) -> nn.Module:
    """DCGAN's discriminator of a config."""
    d = config.model.discriminator
    dcgan.doublings(config.data.image_size)
    settings = {
        "spread": d.get("spread", False),
        **_discriminator_settings(config),
    }
    return dcgan.Discriminator(d.width, d.norm, **settings, **types)


def resnet_generator(config: ConfigDict, types: Mapping[str, Any]) -> nn.Module:
    """The ResNet generator of WGAN-GP and SNGAN."""
    size, g = config.data.image_size, config.model.generator
    residual.doublings(size)
    settings = _generator_settings(config)
    return residual.Generator(size, config.data.channels, g.width, g.norm, **settings, **types)


def resnet_discriminator(config: ConfigDict, types: Mapping[str, Any]) -> nn.Module:
    """The ResNet discriminator of WGAN-GP and SNGAN."""
    d = config.model.discriminator
    residual.doublings(config.data.image_size)
    settings = _discriminator_settings(config)
    return residual.Discriminator(width=d.width, norm=d.norm, pool=d.pool, **settings, **types)


def mlp_generator(config: ConfigDict, types: Mapping[str, Any]) -> nn.Module:
    """A generator of dense layers."""
    g = config.model.generator
    return mlp.Generator(
        shape=_shape(config),
        widths=_widths("model.generator.widths", g.widths),
        norm=g.norm,
        activation=g.activation,
        output=g.output,
        **_init(g),
        **_generator_settings(config),
        **_dense(types),
    )


def mlp_discriminator(config: ConfigDict, types: Mapping[str, Any]) -> nn.Module:
    """A discriminator of dense layers."""
    d = config.model.discriminator
    return mlp.Discriminator(
        widths=_widths("model.discriminator.widths", d.widths),
        norm=d.norm,
        maxout=d.maxout,
        dropout=d.dropout,
        input_dropout=d.input_dropout,
        **_init(d),
        **_discriminator_settings(config),
        **_dense(types),
    )


def cgan_generator(config: ConfigDict, types: Mapping[str, Any]) -> nn.Module:
    """The generator of CGAN's paper: noise and label have layers of their own.

    Raises:
      UserError: for an unconditional run, or other than three widths.
    """
    g = config.model.generator
    if config.model.conditioning == "none":
        raise UserError(
            "model.generator.kind=cgan_mlp makes images of given classes; set "
            "--config.model.conditioning=concatenation, or another kind"
        )
    return mlp.ConditionalGenerator(
        shape=_shape(config),
        classes=_count(config),
        widths=_three("model.generator.widths", g.widths),
        dropout=g.dropout,
        output=g.output,
        **_init(g),
        **_dense(types),
    )


def cgan_discriminator(config: ConfigDict, types: Mapping[str, Any]) -> nn.Module:
    """The discriminator of CGAN's paper: image and label have maxout layers of their own.

    Raises:
      UserError: for a run that doesn't give it classes, or other than three widths.
    """
    d = config.model.discriminator
    if config.model.conditioning != "concatenation":
        raise UserError(
            "model.discriminator.kind=cgan_mlp takes the label into its layers; set "
            "--config.model.conditioning=concatenation, or --config.model.discriminator.kind=mlp"
        )
    return mlp.ConditionalDiscriminator(
        classes=_count(config),
        widths=_three("model.discriminator.widths", d.widths),
        dropout=d.dropout,
        spectral=d.spectral,
        **_init(d),
        **_dense(types),
    )


def _three(field: str, text: str) -> tuple[int, int, int]:
    widths = _widths(field, text)
    if len(widths) != 3:
        raise UserError(f"{field}={text!r}: a cgan_mlp has three widths, as 200,1000,1200")
    return widths


def _init(c: ConfigDict) -> dict[str, Any]:
    return {"kernel_init": uniform(c.init_range)} if c.init_range else {}


def _shape(config: ConfigDict) -> tuple[int, ...]:
    if config.task == "points":
        return (2,)
    return (config.data.image_size, config.data.image_size, config.data.channels)


def _dense(types: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in types.items() if name != "path"}


def _widths(field: str, text: str) -> tuple[int, ...]:
    """Of the layers, from words such as 256,512.

    Raises:
      UserError: for anything else.
    """
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdigit() and int(word) for word in words):
        raise UserError(f"{field}={text!r} doesn't fit: it takes the layers' widths, as 256,512")
    return tuple(int(word) for word in words)


GENERATORS = {
    "dcgan": dcgan_generator,
    "resnet": resnet_generator,
    "mlp": mlp_generator,
    "cgan_mlp": cgan_generator,
}
JUDGES = {
    "dcgan": dcgan_discriminator,
    "resnet": resnet_discriminator,
    "mlp": mlp_discriminator,
    "cgan_mlp": cgan_discriminator,
}
# Fields that are off at 0, and the kinds of network that read them.
READ = {
    "generator": {"dropout": ("cgan_mlp",), "init_range": ("mlp", "cgan_mlp")},
    "discriminator": {
        "dropout": ("mlp", "cgan_mlp"),
        "input_dropout": ("mlp",),
        "maxout": ("mlp",),
        "init_range": ("mlp", "cgan_mlp"),
        "spread": ("dcgan",),
    },
}
