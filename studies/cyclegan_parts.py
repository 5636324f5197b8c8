"""What makes CycleGAN work: which of its parts does the translation of the built-in scenes need?

    python -m jaxgan.ablate --study=studies/cyclegan_parts.py --jobs=2

`psnr_AtoB` is the PSNR of 64 translated test scenes to the same scenes in winter, which are known
and never trained on; `psnr_BtoA` is the way back.
"""

from jaxgan.study import Study


def get_study() -> Study:
    """The whole game, and five games that lack a part: 48 px, half as wide as the default."""
    return Study(
        config="configs/cyclegan.py",
        arms={
            "full": {},
            "no cycle loss": {"loss.cycle": 0.0},
            "no identity loss": {"loss.identity": 0.0},
            "no pool": {"pool.size": 0},
            "one direction": {"loss.cycles": "forward"},
            "batch norm": {"model.generator.norm": "batch", "model.discriminator.norm": "batch"},
        },
        seeds=range(3),
        metric="psnr_AtoB",
        shown=["psnr_BtoA"],
        overrides={
            "data.image_size": 48,
            "model.generator.width": 16,
            "model.discriminator.width": 16,
            "train.steps": 1500,
        },
        budget=1.5,
    )
