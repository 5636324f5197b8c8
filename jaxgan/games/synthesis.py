"""Noise to image: the games of GAN, DCGAN, LSGAN, WGAN and WGAN-GP.

One generator, one discriminator (or critic). One step, in the published order: the discriminator's
rounds, each on a real batch of its own and on fresh fakes; then the generator.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
from flax import linen as nn

from jaxgan.games.game import Batch, Context, Game, Outcome, Phase
from jaxgan.games.passes import Passes
from jaxgan.losses import penalties
from jaxgan.losses.adversarial import AdversarialLoss
from jaxgan.state import Variables


class Latent(NamedTuple):
    """The law of the noise that images are made of.

    Attributes:
      size: numbers for each image.
      law: ``normal`` (of variance 1) or ``uniform`` (from -1 to 1).
    """

    size: int = 100
    law: str = "normal"

    def draw(self, key: jax.Array, count: int, dtype) -> jax.Array:
        """[count, size]."""
        if self.law == "uniform":
            return jax.random.uniform(key, (count, self.size), dtype, -1, 1)
        return jax.random.normal(key, (count, self.size), dtype)


class GradientPenalty(NamedTuple):
    """WGAN-GP's penalty: see `penalties.gradient_penalty`."""

    weight: float = 10.0
    target: float = 1.0
    one_sided: bool = False


def synthesis(
    nets: dict[str, nn.Module],
    adversarial: AdversarialLoss,
    latent: Latent,
    *,
    rounds: int = 1,
    gradient_penalty: GradientPenalty | None = None,
    handed: bool = True,
    project: Callable | None = None,
) -> Game:
    """A game of noise against pictures.

    Args:
      nets: Linen modules `generator` (latents -> images) and `discriminator` (images -> logits),
        both called with `train=`.
      adversarial: of logits.
      latent: the noise.
      rounds: the discriminator's in each step.
      gradient_penalty: between real and fake images, in every round.
      handed: the generator plays with the latents that the discriminator's last round has seen, as
        in the widespread code; otherwise with fresh ones, as in the papers' algorithms.
      project: of the discriminator's parameters after each round (WGAN's clipping).

    Returns:
      A `Game` on batches {"image": [N, H, W, C]} in [-1, 1]. Noise that a batch carries is used
      instead of drawn noise: `latent` (of the discriminator's rounds, and handed over),
      `latent_generator` and `interpolation`. The metrics are the discriminator's loss without the
      penalty, the penalty without its weight, and the generator's loss.
    """

    def noise(name: str, batch: Batch, key: jax.Array) -> jax.Array:
        if name in batch:
            return batch[name]
        return latent.draw(key, batch["image"].shape[0], batch["image"].dtype)

    def discriminator(nets, memory, handoff, batch: Batch, context: Context):
        """Real against fake images; the generator's statistics stay as they are."""
        keys = jax.random.split(context.key, 3)
        real, drawn = batch["image"], noise("latent", batch, keys[0])
        (fake,) = Passes(modules, nets, keys[1])("generator", drawn)
        fake = jax.lax.stop_gradient(fake)
        run = Passes(modules, nets, keys[1])
        loss = adversarial.discriminator(*run("discriminator", real, fake))
        metrics = {"discriminator": loss}
        if gradient_penalty:
            share = batch.get("interpolation")
            if share is None:
                share = jax.random.uniform(keys[2], (real.shape[0],), real.dtype)
            metrics["gradient_penalty"] = penalties.gradient_penalty(
                lambda x: run("discriminator", x)[0],
                real,
                fake,
                share,
                gradient_penalty.target,
                gradient_penalty.one_sided,
            )
            loss = loss + gradient_penalty.weight * metrics["gradient_penalty"]
        stats = {net: s for net, s in run.stats().items() if net == "discriminator"}
        return loss, Outcome(stats, {}, {"latent": drawn} if handed else {}, metrics)

    def generator(nets, memory, handoff, batch: Batch, context: Context):
        """Images that fool the discriminator."""
        run = Passes(modules, nets, context.key)
        drawn = handoff.get("latent")
        if drawn is None:
            drawn = noise("latent_generator", batch, jax.random.fold_in(context.key, 0))
        (fake,) = run("generator", drawn)
        if adversarial.relativistic:
            real, logits = run("discriminator", batch["image"], fake)
        else:
            real, (logits,) = None, run("discriminator", fake)
        loss = adversarial.generator(real, logits)
        return loss, Outcome(run.stats(), {}, {}, {"generator": loss})

    def init(key: jax.Array, batch: Batch):
        """Variables of both nets, from keys of their own."""
        images = batch["image"]
        latents = jax.ShapeDtypeStruct((images.shape[0], latent.size), images.dtype)
        given = {"generator": latents, "discriminator": images}
        return {
            name: modules[name].lazy_init(jax.random.fold_in(key, i), given[name], train=False)
            for i, name in enumerate(given)
        }, {}

    def sample(nets: dict[str, Variables], batch: Batch) -> dict[str, jax.Array]:
        """Images of the batch's latents, in evaluation mode."""
        made = modules["generator"].apply(nets["generator"], batch["latent"], train=False)
        return {"image": made}

    modules = dict(nets)
    judged = ("discriminator", "gradient_penalty") if gradient_penalty else ("discriminator",)
    return Game(
        nets=modules,
        players={"generator": ("generator",), "discriminator": ("discriminator",)},
        phases=(
            Phase(
                "discriminator",
                "discriminator",
                discriminator,
                judged,
                repeats=rounds,
                project=project,
            ),
            # The published discriminators' batch statistics move when the generator plays, too.
            Phase("generator", "generator", generator, ("generator",), stats=("discriminator",)),
        ),
        init=init,
        sample=sample,
        task="labelled",
        noise=lambda key, count, dtype: {"latent": latent.draw(key, count, dtype)},
    )
