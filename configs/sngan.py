"""SNGAN: a discriminator whose every layer has spectral norm 1.

Paper: Miyato, Kataoka, Koyama, Yoshida, "Spectral Normalization for Generative Adversarial
Networks", ICLR 2018, arXiv:1802.05957.

    python -m jaxgan.main --config=configs/sngan.py

draws the built-in glyphs (nothing to download) with DCGAN-like networks: hinge loss, five rounds
of the discriminator for one of the generator, Adam (0, 0.9), batches of 64. The paper's rate is
2e-4; for the glyphs it is 5e-4, the networks are half as wide and samples are of averaged weights.

    python -m jaxgan.main --config=configs/sngan.py:cifar10,resnet --config.data.path=DIR

trains the paper's ResNets on CIFAR-10; the rate falls to 0 over 100,000 steps.

Presets (`:a,b` combines them): `smoke` takes seconds; `resnet`; `mnist`, `cifar10` and `folder`
train on images at --config.data.path as published, and `published` on other data.
"""

from ml_collections import ConfigDict

from jaxgan import defaults
from jaxgan.commandline import select_presets


def get_config(presets: str = "") -> ConfigDict:
    """The default run on the built-in glyphs, changed by the presets in order."""
    c = defaults.synthesis()
    c.train.steps = 100000
    c.data.batch_size = 64
    c.train.critic_rounds = 5
    c.model.latent.size = 128
    c.model.discriminator.norm = "none"
    c.model.discriminator.spectral = True
    c.loss.adversarial = "hinge"
    defaults.adam(c, 2e-4, 0.0, 0.9)
    defaults.for_glyphs(c, presets, steps=4500, rate=5e-4)
    return select_presets(presets, PRESETS, c)


def resnet(config: ConfigDict) -> None:
    """The paper's residual networks, and how it trains them."""
    config.train.steps = 100000
    config.train.generator_multiple = 2
    for net, width in ((config.model.generator, 256), (config.model.discriminator, 128)):
        net.kind = "resnet"
        net.width = width
    config.model.discriminator.pool = "sum"
    for player in ("generator", "discriminator"):
        config.optimizer[player].schedule = "to_zero"


PRESETS = {
    "smoke": defaults.smoke,
    "resnet": resnet,
    "published": defaults.published,
    "mnist": defaults.mnist,
    "cifar10": defaults.cifar10,
    "folder": defaults.folder,
}
