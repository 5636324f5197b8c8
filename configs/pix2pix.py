"""pix2pix: paired image-to-image translation.

Paper: Isola, Zhu, Zhou, Efros, "Image-to-Image Translation with Conditional Adversarial Networks",
CVPR 2017, arXiv:1611.07004.

    python -m jaxgan.main --config=configs/pix2pix.py

paints the built-in scenes from their label maps (64 pixels, nothing to download).

    python -m jaxgan.main --config=configs/pix2pix.py:folder --config.data.path=DIR

trains on your own pairs with the published code's settings: 256 pixels cropped from 286, flips,
200 epochs. DIR holds pictures with both halves side by side (in train, and in test or val), or
trainA and trainB with files of the same names. `--config.data.direction=BtoA` goes the other way.

The paper's table of patch sizes is one study of four values, with `:folder`, since they need 256
pixels: `model.discriminator.kind=pixel` (1 x 1, configs/pixelgan.py), and
`model.discriminator.layers` of 1, 3, 5 (16, 70 and 286).

Presets (`:a,b` combines them): `smoke` takes seconds; `seasons` (built-in: summer to winter);
`folder`.
"""

from ml_collections import ConfigDict

from jaxgan import defaults
from jaxgan.commandline import select_presets


def get_config(presets: str = "") -> ConfigDict:
    """The default run on the built-in label maps, changed by the presets in order."""
    return select_presets(presets, PRESETS, defaults.paired())


PRESETS = {
    "smoke": defaults.paired_smoke,
    "seasons": defaults.seasons,
    "folder": defaults.paired_folder,
}
