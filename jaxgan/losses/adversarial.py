"""Adversarial losses, as pairs of functions of logits.

Each loss is an `AdversarialLoss(discriminator, generator)`; both take the discriminator's logits
on real and on fake images (any shape, the same for both) and return a scalar to be minimised.
The losses of the discriminator are sums over real and fake, not halved: a game that halves
(CycleGAN, pix2pix) does so itself.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import relu, softplus


class AdversarialLoss(NamedTuple):
    """How the players see the discriminator's logits.

    Attributes:
      discriminator: (real logits, fake logits) -> the discriminator's loss.
      generator: (real logits, fake logits) -> the generator's loss.
      relativistic: whether the generator's loss depends on the real logits. Where it doesn't,
        `generator` may be called with None for them.
    """

    discriminator: Callable[[jax.Array, jax.Array], jax.Array]
    generator: Callable[[jax.Array | None, jax.Array], jax.Array]
    relativistic: bool = False


def lsgan(fake_label: float = 0.0, real_label: float = 1.0, wanted: float = 1.0):
    """Least squares (Mao et al. 2017, eq. 2 without the halves): labels a, b and c.

    D: mean (D(x) - b)^2 + mean (D(G(z)) - a)^2;  G: mean (D(G(z)) - c)^2.
    """

    def discriminator(real, fake):
        return jnp.mean((real - real_label) ** 2) + jnp.mean((fake - fake_label) ** 2)

    return AdversarialLoss(discriminator, lambda real, fake: jnp.mean((fake - wanted) ** 2))


def bce(smoothing: float = 0.0):
    """Binary cross-entropy on logits, the generator's in the non-saturating form (Goodfellow 2014).

    D: mean softplus(-D(x)) + mean softplus(D(G(z)));  G: mean softplus(-D(G(z))).

    Args:
      smoothing: one-sided label smoothing (Salimans et al. 2016, section 3.4): the label of real
        images is 1 - smoothing, which adds smoothing * mean D(x) to D's loss.
    """

    def discriminator(real, fake):
        loss = jnp.mean(softplus(-real)) + jnp.mean(softplus(fake))
        return loss + smoothing * jnp.mean(real) if smoothing else loss

    return AdversarialLoss(discriminator, lambda real, fake: jnp.mean(softplus(-fake)))


def saturating(smoothing: float = 0.0):
    """One value that D raises and G lowers (Goodfellow 2014, eq. 1).

    D: as `bce`;  G: mean log(1 - sigmoid(D(G(z)))) = -mean softplus(D(G(z))). Its slope vanishes
    where D is sure, which is why `bce` is what is used.
    """
    discriminator = bce(smoothing).discriminator
    return AdversarialLoss(discriminator, lambda real, fake: -jnp.mean(softplus(fake)))


def hinge():
    """Hinge (Lim & Ye 2017; Miyato et al. 2018, eqs. 16 and 17).

    D: mean relu(1 - D(x)) + mean relu(1 + D(G(z)));  G: -mean D(G(z)).
    """

    def discriminator(real, fake):
        return jnp.mean(relu(1 - real)) + jnp.mean(relu(1 + fake))

    return AdversarialLoss(discriminator, lambda real, fake: -jnp.mean(fake))


def wasserstein():
    """The critic's mean difference (Arjovsky et al. 2017, eq. 2, signs for minimising).

    D: mean D(G(z)) - mean D(x);  G: -mean D(G(z)). It needs a bounded critic: clipping or a
    penalty.
    """
    return AdversarialLoss(
        lambda real, fake: jnp.mean(fake) - jnp.mean(real),
        lambda real, fake: -jnp.mean(fake),
    )


def relativistic():
    """Relativistic pairs (Jolicoeur-Martineau 2018; R3GAN, Huang et al. 2024, eq. 2).

    D: mean softplus(D(G(z)) - D(x));  G: mean softplus(D(x) - D(G(z))), real i against fake i.
    """
    return AdversarialLoss(
        lambda real, fake: jnp.mean(softplus(fake - real)),
        lambda real, fake: jnp.mean(softplus(real - fake)),
        relativistic=True,
    )


def relativistic_average():
    """Relativistic to the mean of the others (Jolicoeur-Martineau 2018, section 4; ESRGAN).

    With r = D(x) - mean D(G(z)) and f = D(G(z)) - mean D(x):
    D: mean softplus(-r) + mean softplus(f);  G: mean softplus(r) + mean softplus(-f). The means are
    taken over all logits of the (micro-)batch.
    """

    def judged(real, fake):
        return real - jnp.mean(fake), fake - jnp.mean(real)

    def discriminator(real, fake):
        r, f = judged(real, fake)
        return jnp.mean(softplus(-r)) + jnp.mean(softplus(f))

    def generator(real, fake):
        r, f = judged(real, fake)
        return jnp.mean(softplus(r)) + jnp.mean(softplus(-f))

    return AdversarialLoss(discriminator, generator, relativistic=True)


def weighted(loss: AdversarialLoss, discriminator: float, generator: float) -> AdversarialLoss:
    """`loss` times a number for each player, such as the halves of Mao et al. 2017, eq. 2."""
    return AdversarialLoss(
        lambda real, fake: discriminator * loss.discriminator(real, fake),
        lambda real, fake: generator * loss.generator(real, fake),
        loss.relativistic,
    )
