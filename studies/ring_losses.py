"""Which losses reach all modes of a ring of eight Gaussians, with and without R1?

    python -m jaxgan.ablate --study=studies/ring_losses.py

`modes` counts those that the averaged generator reaches; eight is all.
"""

from jaxgan.study import Study, product

LOSSES = ("bce", "lsgan", "hinge", "wasserstein", "saturating", "relativistic")


def get_study() -> Study:
    """Six losses with and without R1, five seeds, as wide and as long as configs/toy.py."""
    return Study(
        config="configs/toy.py",
        arms=product(
            loss={name: {"loss.adversarial": name} for name in LOSSES},
            penalty={"no penalty": {}, "R1": {"penalty.r1.weight": 0.1}},
        ),
        base="bce, no penalty",
        seeds=range(5),
        metric="modes",
        overrides={"train.seeds": 1, "train.critic_rounds": 1, "penalty.gp.weight": 0.0},
    )
