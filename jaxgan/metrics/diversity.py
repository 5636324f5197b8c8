"""How far apart the images of one class, or made of one input, are among features."""

import numpy as np

from jaxgan.metrics.products import blocks


def mean_distance(features: np.ndarray) -> float:
    """The mean Euclidean distance of all pairs of different ones of [N, D], at least two."""
    if len(features) < 2:
        raise ValueError(f"a distance takes at least 2 features, not {len(features)}")
    total = 0.0
    for block in blocks({"all": features}, [("all", "all")]):
        distances = np.sqrt(block.squared())
        if block.diagonal:
            np.fill_diagonal(distances, 0)
        total += distances.sum() * (1 if block.diagonal else 2)
    return float(total / len(features) / (len(features) - 1))


def diversity(features: np.ndarray, groups: np.ndarray | None = None) -> float:
    """The mean over groups of `mean_distance` within them.

    What LPIPS diversity is of LPIPS's features (Zhu et al. 2017, arXiv:1711.11586), of any.

    Args:
      features: [N, D].
      groups: int [N], the class of each, or the input that it was made of; None: all are one.

    Raises:
      ValueError: where no group has two.
    """
    if groups is None:
        return mean_distance(features)
    parts = [features[groups == group] for group in np.unique(groups)]
    found = [mean_distance(part) for part in parts if len(part) > 1]
    if not found:
        raise ValueError("no class or input has two images, so that nothing differs within one")
    return float(np.mean(found))
