"""Distances to the truth against closed forms."""

import numpy as np
import pytest

from jaxgan.metrics.pairs import affine_psnr, l1, psnr


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(-1, 1, (5, 8, 6, 3)).astype(np.float32)


@pytest.mark.parametrize("offset", [2.0, 0.2, 0.002])
def test_psnr_of_an_offset(offset):
    """The peak is 2: an error of 2 everywhere is 0 dB, a tenth of it 20 dB."""
    truth = np.full((2, 4, 4, 3), -1.0)
    np.testing.assert_allclose(psnr(truth + offset, truth), 20 * np.log10(2 / offset), rtol=1e-9)


def test_psnr_is_that_of_bytes(images):
    """In units of uint8 the peak is 255."""
    a = np.round((images + 1) * 127.5).astype(np.uint8)
    b = a[::-1]
    mse = np.mean((a.astype(float) - b.astype(float)) ** 2, (1, 2, 3))
    with np.errstate(divide="ignore"):
        expected = 10 * np.log10(255**2 / mse)
    np.testing.assert_allclose(psnr(a / 127.5 - 1, b / 127.5 - 1), expected, rtol=1e-9)
    assert expected[2] == np.inf  # the middle one meets itself


def test_each_image_by_itself(images):
    truth = images.copy()
    truth[1] += 0.5
    np.testing.assert_allclose(l1(images, truth), [0, 0.5, 0, 0, 0], atol=1e-7)
    scores = psnr(images, truth)
    assert scores.dtype == np.float64
    assert np.isinf(scores).tolist() == [True, False, True, True, True]
    np.testing.assert_allclose(scores[1], 20 * np.log10(4), rtol=1e-6)


def test_the_affine_map_is_found(images):
    """Where the truth is a map of the colours, nothing is left but rounding."""
    matrix = np.array([[0.3, 0.1, 0.0], [0.2, 0.5, -0.1], [0.0, -0.2, 0.4]])
    truth = images @ matrix + [0.1, -0.05, 0.2]
    assert np.all(np.abs(truth) <= 1)
    assert np.all(affine_psnr(images, truth) > 120)
    # ... also of grey images.
    assert np.all(affine_psnr(images[..., :1], -0.5 * images[..., :1] + 0.25) > 120)


def test_one_map_for_all_images(images):
    """The fit is over all pairs: two tints, one of which is the opposite, cancel."""
    images = np.concatenate([images, images])
    truth = np.concatenate([images[:5], -images[5:]])
    expected = 10 * np.log10(4 / np.mean(truth.astype(float) ** 2, (1, 2, 3)))
    np.testing.assert_allclose(affine_psnr(images, truth), expected, rtol=0.01)


def test_no_map_is_better(images):
    """Least squares: no other map has a smaller error, over all images together."""
    rng = np.random.default_rng(1)
    truth = np.clip(images**2 + 0.1 * rng.normal(size=images.shape), -1, 1)
    error = np.mean(10 ** (-affine_psnr(images, truth) / 10))
    least = np.linalg.lstsq(
        np.concatenate([images.reshape(-1, 3), np.ones((images.size // 3, 1))], 1),
        truth.reshape(-1, 3),
        rcond=None,
    )[1]
    np.testing.assert_allclose(error * 4 * images.size, least.sum(), rtol=1e-6)


def test_the_map_stays_among_the_colours(images):
    """Clipped to [-1, 1], as a picture would be."""
    truth = np.where(images > 0, 1.0, -1.0)
    source = np.concatenate([images.reshape(-1, 3), np.ones((images.size // 3, 1))], 1)
    weights = np.linalg.lstsq(source, truth.reshape(-1, 3), rcond=None)[0]
    fitted = (source @ weights).reshape(truth.shape)
    assert np.abs(fitted).max() > 1
    np.testing.assert_allclose(
        affine_psnr(images, truth), psnr(np.clip(fitted, -1, 1), truth), rtol=1e-6
    )
