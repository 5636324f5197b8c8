"""CycleGAN: unpaired image-to-image translation (Zhu et al. 2017, arXiv:1703.10593).

Two generators, AtoB and BtoA, and two discriminators: `discriminator_A` judges domain A (the
published code calls it `D_B`, after the generator that it teaches). One step, in the published
order: both generators in one move; then both discriminators, each on its real batch and on what
its image pool answers to this step's fakes.
"""

import jax
from flax import linen as nn

from jaxgan.games.game import Batch, Context, Game, Outcome, Phase
from jaxgan.games.passes import Passes
from jaxgan.losses.adversarial import AdversarialLoss
from jaxgan.losses.reconstruction import l1
from jaxgan.memory import image_pool
from jaxgan.state import Variables

GENERATORS = ("generator_AtoB", "generator_BtoA")
DISCRIMINATORS = ("discriminator_A", "discriminator_B")


def cyclegan(
    nets: dict[str, nn.Module],
    adversarial: AdversarialLoss,
    *,
    cycle: float = 10.0,
    cycles: str = "both",
    identity: float = 0.5,
    pool_size: int = 50,
    first: str = "generators",
) -> Game:
    """The game of CycleGAN.

    Args:
      nets: Linen modules by name: `generator_AtoB`, `generator_BtoA` (images -> images) and
        `discriminator_A`, `discriminator_B` (images -> logits), all called with `train=`.
      adversarial: of logits. As published: least squares.
      cycle: weight of both cycle losses (lambda, eq. 3). With 0 neither the reconstructions nor
        the identity passes are built.
      cycles: both, forward (A to B and back alone) or backward (section 5.1.4).
      identity: weight of both identity losses, *times* `cycle`, as published (section 5.2). With
        0 the identity passes aren't built.
      pool_size: images that each pool holds; with 0 there is no pool.
      first: the player that moves first. Discriminators that move first judge fakes of their
        own making, since none have been handed over.

    Returns:
      A `Game` on batches {"A": [N, H, W, C], "B": [N, H, W, C]} in [-1, 1]. The losses in its
      metrics are the published code's eight, weights included.
    """

    if not cycle:
        identity = 0.0
    forward, backward = (bool(cycle) and cycles in (way, "both") for way in ("forward", "backward"))

    def generators(nets, memory, handoff, batch: Batch, context: Context):
        """Both generators: fool the discriminators, come back, leave the other domain alone."""
        run = Passes(modules, nets, context.key)
        real_A, real_B = batch["A"], batch["B"]
        if not identity or any(run.in_order(net) for net in GENERATORS):
            # The published order of passes, in which batch norm's running statistics go on.
            (fake_B,) = run("generator_AtoB", real_A)
            if forward:
                (rec_A,) = run("generator_BtoA", fake_B)
            (fake_A,) = run("generator_BtoA", real_B)
            if backward:
                (rec_B,) = run("generator_AtoB", fake_A)
            if identity:
                (same_B,) = run("generator_AtoB", real_B)
                (same_A,) = run("generator_BtoA", real_A)
        else:
            fake_B, same_B = run("generator_AtoB", real_A, real_B)
            fake_A, same_A = run("generator_BtoA", real_B, real_A)
            if forward:
                (rec_A,) = run("generator_BtoA", fake_B)
            if backward:
                (rec_B,) = run("generator_AtoB", fake_A)

        metrics = {
            "generator_AtoB": _fool(run, adversarial, "discriminator_B", real_B, fake_B),
            "generator_BtoA": _fool(run, adversarial, "discriminator_A", real_A, fake_A),
        }
        if forward:
            metrics["cycle_A"] = cycle * l1(rec_A, real_A)
        if backward:
            metrics["cycle_B"] = cycle * l1(rec_B, real_B)
        if identity:
            metrics["identity_A"] = cycle * identity * l1(same_A, real_A)
            metrics["identity_B"] = cycle * identity * l1(same_B, real_B)
        handoff = {"fake_A": fake_A, "fake_B": fake_B}
        return sum(metrics.values()), Outcome(run.stats(), {}, handoff, metrics)

    def discriminators(nets, memory, handoff, batch: Batch, context: Context):
        """Both discriminators: real against what the pools answer to the fakes; halved."""
        run = Passes(modules, nets, context.key)
        if not handoff:
            handoff = {
                "fake_B": run("generator_AtoB", batch["A"])[0],
                "fake_A": run("generator_BtoA", batch["B"])[0],
            }
        metrics, pools = {}, {}
        for i, domain in enumerate("AB"):
            net, slot = f"discriminator_{domain}", f"pool_{domain}"
            fake = jax.lax.stop_gradient(handoff[f"fake_{domain}"])
            if pool_size:
                key = jax.random.fold_in(context.key, i)
                fake, pools[slot] = image_pool.query(memory[slot], fake, key)
            logits = run(net, batch[domain], fake)
            metrics[net] = 0.5 * adversarial.discriminator(*logits)
        return sum(metrics.values()), Outcome(run.stats(), pools, {}, metrics)

    def init(key: jax.Array, batch: Batch):
        """Variables of the four nets, from keys of their own, and two empty pools."""
        variables = {
            name: modules[name].lazy_init(
                jax.random.fold_in(key, i), batch[_input(name)], train=False
            )
            for i, name in enumerate((*GENERATORS, *DISCRIMINATORS))
        }
        pools = {
            f"pool_{domain}": image_pool.init(pool_size, batch[domain].shape[1:], batch["A"].dtype)
            for domain in "AB"
            if pool_size
        }
        return variables, pools

    def sample(nets: dict[str, Variables], batch: Batch) -> dict[str, jax.Array]:
        """Translations and reconstructions of the domains in the batch, in evaluation mode.

        Where only one generator is given, what it makes.
        """
        made = {}
        for source, target in (pair for pair in ("AB", "BA") if pair[0] in batch):
            there, back = f"generator_{source}to{target}", f"generator_{target}to{source}"
            if there in nets:
                fake = modules[there].apply(nets[there], batch[source], train=False)
                made[f"fake_{target}"] = fake
                if back in nets:
                    made[f"rec_{source}"] = modules[back].apply(nets[back], fake, train=False)
        return made

    modules = dict(nets)
    pools = ("pool_A", "pool_B") if pool_size else ()
    losses = GENERATORS
    losses += ("cycle_A",) * forward + ("cycle_B",) * backward
    if identity:
        losses += ("identity_A", "identity_B")
    moves = [
        # The published discriminators' batch statistics move when the generators play, too.
        Phase("generators", "generators", generators, losses, stats=DISCRIMINATORS),
        Phase("discriminators", "discriminators", discriminators, DISCRIMINATORS, memory=pools),
    ]
    return Game(
        nets=modules,
        players={"generators": GENERATORS, "discriminators": DISCRIMINATORS},
        phases=tuple(moves if first == "generators" else moves[::-1]),
        init=init,
        sample=sample,
    )


def _input(net: str) -> str:
    """The domain whose images a net takes: generator_AtoB -> A, discriminator_B -> B."""
    return net.removeprefix("generator_").removeprefix("discriminator_")[0]


def _fool(run, adversarial: AdversarialLoss, discriminator: str, real, fake):
    """The generator's adversarial loss; real logits only where the loss looks at them."""
    if adversarial.relativistic:
        real, fake = run(discriminator, real, fake)
        return adversarial.generator(real, fake)
    (fake,) = run(discriminator, fake)
    return adversarial.generator(None, fake)
