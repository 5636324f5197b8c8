"""How much should pix2pix's discriminator see: a pixel, 16 x 16, 70 x 70, or the whole image?

    python -m jaxgan.ablate --study=studies/patch_sizes.py --jobs=2

The paper's table of patch sizes on the built-in label maps.
"""

from jaxgan.study import Study


def get_study() -> Study:
    return Study(
        config="configs/pix2pix.py",
        arms={
            "pixel": {"model.discriminator.kind": "pixel"},
            "16 x 16": {"model.discriminator.layers": 1},
            "70 x 70": {"model.discriminator.layers": 3},
            "whole image": {"model.discriminator.layers": 5},
        },
        base="70 x 70",
        seeds=range(3),
        metric="iou",
        shown=["l1"],
        overrides={
            "data.image_size": 128,
        },
        budget=1.0,
    )
