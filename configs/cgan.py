"""CGAN: images of a class that is asked for.

Papers: Mirza, Osindero, "Conditional Generative Adversarial Nets", 2014, arXiv:1411.1784;
Miyato, Koyama, "cGANs with Projection Discriminator", ICLR 2018, arXiv:1802.05637.

    python -m jaxgan.main --config=configs/cgan.py

draws the built-in glyphs by class (nothing to download): both networks are DCGAN's; the
generator gets the class beside its noise, the discriminator as further channels of the image.
`--config.model.conditioning=projection` gives the discriminator the second paper's head instead.
The papers leave the rest open: here the discriminator has R1 in place of batch norm, and the rate
is higher, which reads five times as many glyphs right after as many steps.

Presets (`:a,b` combines them): `smoke` takes seconds; `mlp`: the first paper's networks and SGD;
`dcgan`: DCGAN's batch norm and Adam; `mnist`, `cifar10` and `folder` (a sub-folder for each class)
train on images at --config.data.path.
"""

from ml_collections import ConfigDict

from jaxgan import defaults
from jaxgan.commandline import select_presets


def get_config(presets: str = "") -> ConfigDict:
    """The default run on the built-in glyphs, changed by the presets in order."""
    c = defaults.synthesis()
    c.model.conditioning = "concatenation"
    c.loss.adversarial = "bce"
    defaults.with_r1(c)
    return select_presets(presets, PRESETS, c)


def mlp(config: ConfigDict) -> None:
    """Mirza & Osindero's networks for MNIST: label and noise, label and image joined late."""
    config.data.batch_size = 100
    config.penalty.r1.weight = 0.0
    config.ema.half_life = 0.0
    config.model.conditioning = "concatenation"
    config.model.latent.law = "uniform"
    g, d = config.model.generator, config.model.discriminator
    g.kind = d.kind = "cgan_mlp"
    g.norm = d.norm = "none"
    g.widths, g.output, g.dropout = "200,1000,1200", "sigmoid", 0.5
    d.widths, d.dropout = "240,50,240", 0.5
    for player in ("generator", "discriminator"):
        o = config.optimizer[player]
        o.name = "momentum"
        o.learning_rate, o.schedule, o.decay, o.lowest = 0.1, "exponential", 1.00004, 1e-6
        o.b1, o.last_b1, o.last_b1_images = 0.5, 0.7, 250 * 60000.0


def smoke(config: ConfigDict) -> None:
    """A few steps of tiny networks on tiny images: seconds."""
    defaults.smoke(config)
    for net in (config.model.generator, config.model.discriminator):
        net.widths = "8,8,8"


PRESETS = {
    "smoke": smoke,
    "mlp": mlp,
    "dcgan": defaults.without_r1,
    "mnist": defaults.mnist,
    "cifar10": defaults.cifar10,
    "folder": defaults.folder,
}
