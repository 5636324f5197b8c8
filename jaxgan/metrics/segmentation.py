"""How well maps of classes agree: pure functions of integer maps."""

import numpy as np


def confusion(found: np.ndarray, truth: np.ndarray, classes: int) -> np.ndarray:
    """int64 [classes, classes]: how many pixels of true class i were found to be class j.

    Args:
      found, truth: integers of any one shape, from 0 to `classes - 1`.
    """
    pairs = truth.astype(np.int64).ravel() * classes + found.astype(np.int64).ravel()
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def agreement(counts: np.ndarray) -> dict[str, float]:
    """The three scores of Isola et al. 2017 (section 5.1; Long et al. 2015, section 5).

    Args:
      counts: as `confusion` gives it.

    Returns:
      `pixel_accuracy`: the share of pixels that are right; `class_accuracy`: the mean over classes
      of the share of their pixels that are right; `iou`: the mean over classes of intersection over
      union. Classes that the truth doesn't show don't count in the means.
    """
    right, true, found = np.diag(counts), counts.sum(1), counts.sum(0)
    shown = true > 0
    return {
        "pixel_accuracy": float(right.sum() / counts.sum()),
        "class_accuracy": float(np.mean(right[shown] / true[shown])),
        "iou": float(np.mean(right[shown] / (true + found - right)[shown])),
    }
