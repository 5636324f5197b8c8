"""Which losses reach all modes of a ring of eight Gaussians, without a penalty, with R1, with GP?

    python -m jaxgan.ablate --study=studies/ring_losses.py --vmap_seeds --jobs=2

`modes` counts those that the averaged generator reaches; eight is all. `high_quality` is the share
of its samples within three deviations of a mode.
"""

from jaxgan.study import Study, product

LOSSES = ("bce", "lsgan", "hinge", "wasserstein", "saturating", "relativistic")


def get_study() -> Study:
    """Six losses times three penalties, twelve seeds, one round of the discriminator."""
    return Study(
        config="configs/toy.py",
        arms=product(
            loss={name: {"loss.adversarial": name} for name in LOSSES},
            penalty={
                "no penalty": {"penalty.gp.weight": 0.0},
                "R1": {"penalty.gp.weight": 0.0, "penalty.r1.weight": 0.1},
                "GP": {"penalty.gp.weight": 0.1},
            },
        ),
        base="bce, no penalty",
        seeds=range(12),
        metric="modes",
        shown=["high_quality", "reverse_kl"],
        overrides={
            "train.critic_rounds": 1,
            "train.steps": 2000,
            "evaluate.every": 500,
            "checkpoint.every": 1000,
        },
        budget=0.5,
    )
