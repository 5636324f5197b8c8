"""How the tables of super-resolution are computed: on luma, without the border. Pure functions."""

import numpy as np

from jaxgan.metrics import pairs

# BT.601 of MATLAB's rgb2ycbcr: bytes from 16 to 235.
LUMA, OFFSET = (65.481 / 255, 128.553 / 255, 24.966 / 255), 16.0
FINE = 0.25  # cycles per pixel: half of what a grid can show


def luma(image: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] to float64 [H, W, 1] from 16 to 235, not rounded; grey stays as it is."""
    if image.shape[-1] == 1:
        return image.astype(np.float64)
    return (image.astype(np.float64) @ np.array(LUMA) + OFFSET)[..., None]


def scores(image: np.ndarray, truth: np.ndarray, border: int) -> dict[str, float]:
    """Of one enlarged image.

    Args:
      image, truth: uint8 [H, W, C].
      border: pixels of each side that don't count; the tables leave out as many as the scale.

    Returns:
      `psnr` in dB and `ssim` on luma; `psnr_rgb` and `ssim_rgb` of images in colour. SSIM only
      where a window fits.
    """
    images = _inside(image, border), _inside(truth, border)
    planes = {"": tuple(luma(x) for x in images)}
    if image.shape[-1] > 1:
        planes["_rgb"] = images
    found = {}
    for name, (ours, theirs) in planes.items():
        ours, theirs = (x[None].astype(np.float64) / 127.5 - 1 for x in (ours, theirs))
        found[f"psnr{name}"] = float(pairs.psnr(ours, theirs)[0])
        if min(ours.shape[1:3]) >= pairs.WINDOW:
            found[f"ssim{name}"] = float(pairs.ssim(ours, theirs)[0])
    return found


def fine_energies(image: np.ndarray, truth: np.ndarray, border: int) -> tuple[float, float]:
    """Of luma's fine structure, of an image and of its truth: as `scores` takes them."""
    ours, theirs = (fine_energy(luma(_inside(x, border))) for x in (image, truth))
    return ours, theirs


def _inside(image: np.ndarray, border: int) -> np.ndarray:
    return image[tuple(slice(border, n - border) for n in image.shape[:2])]


def fine_energy(plane: np.ndarray) -> float:
    """Mean squared value of what oscillates faster than `FINE`, of [H, W, 1]."""
    # A window, so that the edges of the image aren't taken for fine structure.
    height, width = plane.shape[:2]
    window = np.hanning(height)[:, None] * np.hanning(width)
    spectrum = np.fft.fft2((plane[..., 0] - plane.mean()) * window)
    speed = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
    return float(np.sum(np.abs(spectrum[speed > FINE]) ** 2) / (height * width) ** 2)
