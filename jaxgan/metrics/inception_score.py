"""Inception Score (Salimans et al. 2016, arXiv:1606.03498): sure of each image, varied over all."""

import numpy as np
from scipy.special import log_softmax


def inception_score(logits: np.ndarray, splits: int = 10) -> tuple[float, float]:
    """exp of the mean KL(p(y|x) || p(y)), in each of `splits` parts in their order.

    Args:
      logits: [N, classes].
      splits: parts of (nearly) equal size, of each of which p(y) is the mean.

    Returns:
      Mean and deviation (that of the parts, divided by their number) over parts.

    Raises:
      ValueError: for fewer images than parts.
    """
    if not 1 <= splits <= len(logits):
        raise ValueError(f"{len(logits)} images can't be split into {splits} parts")
    logs = log_softmax(np.asarray(logits, np.float64), axis=1)
    found = []
    for i in range(splits):
        part = logs[i * len(logs) // splits : (i + 1) * len(logs) // splits]
        p = np.exp(part)
        mean = p.mean(0)
        marginal = np.log(mean, out=np.zeros_like(mean), where=mean > 0)
        found.append(np.exp((p * (part - marginal)).sum(1).mean()))
    return float(np.mean(found)), float(np.std(found))
