"""LSGAN: least squares instead of cross-entropy.

Paper: Mao, Li, Xie, Lau, Wang, Smolley, "Least Squares Generative Adversarial Networks", ICCV 2017,
arXiv:1611.04076.

    python -m jaxgan.main --config=configs/lsgan.py

draws the built-in glyphs (nothing to download) with DCGAN's networks, half as wide and averaged.
Fake images are to get a = 0, real ones b = 1; the generator wants c = 1 (the paper's eq. 9). The
paper's other choice (eq. 8), a = -1, b = 1, c = 0, minimises Pearson's chi-squared divergence:
`--config.loss.labels.fake=-1 --config.loss.labels.wanted=0`.

Presets (`:a,b` combines them): `smoke` takes seconds; `mnist`, `cifar10` and `folder` train on
images at --config.data.path as published, and `published` on other data by --config.data.name.
"""

from ml_collections import ConfigDict

from jaxgan import defaults
from jaxgan.commandline import select_presets


def get_config(presets: str = "") -> ConfigDict:
    """The default run on the built-in glyphs, changed by the presets in order."""
    c = defaults.synthesis()
    c.train.steps = 100000
    c.data.batch_size = 128
    c.loss.adversarial = "lsgan"
    c.loss.labels = ConfigDict({"fake": 0.0, "real": 1.0, "wanted": 1.0})  # a, b, c
    c.loss.weight = ConfigDict({"discriminator": 0.5, "generator": 0.5})  # the halves of eq. 2
    c.train.handed = True
    defaults.adam(c, 1e-3, 0.5, 0.99)
    defaults.for_glyphs(c, presets, steps=7000)
    return select_presets(presets, PRESETS, c)


PRESETS = {
    "smoke": defaults.smoke,
    "published": defaults.published,
    "mnist": defaults.mnist,
    "cifar10": defaults.cifar10,
    "folder": defaults.folder,
}
