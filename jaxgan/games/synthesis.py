"""Noise to image: the games of GAN, DCGAN, CGAN, ACGAN, LSGAN, WGAN, WGAN-GP and SNGAN.

One generator, one discriminator (or critic). One step, in the order of the papers' algorithms: the
discriminator's rounds, each on a real batch of its own and on fresh fakes; then the generator.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgan.games.game import Batch, Context, Extra, Game, Outcome, Phase
from jaxgan.games.latent import Latent
from jaxgan.games.passes import Passes
from jaxgan.losses.adversarial import AdversarialLoss
from jaxgan.losses.classification import cross_entropy
from jaxgan.losses.penalties import Penalty
from jaxgan.state import Variables

NOISE = "instance_noise"  # a schedule: the deviation of what is added to the discriminator's inputs


class Classes(NamedTuple):
    """What the players make of the images' labels.

    The generator is given them; so is the discriminator, unless it is an auxiliary classifier
    (Odena et al. 2017), which finds them out: then its module returns (logits, class logits).

    Attributes:
      count: of classes.
      auxiliary: whether the discriminator classifies.
      discriminator, generator: weights of the players' class losses.
      fake: whether the discriminator learns the classes of fake images, too.
    """

    count: int
    auxiliary: bool = False
    discriminator: float = 1.0
    generator: float = 1.0
    fake: bool = True


def synthesis(
    nets: dict[str, nn.Module],
    adversarial: AdversarialLoss,
    latent: Latent,
    *,
    classes: Classes | None = None,
    penalties: Sequence[Penalty] = (),
    rounds: int = 1,
    first: str = "discriminator",
    handed: bool = True,
    multiple: int = 1,
    project: Callable | None = None,
    extra: Callable[[int], int] | None = None,
    task: str = "labelled",
) -> Game:
    """A game of noise against pictures.

    Args:
      nets: Linen modules `generator` (latents, or latents and labels -> images) and
        `discriminator` (images, or images and labels -> logits), called with `train=`.
      adversarial: of logits.
      latent: the noise.
      classes: of a conditional game. Fakes carry the labels of the real images beside them.
      penalties: on the discriminator, in every round, or lazily at every n-th step.
      rounds: the discriminator's in each step.
      first: the player that moves first.
      handed: both play with the same fakes, as in the widespread code: the generator gets the
        latents that the discriminator's last round has seen, or, where it moves first, hands over
        its images. Otherwise each draws its own, as in the papers' algorithms.
      multiple: the generator's batch is so many times the discriminator's.
      project: of the discriminator's parameters after each of its moves (WGAN's clipping).
      extra: step -> how many more batches of rounds the discriminator plays before it.
      task: what it is played on: a name of `tasks.TASKS`.

    Returns:
      A `Game` on batches {"image": [N, H, W, C] in [-1, 1], "label": int32 [N]}. Noise that a batch
      carries is used instead of drawn noise: `latent` (of the discriminator's rounds, and handed
      over), `latent_generator`, and what the penalties draw. The metrics are the discriminator's
      loss without penalties, each penalty without its weight, the generator's loss and, of an
      auxiliary classifier, the class losses without weights.

    Raises:
      ValueError: for players that can't share their fakes.
    """
    if handed and (multiple > 1 or (first == "generator" and rounds > 1)):
        raise ValueError("the same fakes can't serve batches of different sizes or several rounds")
    auxiliary = classes is not None and classes.auxiliary
    joined = [penalty for penalty in penalties if penalty.every == 1]
    lazy = [penalty for penalty in penalties if penalty.every > 1]

    def drawn(name: str, batch: Batch, key: jax.Array, count: int = 1) -> jax.Array:
        if name in batch:
            return batch[name]
        return latent.draw(key, count * batch["image"].shape[0], batch["image"].dtype)

    def made(run: Passes, latents: jax.Array, label: jax.Array | None) -> jax.Array:
        return run("generator", latents if label is None else (latents, label))[0]

    def of_fakes(key: jax.Array) -> jax.Array:
        """A dropout key apart from the discriminator's, whose masks would be the same."""
        return jax.random.fold_in(key, 1)

    def judged(run: Passes, context: Context, label, *images: jax.Array) -> list[tuple]:
        """(logits, class logits or None) of each batch of images."""
        if NOISE in context.schedules:
            deviation = context.schedules[NOISE]
            images = [_noisy(x, deviation, context.key, i) for i, x in enumerate(images)]
        given = label is not None and not auxiliary
        outputs = run("discriminator", *((x, label) if given else x for x in images))
        return outputs if auxiliary else [(logits, None) for logits in outputs]

    def penalised(terms, run: Passes, real, fake, label, key, batch, metrics) -> jax.Array:
        """The weighted sum of penalties; each one's metric is added to `metrics`."""

        def logits(x):
            return judged(run, calm, label, x)[0][0]

        # Of the images themselves: noise on them would be drawn anew for every penalty.
        calm = Context(key, *(None,) * 2, {}, None)
        total = 0.0
        for i, term in enumerate(terms):
            value = term.value(logits, real, fake, jax.random.fold_in(key, i), batch)
            metrics[term.name] = value
            # A lazy one stands for what it would have done in every round of `every` steps.
            total = total + term.weight * (term.every * rounds if term.every > 1 else 1) * value
        return total

    def discriminator(nets, memory, handoff, batch: Batch, context: Context):
        """Real against fake images; the generator's statistics stay as they are."""
        keys = jax.random.split(context.key, 3)
        real, label = batch["image"], batch["label"] if classes else None
        given, fake = {}, handoff.get("fake")
        if fake is None:
            given = {"latent": drawn("latent", batch, keys[0])}
            fake = made(Passes(modules, nets, of_fakes(keys[1])), given["latent"], label)
        fake = jax.lax.stop_gradient(fake)
        run = Passes(modules, nets, keys[1])
        (real_logits, real_class), (fake_logits, fake_class) = judged(
            run, context, label, real, fake
        )
        loss = adversarial.discriminator(real_logits, fake_logits)
        metrics = {"discriminator": loss}
        if auxiliary:
            metrics["class_real"] = cross_entropy(real_class, label)
            metrics["class_fake"] = cross_entropy(fake_class, label)
            known = metrics["class_real"] + (metrics["class_fake"] if classes.fake else 0.0)
            loss = loss + classes.discriminator * known
        loss = loss + penalised(joined, run, real, fake, label, keys[2], batch, metrics)
        return loss, Outcome(own_stats(run), {}, given if handed else {}, metrics)

    def regularizer(nets, memory, handoff, batch: Batch, context: Context):
        """The lazy penalties."""
        keys = jax.random.split(context.key, 3)
        label = batch["label"] if classes else None
        fake = made(
            Passes(modules, nets, of_fakes(keys[1])), drawn("latent", batch, keys[0]), label
        )
        run, metrics = Passes(modules, nets, keys[1]), {}
        fake = jax.lax.stop_gradient(fake)
        loss = penalised(lazy, run, batch["image"], fake, label, keys[2], batch, metrics)
        return loss, Outcome(own_stats(run), {}, {}, metrics)

    def generator(nets, memory, handoff, batch: Batch, context: Context):
        """Images that fool the discriminator."""
        run = Passes(modules, nets, context.key)
        latents = handoff.get("latent")
        if latents is None:
            name = "latent" if handed and first == "generator" else "latent_generator"
            latents = drawn(name, batch, jax.random.fold_in(context.key, 0), multiple)
        label = jnp.tile(batch["label"], multiple) if classes else None
        fake = made(run, latents, label)
        if adversarial.relativistic:
            real, judgement = judged(run, context, label, batch["image"], fake)
            real = real[0]
        else:
            real, (judgement,) = None, judged(run, context, label, fake)
        loss = adversarial.generator(real, judgement[0])
        metrics = {"generator": loss}
        if auxiliary:
            metrics["class_generator"] = cross_entropy(judgement[1], label)
            loss = loss + classes.generator * metrics["class_generator"]
        given = {"fake": jax.lax.stop_gradient(fake)} if handed and first == "generator" else {}
        return loss, Outcome(run.stats(), {}, given, metrics)

    def own_stats(run: Passes) -> dict[str, Any]:
        return {net: stats for net, stats in run.stats().items() if net == "discriminator"}

    def init(key: jax.Array, batch: Batch):
        """Variables of both nets, from keys of their own."""
        images = batch["image"]
        latents = jax.ShapeDtypeStruct((images.shape[0], latent.size), images.dtype)
        label = (batch["label"],) if classes else ()
        given = {
            "generator": (latents, *label),
            "discriminator": (images, *(() if auxiliary else label)),
        }
        return {
            name: modules[name].lazy_init(jax.random.fold_in(key, i), *given[name], train=False)
            for i, name in enumerate(given)
        }, {}

    def sample(nets: dict[str, Variables], batch: Batch) -> dict[str, jax.Array]:
        """Images of the batch's latents (and labels), in evaluation mode."""
        given = (batch["latent"], *((batch["label"],) if classes else ()))
        return {"image": modules["generator"].apply(nets["generator"], *given, train=False)}

    modules = dict(nets)
    class_metrics = (("class_real", "class_fake"), ("class_generator",)) if auxiliary else ((), ())
    moves = [
        Phase(
            "discriminator",
            "discriminator",
            discriminator,
            ("discriminator", *class_metrics[0], *(penalty.name for penalty in joined)),
            repeats=rounds,
            project=project,
        ),
        # The published discriminators' statistics move when the generator plays, too.
        Phase(
            "generator",
            "generator",
            generator,
            ("generator", *class_metrics[1]),
            stats=("discriminator",),
        ),
    ]
    if first == "generator":
        moves.reverse()
    if lazy:
        names = tuple(penalty.name for penalty in lazy)
        every, player = lazy[0].every, "discriminator"
        moves.append(Phase("regularizer", player, regularizer, names, every, project=project))
    return Game(
        nets=modules,
        players={"generator": ("generator",), "discriminator": ("discriminator",)},
        phases=tuple(moves),
        init=init,
        sample=sample,
        task=task,
        noise=lambda key, count, dtype: {"latent": latent.draw(key, count, dtype)},
        classes=classes.count if classes else 0,
        extra=Extra("discriminator", extra) if extra else None,
        latent=latent,
    )


def _noisy(images: jax.Array, deviation: jax.Array, key: jax.Array, i: int) -> jax.Array:
    """With instance noise (Sonderby et al. 2017; Arjovsky & Bottou 2017)."""
    noise = jax.random.normal(jax.random.fold_in(key, 100 + i), images.shape, images.dtype)
    return images + deviation.astype(images.dtype) * noise
