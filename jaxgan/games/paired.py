"""Images with a truth beside them: pix2pix and PixelGAN (Isola et al. 2017, arXiv:1611.07004),
SRGAN (Ledig et al. 2017, arXiv:1609.04802) and ESRGAN (Wang et al. 2018, arXiv:1809.00219).

One generator, from an input to an output whose truth is known; one discriminator, which sees the
output (of pix2pix: beside the input), or the truth in its place. One step, in pix2pix's order: the
discriminator, then the generator on the same fakes, before the judge just taught. A run may begin
with steps of the generator alone, which is how super-resolution begins.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgan.games.game import Batch, Context, Game, Outcome, Phase, Segment
from jaxgan.games.passes import Passes
from jaxgan.losses.adversarial import AdversarialLoss
from jaxgan.losses.reconstruction import l1, without_constants
from jaxgan.state import Variables

MAKING = 1000  # folded into a move's key for the generator's noise: more than a move has passes


class Content(NamedTuple):
    """A distance between what is made and the truth.

    Attributes:
      name: of its metric.
      weight: in the generator's loss.
      distance: (fake, truth, constants) -> a scalar.
    """

    name: str
    weight: float
    distance: Callable[[jax.Array, jax.Array, Any], jax.Array]


class Pretraining(NamedTuple):
    """Steps at the start in which the generator learns alone; then its optimizer starts anew.

    Attributes:
      steps: how many.
      content: what it learns by.
    """

    steps: int
    content: Sequence[Content]


L1 = Content("l1", 100.0, without_constants(l1))  # pix2pix's


def paired(
    nets: dict[str, nn.Module],
    adversarial: AdversarialLoss | None,
    *,
    content: Sequence[Content] = (L1,),
    weight: float = 1.0,
    halved: bool = True,
    first: str = "discriminator",
    conditional: bool = True,
    deterministic: bool = False,
    pretraining: Pretraining | None = None,
    task: str = "paired",
) -> Game:
    """A game of inputs whose truth is known.

    Args:
      nets: Linen modules: `generator` (images -> images) and, for an adversarial loss,
        `discriminator` (images -> logits), both called with `train=`.
      adversarial: of logits. As published: cross-entropy. None: nobody judges.
      content: what else the generator learns by: pix2pix's L1 (eq. 4), features of a network.
      weight: of the adversarial loss in the generator's.
      halved: whether the discriminator's loss is, as pix2pix's, to slow it down.
      first: the player that moves first. The same fakes serve both moves.
      conditional: whether the discriminator sees the input (eq. 1) or the output alone (eq. 2).
      deterministic: whether outputs are made with running statistics and without dropout. pix2pix
        makes them as in training, each image a batch of its own: the noise is dropout.
      pretraining: steps of the generator alone, before.
      task: what it is played on: a name of `tasks.TASKS`.

    Returns:
      A `Game` on batches {"input": [N, H, W, C], "truth": [N, H', W', C']} in [-1, 1]. The losses
      in its metrics include their weights, as in the published codes.
    """

    def judged(given, image):
        return jnp.concatenate([given, image], axis=-1) if conditional else image

    def made(nets, batch, key):
        """The fakes, and what they do to the generator's statistics: equal in both moves."""
        run = Passes(modules, nets, jax.random.fold_in(key, 0))
        return run("generator", batch["input"])[0], run

    def discriminator(nets, memory, handoff, batch: Batch, context: Context):
        """Truth against fakes."""
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
        loss = (0.5 if halved else 1.0) * adversarial.discriminator(real, fake)
        return loss, Outcome(run.stats(), {}, given, {"discriminator": loss})

    def generator(nets, memory, handoff, batch: Batch, context: Context):
        """Fool the discriminator, and stay near the truth."""
        if "key" in handoff:
            shared = jax.random.wrap_key_data(handoff["key"])
        else:
            shared = jax.random.fold_in(context.key, MAKING)
        fake, making = made(nets, batch, shared)
        run, metrics = Passes(modules, nets, context.key), {}
        if adversarial is not None:
            pair, real = judged(batch["input"], fake), None
            if adversarial.relativistic:
                pair, real = run("discriminator", pair, judged(batch["input"], batch["truth"]))
            else:
                pair = run("discriminator", pair)[0]
            metrics["generator"] = weight * adversarial.generator(real, pair)
        metrics |= near(content, fake, batch, context)
        given = {"fake": jax.lax.stop_gradient(fake)} if first == "generator" else {}
        stats = {**making.stats(), **run.stats()}
        return sum(metrics.values()), Outcome(stats, {}, given, metrics)

    def alone(nets, memory, handoff, batch: Batch, context: Context):
        """Stay near the truth, while nobody judges."""
        fake, making = made(nets, batch, jax.random.fold_in(context.key, MAKING))
        metrics = near(pretraining.content, fake, batch, context)
        return sum(metrics.values()), Outcome(making.stats(), {}, {}, metrics)

    def near(terms, fake, batch, context):
        truth, constants = batch["truth"], context.constants
        return {t.name: t.weight * t.distance(fake, truth, constants) for t in terms}

    def init(key: jax.Array, batch: Batch):
        """Variables of both nets, from keys of their own."""
        given = {"generator": batch["input"]}
        if adversarial is not None:
            given["discriminator"] = jax.eval_shape(judged, batch["input"], batch["truth"])
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

    modules = {name: nets[name] for name in ("generator", "discriminator") if name in nets}
    losses = tuple(term.name for term in content)
    if adversarial is None:
        moves = [Phase("generator", "generator", generator, losses)]
    else:
        moves = [
            Phase("discriminator", "discriminator", discriminator, ("discriminator",)),
            # The published discriminators' batch statistics move when the generator plays, too.
            Phase(
                "generator",
                "generator",
                generator,
                ("generator", *losses),
                stats=("discriminator",),
            ),
        ]
    moves = moves if first == "discriminator" else moves[::-1]
    segments = ()
    if pretraining is not None:
        names = tuple(phase.name for phase in moves)
        lessons = tuple(term.name for term in pretraining.content)
        moves = [Phase("pretraining", "generator", alone, lessons), *moves]
        segments = (
            Segment(0, ("pretraining",)),
            Segment(pretraining.steps, names, fresh=("generator",)),
        )
    return Game(
        nets=modules,
        players={name: (name,) for name in modules},
        phases=tuple(moves),
        init=init,
        sample=sample,
        task=task,
        noise=None if deterministic else noise,
        segments=segments,
    )
