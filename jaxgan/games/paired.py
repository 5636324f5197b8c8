"""Paired image-to-image translation: pix2pix and PixelGAN (Isola et al. 2017, arXiv:1611.07004).

One generator, from an input to an output whose truth is known; one discriminator, which sees both:
the input beside the truth, or beside what the generator made of it. One step, in the published
order: the discriminator, then the generator on the same fakes, before the judge just taught.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgan.games.game import Batch, Context, Game, Outcome, Phase
from jaxgan.games.passes import Passes
from jaxgan.losses.adversarial import AdversarialLoss
from jaxgan.losses.reconstruction import l1 as mean_absolute
from jaxgan.state import Variables

MAKING = 1000  # folded into a move's key for the generator's noise: more than a move has passes


def paired(
    nets: dict[str, nn.Module],
    adversarial: AdversarialLoss,
    *,
    l1: float = 100.0,
    first: str = "discriminator",
    conditional: bool = True,
    deterministic: bool = False,
) -> Game:
    """The game of pix2pix.

    Args:
      nets: Linen modules: `generator` (images -> images) and `discriminator` (images -> logits),
        both called with `train=`.
      adversarial: of logits. As published: cross-entropy.
      l1: weight of the mean absolute difference from the truth (lambda, eq. 4); 0: it isn't built.
      first: the player that moves first. The same fakes serve both moves.
      conditional: whether the discriminator sees the input (eq. 1) or the output alone (eq. 2).
      deterministic: whether outputs are made with running statistics and without dropout. As
        published they are made as in training, each image a batch of its own: the noise is dropout.

    Returns:
      A `Game` on batches {"input": [N, H, W, C], "truth": [N, H, W, C']} in [-1, 1]. The losses in
      its metrics are the published code's, weights included: the discriminator's halved sum, the
      generator's two.
    """

    def judged(given, image):
        return jnp.concatenate([given, image], axis=-1) if conditional else image

    def made(nets, batch, key):
        """The fakes, and what they do to the generator's statistics: equal in both moves."""
        run = Passes(modules, nets, jax.random.fold_in(key, 0))
        return run("generator", batch["input"])[0], run

    def discriminator(nets, memory, handoff, batch: Batch, context: Context):
        """Truth against fakes; halved, as published, to slow it down beside the generator."""
        given = {}
        if "fake" in handoff:
            fake = handoff["fake"]
        else:
            shared = jax.random.fold_in(context.key, MAKING)
            fake, _ = made(nets, batch, shared)
            given = {"key": jax.random.key_data(shared)}
        fake = jax.lax.stop_gradient(fake)
        run = Passes(modules, nets, context.key)
        # The published order: fakes first, in which the running statistics go on.
        fake, real = run(
            "discriminator", judged(batch["input"], fake), judged(batch["input"], batch["truth"])
        )
        loss = 0.5 * adversarial.discriminator(real, fake)
        return loss, Outcome(run.stats(), {}, given, {"discriminator": loss})

    def generator(nets, memory, handoff, batch: Batch, context: Context):
        """Fool the discriminator, and stay near the truth."""
        if "key" in handoff:
            shared = jax.random.wrap_key_data(handoff["key"])
        else:
            shared = jax.random.fold_in(context.key, MAKING)
        fake, making = made(nets, batch, shared)
        run = Passes(modules, nets, context.key)
        pair = judged(batch["input"], fake)
        if adversarial.relativistic:
            pair, real = run("discriminator", pair, judged(batch["input"], batch["truth"]))
            metrics = {"generator": adversarial.generator(real, pair)}
        else:
            metrics = {"generator": adversarial.generator(None, run("discriminator", pair)[0])}
        if l1:
            metrics["l1"] = l1 * mean_absolute(fake, batch["truth"])
        given = {"fake": jax.lax.stop_gradient(fake)} if first == "generator" else {}
        stats = {**making.stats(), **run.stats()}
        return sum(metrics.values()), Outcome(stats, {}, given, metrics)

    def init(key: jax.Array, batch: Batch):
        """Variables of both nets, from keys of their own."""
        pair = jax.eval_shape(judged, batch["input"], batch["truth"])
        given = {"generator": batch["input"], "discriminator": pair}
        return {
            name: modules[name].lazy_init(jax.random.fold_in(key, i), given[name], train=False)
            for i, name in enumerate(given)
        }, {}

    def sample(nets: dict[str, Variables], batch: Batch) -> dict[str, jax.Array]:
        """Outputs for the batch's inputs; as in training, with the noise that the batch brings."""
        net, variables = modules["generator"], nets["generator"]
        if deterministic:
            return {"fake": net.apply(variables, batch["input"], train=False)}
        kept = [name for name in variables if name != "params"]

        def one(image, noise):
            rngs = {"dropout": jax.random.wrap_key_data(noise)}
            return net.apply(variables, image[None], train=True, rngs=rngs, mutable=kept)[0][0]

        return {"fake": jax.vmap(one)(batch["input"], batch["noise"])}

    def noise(key: jax.Array, count: int, dtype):
        return {"noise": jax.random.key_data(jax.random.split(key, count))}

    modules = dict(nets)
    losses = ("generator", *(("l1",) if l1 else ()))
    moves = [
        Phase("discriminator", "discriminator", discriminator, ("discriminator",)),
        # The published discriminators' batch statistics move when the generator plays, too.
        Phase("generator", "generator", generator, losses, stats=("discriminator",)),
    ]
    return Game(
        nets=modules,
        players={"generator": ("generator",), "discriminator": ("discriminator",)},
        phases=tuple(moves if first == "discriminator" else moves[::-1]),
        init=init,
        sample=sample,
        task="paired",
        noise=None if deterministic else noise,
    )
