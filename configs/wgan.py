"""WGAN: a critic whose weights are clipped.

Paper: Arjovsky, Chintala, Bottou, "Wasserstein Generative Adversarial Networks", ICML 2017,
arXiv:1701.07875.

    python -m jaxgan.main --config=configs/wgan.py

draws the built-in glyphs (nothing to download) with DCGAN's networks: five rounds of the critic for
one of the generator, RMSProp, weights clipped to [-0.01, 0.01]. The paper's rate is 5e-5; for the
glyphs it is 2e-4, the networks are half as wide and samples are of averaged weights.

Presets (`:a,b` combines them): `smoke` takes seconds; `warmup`: 100 rounds in the first 25 steps
and in every 500th, as the published code has it and the paper doesn't say; `mnist`, `cifar10` and
`folder` train on images at --config.data.path as published, and `published` on other data.
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
    c.loss.adversarial = "wasserstein"
    c.penalty.clip.limit = 0.01
    for player in ("generator", "discriminator"):
        c.optimizer[player].update({"name": "rmsprop", "learning_rate": 5e-5, "b2": 0.99})
    defaults.for_glyphs(c, presets, steps=3500, rate=2e-4)
    return select_presets(presets, PRESETS, c)


def warmup(config: ConfigDict) -> None:
    """The published code's: the critic is ahead at the start, and again from time to time."""
    config.train.warmup.rounds = 100
    config.train.warmup.steps = 25
    config.train.warmup.every = 500


PRESETS = {
    "smoke": defaults.smoke,
    "warmup": warmup,
    "published": defaults.published,
    "mnist": defaults.mnist,
    "cifar10": defaults.cifar10,
    "folder": defaults.folder,
}
