"""Scores of sets of features, against closed forms and brute force."""

import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg
from scipy.ndimage import gaussian_filter

from jaxgan.data import glyphs
from jaxgan.errors import UserError
from jaxgan.metrics import (
    diversity,
    frechet,
    inception,
    kernel,
    neighbours,
    products,
    random_features,
    resampling,
    scores,
)
from jaxgan.metrics.inception_score import inception_score


def features(n=40, d=6, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d)


# Frechet distance.


def test_of_commuting_covariances():
    """For diagonal ones it is the sum of (m1 - m2)^2 + (s1 - s2)^2."""
    first = frechet.Gaussian(np.array([0.0, 1, 2]), np.diag([1.0, 4, 9]), 0)
    second = frechet.Gaussian(np.array([1.0, 1, 0]), np.diag([4.0, 4, 0]), 0)
    assert np.isclose(frechet.frechet_distance(first, second), 1 + 4 + 1 + 0 + 9, rtol=1e-12)


def test_against_the_general_root():
    first, second = (frechet.fit([features(seed=seed)]) for seed in (0, 1))
    root = linalg.sqrtm(first.covariance @ second.covariance).real
    traces = np.trace(first.covariance + second.covariance - 2 * root)
    wanted = np.sum((first.mean - second.mean) ** 2) + traces
    assert np.isclose(frechet.frechet_distance(first, second), wanted, rtol=1e-9)
    assert np.isclose(frechet.frechet_distance(second, first), wanted, rtol=1e-9)


@pytest.mark.parametrize("n", [2, 10, 200])
def test_of_a_set_with_itself_and_with_far_fewer_features_than_dimensions(n):
    x = features(n, 64)
    one = frechet.fit([x])
    assert 0 <= frechet.frechet_distance(one, one) < 1e-6 * np.trace(one.covariance)
    moved = frechet.fit([x + 3])
    assert np.isclose(frechet.frechet_distance(one, moved), 9 * 64, rtol=1e-6)


def test_of_what_does_not_vary():
    one, other = (frechet.fit([np.full((5, 3), value)]) for value in (1.0, 2.0))
    assert frechet.frechet_distance(one, other) == 3


@pytest.mark.parametrize("size", [1, 7, 39, 40])
def test_moments_in_any_chunks(size):
    x = features() + 1000
    whole = frechet.fit([x])
    parts = frechet.fit(x[i : i + size] for i in range(0, len(x), size))
    assert np.allclose(parts.mean, x.mean(0), rtol=1e-12)
    assert np.allclose(parts.covariance, np.cov(x.T), rtol=1e-9, atol=1e-9)
    assert np.allclose(parts.covariance, whole.covariance, rtol=1e-9, atol=1e-9)
    assert parts.count == 40


@pytest.mark.parametrize("chunks", [[], [np.ones((1, 3))]])
def test_too_few_for_a_covariance(chunks):
    with pytest.raises(ValueError, match="at least 2"):
        frechet.fit(chunks)


def test_features_of_another_width():
    first, second = frechet.fit([features(d=3)]), frechet.fit([features(d=4)])
    with pytest.raises(ValueError, match="of 3 and of 4"):
        frechet.frechet_distance(first, second)
    with pytest.raises(ValueError, match="of 3 and of 4"):
        kernel.squared_mmd(features(d=3), features(d=4))
    with pytest.raises(ValueError, match="of 3 and of 4"):
        neighbours.neighbourhoods(features(d=3), features(d=4), [3])


def test_infinitely_many_fakes():
    """Of the real ones' own law: FID is too large by what falls with N, and extrapolated to 0."""
    rng = np.random.default_rng(0)
    real = frechet.Gaussian(np.zeros(8), np.eye(8), 0)
    fake = rng.normal(size=(2000, 8))
    biased = frechet.frechet_distance(real, frechet.fit([fake[:200]]))
    whole = frechet.frechet_distance(real, frechet.fit([fake]))
    extrapolated = frechet.frechet_infinity(real, fake)
    assert biased > 3 * whole > 0
    assert abs(extrapolated) < whole
    assert extrapolated == frechet.frechet_infinity(real, fake) != whole
    apart = frechet.frechet_infinity(real._replace(mean=np.full(8, 0.5)), fake)
    assert abs(apart - 2) < 0.2  # |m1 - m2|^2
    with pytest.raises(ValueError, match="takes 20"):
        frechet.frechet_infinity(real, fake[:19])


# Kernel distance.


def test_the_mean_kernel_by_hand(monkeypatch):
    real, fake = features(9), features(7, seed=1)

    def k(a, b):
        return (a @ b / 6 + 1) ** 3

    def within(x):
        return np.mean([k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])

    wanted = within(real) + within(fake) - 2 * np.mean([k(a, b) for a in real for b in fake])
    for rows in (2, 3, 100):
        monkeypatch.setattr(products, "ROWS", rows)
        assert np.isclose(kernel.squared_mmd(real, fake), wanted, rtol=1e-9)


def test_subsets_are_of_the_seed():
    real, fake = features(30), features(25, seed=1)
    one, same, other = (kernel.kernel_distance(real, fake, 5, 10, seed) for seed in (0, 0, 1))
    assert one == same != other
    assert one[1] > 0
    everything = kernel.kernel_distance(real, fake, 3, 25)
    assert kernel.kernel_distance(real[:25], fake, 3, 25)[1] < 1e-9 * abs(everything[0])
    assert kernel.kernel_distance(real, fake, 0) == (kernel.squared_mmd(real, fake), 0.0)
    with pytest.raises(ValueError, match="subsets of 26"):
        kernel.kernel_distance(real, fake, 3, 26)


# Neighbours.


def distances(x, y):
    return np.linalg.norm(x[:, None] - y[None], axis=-1)


@pytest.mark.parametrize("k", [1, 3, 10])
@pytest.mark.parametrize("rows", [7, 1000])
def test_neighbourhoods_by_brute_force(k, rows, monkeypatch):
    monkeypatch.setattr(products, "ROWS", rows)
    real, fake = features(40), features(30, seed=0) * 0.9 + 0.3
    radius_real = np.sort(distances(real, real), 1)[:, k]
    radius_fake = np.sort(distances(fake, fake), 1)[:, k]
    apart = distances(real, fake)
    found = neighbours.neighbourhoods(real, fake, [k, 2])[k]
    assert found.precision == np.mean((apart <= radius_real[:, None]).any(0))
    assert found.recall == np.mean((apart <= radius_fake).any(1))
    assert np.isclose(found.density, np.mean((apart <= radius_real[:, None]).sum(0)) / k)
    assert found.coverage == np.mean(apart.min(1) <= radius_real)
    assert 0 < found.precision < 1 or k == 10


def test_more_neighbours_cover_more():
    real, fake = features(40), features(30, seed=2)
    found = list(neighbours.neighbourhoods(real, fake, range(1, 12)).values())
    for k, (less, more) in enumerate(itertools.pairwise(found), 1):
        assert more.coverage >= less.coverage
        assert more.density * (k + 1) >= less.density * k  # fakes within ever wider radii


def test_copies_are_their_own_neighbours():
    """Equal images have radius 0, and are within it all the same."""
    x = np.repeat(features(4), 5, 0)
    assert neighbours.neighbourhoods(x, x, [3])[3] == (1.0, 1.0, 5 / 3, 1.0)


def test_what_is_a_copy():
    real = features(40)
    index, distance = neighbours.nearest(real[[5, 17]] + 1e-6, real)
    assert list(index) == [5, 17]
    assert np.allclose(distance, 1e-6 * np.sqrt(6), rtol=1e-3)


@pytest.mark.parametrize("k", [0, 30, 40])
def test_a_neighbour_that_there_is_not(k):
    with pytest.raises(ValueError, match=f"number {k}"):
        neighbours.neighbourhoods(features(40), features(30), [k])


# Inception Score.


def test_a_sure_and_varied_classifier_reaches_the_number_of_classes():
    logits = np.tile(1000 * np.eye(10), (7, 1))
    assert inception_score(logits, 7) == pytest.approx((10, 0))
    assert inception_score(np.zeros((10, 10)), 2) == pytest.approx((1, 0))
    assert inception_score(logits[:1], 1) == pytest.approx((1, 0))


@pytest.mark.parametrize("splits", [0, 11])
def test_splits_that_there_are_not(splits):
    with pytest.raises(ValueError, match=f"into {splits} parts"):
        inception_score(np.zeros((10, 10)), splits)


# Networks.


def test_resizing_as_tensorflow_1_did():
    """Pixel i comes from i * size / 299, without half a pixel's shift."""
    ramp = np.broadcast_to(np.arange(598.0)[None, :, None, None], (1, 598, 5, 3))
    made = inception.resized(ramp)
    assert made.shape == (1, 299, 299, 3)
    assert np.allclose(made[0, :, 0, 0], 2 * np.arange(299))
    grown = inception.resized(np.broadcast_to(np.arange(13.0)[None, :, None, None], (1, 13, 13, 3)))
    assert np.allclose(grown[0, :, 7, 0], np.minimum(np.arange(299) * 13 / 299, 12), atol=1e-5)
    same = np.random.default_rng(0).integers(0, 256, (1, 299, 299, 3))
    assert np.array_equal(inception.resized(same), same)


@pytest.mark.parametrize("size", [(3, 3), (8, 9), (9, 8), (7, 12)])
def test_pools_as_windows(size, x64):
    """Against XLA's own windows, which are slower."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, *size, 4)) - 3)
    for strides, padding in ((2, "VALID"), (1, "SAME")):
        theirs = nn.max_pool(x, (3, 3), (strides, strides), padding)
        assert np.array_equal(inception.max_pool(x, strides), theirs)
    theirs = nn.avg_pool(x, (3, 3), (1, 1), "SAME", count_include_pad=False)
    np.testing.assert_allclose(inception.mean_pool(x), theirs, rtol=1e-12)
    assert inception.mean_pool(x.astype(jnp.float32)).dtype == np.float32


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda a: a.pop("Mixed_5b.branch1x1.conv.weight"), "Mixed_5b.branch1x1.conv.weight"),
        (lambda a: a.update({"fc.weight": np.zeros((1000, 2048))}), "1000, 2048"),
    ],
)
def test_weights_of_another_network(change, word, inception_arrays):
    arrays = dict(inception_arrays)
    change(arrays)
    with pytest.raises(UserError, match=word):
        inception.from_published(arrays)


@pytest.fixture
def inception_arrays():
    shapes = {"fc.weight": (1008, 2048), "fc.bias": (1008,)}
    zeros = np.zeros(())
    for name, leaves in inception.template().items():
        if name.startswith("fc."):
            continue
        height, width, before, count = leaves["kernel"].shape
        shapes[f"{name}.conv.weight"] = (count, before, height, width)
        shapes |= {
            f"{name}.bn.{leaf}": (count,)
            for leaf in ("weight", "bias", "running_mean", "running_var")
        }
    return {name: np.broadcast_to(zeros, shape) for name, shape in shapes.items()}


def test_random_features():
    kernels = random_features.weights()
    images = np.random.default_rng(0).uniform(-1, 1, (4, 32, 32, 3)).astype(np.float32)
    made = np.asarray(random_features.features(kernels, images))
    assert made.shape == (4, random_features.WIDTH)
    again = np.asarray(random_features.features(random_features.weights(), images[:2]))
    assert np.allclose(again, made[:2], rtol=1e-5, atol=1e-6)
    grey = np.asarray(random_features.features(kernels, images[..., :1]))
    colour = np.asarray(random_features.features(kernels, images[..., [0, 0, 0]]))
    assert np.array_equal(grey, colour)
    larger = images.repeat(2, 1).repeat(2, 2)
    assert np.asarray(random_features.features(kernels, larger)).shape == made.shape
    assert np.std(made, 0).min() > 0


# Nearest neighbours, and what is within a class.


def test_copies_are_found():
    rng = np.random.default_rng(0)
    real, new = rng.normal(size=(500, 4)), rng.normal(size=(400, 4))
    fresh = neighbours.copies(real, new)
    assert fresh.copies < 0.05
    assert 0.9 < fresh.nearness < 1.1
    half = np.concatenate([real[:200] + 1e-6, new[:200]])
    copied = neighbours.copies(real, half)
    assert 0.5 <= copied.copies < 0.55
    assert neighbours.copies(real, real[:50]) == (1.0, 0.0)
    found = neighbours.nearest(half, real)
    np.testing.assert_array_equal(found.index[:200], np.arange(200))
    np.testing.assert_allclose(found.distance, distances(half, real).min(1), atol=1e-7)
    twins = np.concatenate([real, real[:20]])  # more than one of a hundred
    assert neighbours.copies(twins, real[300:400]).copies == 1
    with pytest.raises(ValueError, match="copies of each other"):
        neighbours.copies(np.ones((5, 4)), new)


@pytest.mark.parametrize("rows", [7, 1000])
def test_diversity_by_brute_force(rows, monkeypatch):
    monkeypatch.setattr(products, "ROWS", rows)
    x, groups = features(30), np.arange(30) % 4
    groups[0] = 9  # alone: nothing differs within it

    def mean(part):
        return distances(part, part).sum() / len(part) / (len(part) - 1)

    assert np.isclose(diversity.diversity(x), mean(x), rtol=1e-9)
    wanted = np.mean([mean(x[groups == group]) for group in range(4)])
    assert np.isclose(diversity.diversity(x, groups), wanted, rtol=1e-9)
    with pytest.raises(ValueError, match="no class or input has two"):
        diversity.diversity(x[:3], np.arange(3))


# Re-sampling noise.


def test_intervals_of_means_cover_them():
    """In 95 of 100 draws, about, of images that aren't normal at all."""
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(300):
        low, high = resampling.of_mean(rng.exponential(size=60), 200, seed)
        held += low < 1 < high
    assert 0.9 < held / 300 < 0.97


@pytest.mark.parametrize("name", ["fid", "kid", "prdc", "diversity", "is"])
def test_halves_spread_as_whole_draws_do(name):
    """The interval is as wide as what other images of the same laws would give."""
    rng = np.random.default_rng(0)

    def drawn(shift, n=120):
        x = rng.normal(size=(n, 3)) + shift
        return scores.Gathered(frechet.fit([x]), x, 2 * x, None)

    settings = scores.Settings(subsets=0, splits=1)
    values = [scores.compute([name], drawn(0), drawn(0.7), settings) for _ in range(60)]
    widths = [
        scores.compute([name], drawn(0), drawn(0.7), settings._replace(resamples=40))
        for _ in range(8)
    ]
    for number in scores.SCORES[name].names:
        if number.endswith("_std") or number == "diversity_of_real":
            continue
        true = np.std([value[number] for value in values])
        low, high = (np.mean([w[f"{number}_{e}"] for w in widths]) for e in scores.RESAMPLED)
        assert 0.7 < (high - low) / (2 * 1.96 * true) < 1.4, number


def test_one_pass_gives_what_two_do():
    """KID and the scores by neighbours share their inner products."""
    real, fake = (
        scores.Gathered(frechet.fit([x]), x) for x in (features(90), features(70, seed=1) + 0.5)
    )
    for settings in (
        scores.Settings(subsets=5, subset_size=20),
        scores.Settings(subsets=0, neighbours=2, wide_neighbours=7),
    ):
        together = scores.compute(["prdc", "kid"], real, fake, settings)
        apart = scores.compute(["prdc"], real, fake, settings)
        apart |= scores.compute(["kid"], real, fake, settings)
        assert together == pytest.approx(apart, rel=1e-9, abs=1e-12)


def test_a_few_fakes_beside_many_real_ones():
    """Copies are looked for among all of them, and FID's halves are of all."""
    rng = np.random.default_rng(0)
    real, new = rng.normal(size=(3000, 4)), rng.normal(size=(60, 4))
    sides = [scores.Gathered(frechet.fit([x]), x) for x in (real, real[:60])]
    settings = scores.Settings(as_many=True)
    found = scores.compute(["copies", "prdc"], *sides, settings)
    assert found["copies"] == 1
    few = [scores.Gathered(frechet.fit([x]), x) for x in (real, new + 0.7)]
    values = scores.compute(["fid"], *few, settings._replace(resamples=100))
    width = values["fid_resampled_high"] - values["fid_resampled_low"]
    draws = [
        frechet.frechet_distance(few[0].gaussian, frechet.fit([rng.normal(size=(60, 4)) + 0.7]))
        for _ in range(200)
    ]
    assert values["fid_resampled_low"] >= 0
    low, high = np.quantile(draws, [0.025, 0.975])
    assert 0.6 < width / (high - low) < 1.7


def test_parts_of_the_inception_score_are_mixed():
    """Files lie class by class, and a part of one class would vary in nothing."""
    labels = np.repeat(np.arange(10), 40)
    logits = 20 * np.eye(10)[labels]
    side = scores.Gathered(frechet.fit([logits]), logits, logits)
    assert scores.compute(["is"], side, side, scores.Settings())["is"] > 8
    assert inception_score(logits, 10)[0] == pytest.approx(1)


def test_what_is_better():
    wanted = {
        "fid": "min",
        "fid_random": "min",
        "fid_infinity_random_AtoB": "min",
        "precision_classifier": "max",
        "kid_std_random": "",
        "diversity_random": "",
        "class_accuracy_classifier": "max",
        "psnr_AtoB": "max",
        "fidelity": "",
    }
    assert {name: scores.better(name) for name in wanted} == wanted


# What scores see, in pictures.


def test_each_score_sees_what_it_is_for():
    """FID grows with blur, noise and missing classes; noise costs precision, the others recall."""
    count = 400
    world = glyphs.Glyphs(16, 0, 2 * count, 0, 1)
    images = np.stack([world[i] for i in range(2 * count)])
    real, other, classes = images[:count], images[count:], world.labels[count:]
    rng, kernels = np.random.default_rng(0), random_features.weights()
    made = jax.jit(lambda x: random_features.features(kernels, x))

    def seen(x):
        features = np.asarray(made(np.float32(x) / 127.5 - 1))
        return scores.Gathered(frechet.fit([features]), features)

    beside = seen(real)

    def scored(fake):
        return scores.compute(["fid", "prdc"], beside, seen(fake), scores.Settings())

    def blurred(deviation):
        wide = gaussian_filter(np.float32(other), (0, deviation, deviation, 0))
        return wide.round().astype(np.uint8)

    def noisy(deviation):
        return np.clip(other + rng.normal(0, deviation, other.shape), 0, 255).astype(np.uint8)

    def without(missing):
        kept = other[classes >= missing]
        return kept[np.arange(count) % len(kept)]

    for change, levels, falls, stays in (
        (blurred, (0.5, 0.8, 1.2), "recall", "precision"),
        (noisy, (20, 40, 80), "precision", "recall"),
        (without, (3, 6, 9), "recall", "precision"),
    ):
        found = [scored(other), *(scored(change(level)) for level in levels)]
        for less, more in itertools.pairwise(found):
            assert more["fid"] > less["fid"] * 1.2, change
            assert more[falls] <= less[falls], change
        assert found[-1][falls] < 0.1 < 0.6 < found[-1][stays], change
