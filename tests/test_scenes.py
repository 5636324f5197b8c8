"""The built-in world: pure, the same place in both seasons, and more than a tint apart."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxgan.data import scenes
from jaxgan.errors import UserError

TEST = range(1_000_000, 1_000_040)


@pytest.fixture(scope="module")
def pairs():
    """Summer and winter of some scenes in [0, 1], and their label maps."""
    summer, winter = (
        np.stack([scenes.draw(i, season, 64) for i in TEST]) / 255 for season in scenes.SEASONS
    )
    return summer, winter, np.stack([scenes.labels(i, 64) for i in TEST])


def psnr(a, b):
    return float((-10 * np.log10(((a - b) ** 2).mean((1, 2, 3)))).mean())


def affine(a, b):
    """The best 3x4 colour map from a to b, fitted on these very pictures, and applied."""
    x = np.concatenate([a.reshape(-1, 3), np.ones((a.size // 3, 1))], 1)
    return np.clip(x @ np.linalg.lstsq(x, b.reshape(-1, 3), rcond=None)[0], 0, 1).reshape(b.shape)


def digest():
    pictures = [scenes.draw(3, "summer", 64), scenes.draw(4, "winter", 64, world=1)]
    pictures += [scenes.draw(5, "winter", 150), scenes.labels(5, 150)]
    return hashlib.sha256(b"".join(p.tobytes() for p in pictures)).hexdigest()[:16]


PINNED = "65b2c297b1333466"


def test_pictures_are_the_same_bits_everywhere():
    assert digest() == PINNED
    code = (
        "import sys; sys.path.insert(0, 'tests'); import test_scenes; print(test_scenes.digest())"
    )
    fresh = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert fresh.stdout.strip() == PINNED


@pytest.mark.parametrize("size", [16, 17, 33, 100])
def test_any_size(size):
    for season in scenes.SEASONS:
        picture = scenes.draw(7, season, size)
        assert picture.shape == (size, size, 3)
        assert picture.dtype == np.uint8
    assert scenes.labels(7, size).shape == (size, size)


@pytest.mark.parametrize("season", scenes.SEASONS)
def test_geometry_does_not_depend_on_the_size(season):
    for i in range(6):
        fine = scenes.draw(i, season, 256).astype(float)
        coarse = scenes.draw(i, season, 64).astype(float)
        shrunk = fine.reshape(64, 4, 64, 4, 3).mean((1, 3))
        other = scenes.draw(i + 100, season, 64).astype(float)
        assert np.abs(shrunk - coarse).mean() < 5
        assert np.abs(shrunk - coarse).mean() < 0.3 * np.abs(shrunk - other).mean()


def test_labels_do_not_depend_on_the_size():
    for i in range(6):
        fine, coarse = scenes.labels(i, 192), scenes.labels(i, 64)
        assert (fine[1::3, 1::3] == coarse).mean() > 0.97


def test_worlds_and_scenes_differ():
    digests = {
        scenes.draw(i, season, 16, world).tobytes()
        for i in range(50)
        for season in scenes.SEASONS
        for world in (0, 1)
    }
    assert len(digests) == 200


def test_every_material_lies_somewhere():
    seen = set().union(*(np.unique(scenes.labels(i, 128)).tolist() for i in range(30)))
    names = {scenes.MATERIALS[k] for k in seen}
    assert names == set(scenes.MATERIALS) - {"glow", "shadow"}


def test_what_a_season_does_to_each_material(pairs):
    summer, winter, labels = pairs

    def colour(season, material):
        return season[labels == scenes.MATERIALS.index(material)].mean(0)

    # snow lies on the ground and on roofs: bright, hardly coloured
    for material in ("meadow", "roof"):
        assert np.ptp(colour(summer, material)) > 0.3
        assert colour(winter, material).min() > 0.7
        assert np.ptp(colour(winter, material)) < 0.2
    # conifers stay dark under it, walls and barns keep their colour
    assert colour(winter, "conifer").max() < 0.55
    for material in ("wall", "barn", "trunk", "path"):
        assert np.abs(colour(winter, material) - colour(summer, material)).max() < 0.2
    # leaves fall, and what stands behind the twigs shows
    red, green, _ = colour(summer, "crown")
    assert green > red + 0.1
    red, green, _ = colour(winter, "crown")
    assert red > green
    # water of nearly the sky's blue turns to pale ice, the sky to dusk
    assert np.abs(colour(summer, "water") - colour(summer, "sky")).max() < 0.2
    assert (colour(winter, "water") - colour(winter, "sky"))[1:].min() > 0.2
    # lamps are lit
    red, _, blue = colour(winter, "window") - colour(summer, "window")
    assert red > 0.2 > blue


def test_the_season_is_more_than_a_tint(pairs):
    summer, winter, _ = pairs
    assert 8 < psnr(summer, winter) < 11
    assert psnr(affine(summer, winter), winter) < 15.5
    assert psnr(affine(winter, summer), summer) < 15.5


def test_a_source_is_a_range_of_one_season():
    source = scenes.Scenes("winter", 32, first=10, count=4)
    assert len(source) == 4
    assert np.array_equal(source[1], scenes.draw(11, "winter", 32))
    assert np.array_equal(source[-1], scenes.draw(13, "winter", 32))
    assert np.array_equal(source[np.int64(2)], scenes.draw(12, "winter", 32))
    with pytest.raises(IndexError):
        source[4]
    other = scenes.Scenes("winter", 32, first=14, count=4)
    assert not {p.tobytes() for p in source} & {p.tobytes() for p in other}
    assert not np.array_equal(scenes.Scenes("winter", 32, 10, 4, world=1)[0], source[0])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("autumn", 64, 0, 4), "autumn"),
        (("summer", 15, 0, 4), "15"),
        (("summer", 64, -1, 4), "-1"),
        (("summer", 64, 0, 0), "empty"),
        (("summer", 64, 0, 4, -2), "-2"),
    ],
)
def test_mistakes(arguments, words):
    with pytest.raises(UserError, match=words):
        scenes.Scenes(*arguments)
    season, size, index, *rest = arguments
    if words != "empty":
        with pytest.raises(UserError, match=words):
            scenes.draw(index, season, size, *rest[1:])
