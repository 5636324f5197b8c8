"""Distances between images and their truth: pure functions of NHWC arrays in [-1, 1]."""

import numpy as np


def psnr(images: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio of each image in dB: 10 log10(2^2 / mean squared error).

    Args:
      images, truth: [N, H, W, C] in [-1, 1], so that the peak is 2.

    Returns:
      float64 [N]; infinite where an image equals its truth.
    """
    error = np.mean((images.astype(np.float64) - truth.astype(np.float64)) ** 2, (1, 2, 3))
    with np.errstate(divide="ignore"):
        return 10 * np.log10(4 / error)


def l1(images: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Mean absolute difference of each image, float64 [N]."""
    return np.mean(np.abs(images.astype(np.float64) - truth.astype(np.float64)), (1, 2, 3))


def affine_psnr(images: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """PSNR that the best affine map of colours reaches, fitted on these very pairs.

    What no translation may be proud of: a mere tint, with full knowledge of the answers.

    Args:
      images, truth: [N, H, W, C] in [-1, 1].

    Returns:
      float64 [N]: PSNR of each image through the one map of C + 1 coefficients per channel that
      has the least squared error over all of them (clipped to [-1, 1]).
    """
    source = images.astype(np.float64).reshape(-1, images.shape[-1])
    source = np.concatenate([source, np.ones((len(source), 1))], 1)
    target = truth.astype(np.float64).reshape(-1, truth.shape[-1])
    # Normal equations: as many rows as there are pixels, and only C + 1 columns.
    weights = np.linalg.solve(source.T @ source + 1e-9 * np.eye(source.shape[1]), source.T @ target)
    return psnr(np.clip(source @ weights, -1, 1).reshape(truth.shape), truth)
