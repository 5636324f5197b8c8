"""PixelGAN: pix2pix with a discriminator that sees every pixel alone.

Paper: Isola, Zhu, Zhou, Efros, "Image-to-Image Translation with Conditional Adversarial Networks",
CVPR 2017, arXiv:1611.07004, sections 4.4 and 6.1.2: such a judge teaches colours, not sharpness.

    python -m jaxgan.main --config=configs/pixelgan.py

paints the built-in scenes from their label maps (64 pixels, nothing to download); all else is as in
configs/pix2pix.py.

Presets (`:a,b` combines them): `smoke` takes seconds; `seasons`; `folder`.
"""

from ml_collections import ConfigDict

from jaxgan import defaults
from jaxgan.commandline import select_presets


def get_config(presets: str = "") -> ConfigDict:
    """The default run on the built-in label maps, changed by the presets in order."""
    c = defaults.paired()
    c.model.discriminator.kind = "pixel"
    return select_presets(presets, PRESETS, c)


PRESETS = {
    "smoke": defaults.paired_smoke,
    "seasons": defaults.seasons,
    "folder": defaults.paired_folder,
}
