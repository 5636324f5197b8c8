"""WGAN-GP: a critic whose gradient is held near length 1.

Paper: Gulrajani, Ahmed, Arjovsky, Dumoulin, Courville, "Improved Training of Wasserstein GANs",
NeurIPS 2017, arXiv:1704.00028.

    python -m jaxgan.main --config=configs/wgan_gp.py

draws the built-in glyphs (nothing to download) with DCGAN-like networks, no norm in the critic:
five rounds of the critic for one of the generator, penalty 10, Adam (0, 0.9), batches of 64. The
paper's rate is 1e-4; for the glyphs it is 5e-4, the networks are half as wide and samples are of
averaged weights.

    python -m jaxgan.main --config=configs/wgan_gp.py:cifar10,resnet --config.data.path=DIR

trains the paper's ResNets on CIFAR-10: 2e-4, falling to 0 over 100,000 steps, the generator's
batch twice the critic's.

Presets (`:a,b` combines them): `smoke` takes seconds; `resnet`; `mnist`, `cifar10` and `folder`
train on images at --config.data.path as published, and `published` on other data.
"""

from ml_collections import ConfigDict

from jaxgan import defaults
from jaxgan.commandline import select_presets


def get_config(presets: str = "") -> ConfigDict:
    """The default run on the built-in glyphs, changed by the presets in order."""
    c = defaults.synthesis()
    c.train.steps = 200000
    c.data.batch_size = 64
    c.train.critic_rounds = 5
    c.model.latent.size = 128
    c.model.discriminator.norm = "none"
    c.loss.adversarial = "wasserstein"
    c.penalty.gp.weight = 10.0
    defaults.adam(c, 1e-4, 0.0, 0.9)
    defaults.for_glyphs(c, presets, steps=4500, rate=5e-4)
    return select_presets(presets, PRESETS, c)


def resnet(config: ConfigDict) -> None:
    """The paper's residual networks, and how it trains them."""
    config.train.steps = 100000
    config.train.generator_multiple = 2
    for net in (config.model.generator, config.model.discriminator):
        net.kind = "resnet"
        net.width = 128
    defaults.adam(config, 2e-4, 0.0, 0.9)
    for player in ("generator", "discriminator"):
        config.optimizer[player].schedule = "to_zero"
    # What the paper adds with labels: --config.model.conditioning=auxiliary
    config.loss.classes.discriminator = 1.0
    config.loss.classes.generator = 0.1
    config.loss.classes.fake = False


PRESETS = {
    "smoke": defaults.smoke,
    "resnet": resnet,
    "published": defaults.published,
    "mnist": defaults.mnist,
    "cifar10": defaults.cifar10,
    "folder": defaults.folder,
}
