"""Distances between images and their truth: pure functions of NHWC arrays in [-1, 1]."""

import numpy as np

WINDOW = 11  # pixels along a side, of structural similarity


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


def ssim(images: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Structural similarity of each image (Wang et al. 2004, "Image Quality Assessment").

    The published settings: windows of 11 x 11 pixels, weighted by a Gaussian of deviation 1.5; the
    mean over the windows that lie within the image, and over the channels. K1 = 0.01, K2 = 0.03.

    Args:
      images, truth: [N, H, W, C] in [-1, 1], black to white; H and W at least 11.

    Returns:
      float64 [N], at most 1, where an image equals its truth.

    Raises:
      ValueError: for images that are smaller than a window.
    """
    if min(images.shape[1:3]) < WINDOW:
        raise ValueError(f"SSIM takes images of {WINDOW} pixels and more, not {images.shape[1:3]}")
    # From 0 on, as published: a window's mean counts in proportion to itself.
    x, y = images.astype(np.float64) + 1, truth.astype(np.float64) + 1
    mean_x, mean_y = _windowed(x), _windowed(y)
    variances = _windowed(x * x) - mean_x**2 + _windowed(y * y) - mean_y**2
    covariance = _windowed(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    likeness = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return np.mean(likeness * (2 * covariance + c2) / (variances + c2), (1, 2, 3))


def _windowed(x: np.ndarray) -> np.ndarray:
    """Means over windows, [N, H - 10, W - 10, C]."""
    weights = np.exp(-((np.arange(WINDOW) - WINDOW // 2) ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    for axis in (1, 2):
        count = x.shape[axis] - WINDOW + 1
        x = sum(weight * np.take(x, range(i, i + count), axis) for i, weight in enumerate(weights))
    return x


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
