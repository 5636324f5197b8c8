"""How much should pix2pix's discriminator see: a pixel, 16 x 16, 70 x 70, or the whole image?

    python -m jaxgan.ablate --study=studies/patch_sizes.py --jobs=2

The paper's table of patch sizes (Isola et al. 2017, section 4.4), on the built-in label maps of 64
px. There 70 x 70 is what lies around a place, wherever that is; 142 x 142 is the image from any
place. `iou` says how much of the map a segmenter finds in the pictures, `l1` how far they are from
the true ones.
"""

from jaxgan.study import Study


def get_study() -> Study:
    """Four discriminators, three seeds."""
    return Study(
        config="configs/pix2pix.py",
        arms={
            "pixel": {"model.discriminator.kind": "pixel"},
            "16 x 16": {"model.discriminator.layers": 1},
            "70 x 70": {"model.discriminator.layers": 3},
            "whole image": {"model.discriminator.layers": 4},
        },
        base="70 x 70",
        seeds=range(3),
        metric="iou",
        shown=["l1", "psnr", "pixel_accuracy", "class_accuracy"],
        overrides={"train.steps": 2000, "evaluate.every": 500},
        budget=1.0,
    )
