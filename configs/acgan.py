"""ACGAN: a discriminator that also says which class it sees.

Paper: Odena, Olah, Shlens, "Conditional Image Synthesis with Auxiliary Classifier GANs", ICML 2017,
arXiv:1610.09585.

    python -m jaxgan.main --config=configs/acgan.py

draws the built-in glyphs by class (nothing to download). Both players are rewarded for classes
that can be told: `loss.classes.discriminator` and `loss.classes.generator` weigh that against
`loss.adversarial`. The generator's weight is 0.1 and the discriminator learns classes from real
images alone, as WGAN-GP's authors did it: with the paper's 1, and from fakes too, the players agree
on marks for the classes, and after 6,000 steps half as many glyphs can be read. The discriminator's
is 0.03: with 1 its features serve the classes, which don't depend on how bright a stroke is, and
the strokes' greys spread less and less. The networks are DCGAN's, but for R1 in place of the
discriminator's batch norm and a higher rate.

Presets (`:a,b` combines them): `smoke` takes seconds; `paper`: weights 1, classes of fakes, batch
norm, Adam 2e-4 (0.5, 0.999); `mnist`, `cifar10` and `folder` (a sub-folder for each class) train on
images at --config.data.path.
"""

from ml_collections import ConfigDict

from jaxgan import defaults
from jaxgan.commandline import select_presets


def get_config(presets: str = "") -> ConfigDict:
    """The default run on the built-in glyphs, changed by the presets in order."""
    c = defaults.synthesis()
    c.model.conditioning = "auxiliary"
    c.loss.adversarial = "bce"
    c.loss.classes.discriminator = 0.03
    c.loss.classes.generator = 0.1
    c.loss.classes.fake = False
    defaults.with_r1(c)
    c.penalty.r1.weight = 0.01
    c.train.steps = 11000
    return select_presets(presets, PRESETS, c)


def paper(config: ConfigDict) -> None:
    """Odena et al.'s losses, with DCGAN's batch norm and Adam."""
    defaults.without_r1(config)
    config.loss.classes.discriminator = 1.0
    config.loss.classes.generator = 1.0
    config.loss.classes.fake = True


PRESETS = {
    "smoke": defaults.smoke,
    "paper": paper,
    "mnist": defaults.mnist,
    "cifar10": defaults.cifar10,
    "folder": defaults.folder,
}
