"""DCGAN: images of noise by convolutions alone.

Paper: Radford, Metz, Chintala, "Unsupervised Representation Learning with Deep Convolutional
Generative Adversarial Networks", ICLR 2016, arXiv:1511.06434.

    python -m jaxgan.main --config=configs/dcgan.py

draws the built-in glyphs (nothing to download) with batches of 128, 100 numbers of noise, batch
norm, N(0, 0.02). So that they learn in minutes, networks are half as wide, the rate is 5e-4 and
samples are of averaged weights. Images at --config.data.path are trained on with the paper's
Adam 2e-4 (0.5, 0.999), 64 features and no averages by the presets `mnist`, `cifar10`, `folder`,
and other data by `published` and --config.data.name. The noise is normal, as most codes have it;
the paper's is uniform (`--config.model.latent.law=uniform`).

Presets (`:a,b` combines them): these, and `smoke`, which takes seconds. Any power of two from 8 on
is a size: --config.data.image_size=128.
"""

from ml_collections import ConfigDict

from jaxgan import defaults
from jaxgan.commandline import select_presets


def get_config(presets: str = "") -> ConfigDict:
    """The default run on the built-in glyphs, changed by the presets in order."""
    c = defaults.synthesis()
    c.train.steps = 100000
    c.data.batch_size = 128
    c.model.latent.size = 100
    for net in (c.model.generator, c.model.discriminator):
        net.kind = "dcgan"
        net.norm = "batch"
    c.loss.adversarial = "bce"
    c.train.handed = True  # as in PyTorch's example: both play with the same noise
    defaults.adam(c, 2e-4, 0.5, 0.999)
    defaults.for_glyphs(c, presets, steps=7000, rate=5e-4)
    return select_presets(presets, PRESETS, c)


PRESETS = {
    "smoke": defaults.smoke,
    "published": defaults.published,
    "mnist": defaults.mnist,
    "cifar10": defaults.cifar10,
    "folder": defaults.folder,
}
