"""Test sets, translated by a game whose answers are known, and their scores."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan import evaluators, pictures
from jaxgan.data.datasets import Dataset
from jaxgan.errors import UserError
from jaxgan.metrics import pairs
from jaxgan.page import Row


class Images:
    """A source of grey images of one brightness each."""

    def __init__(self, *values, names=None):
        self._values = values
        if names:
            self.names = names

    def __len__(self):
        return len(self._values)

    def __getitem__(self, i):
        return np.full((4, 4, 3), self._values[i], np.uint8)


def dataset(test_A, test_B, paired):
    return Dataset(None, None, test_A, test_B, paired, ())


@pytest.fixture
def tests():
    """Six pairs; B is A's negative."""
    values = [0, 51, 102, 153, 204, 255]
    test_B = Images(*(255 - value for value in values))
    names = [f"{value}.png" for value in values]
    return evaluators.read_tests(dataset(Images(*values, names=names), test_B, True), 0)


class Sample:
    """A game's `sample` that negates, half way; the way back undoes it. Counts its tracings."""

    def __init__(self, both=True):
        self.traced, self.both = [], both

    def __call__(self, weights, batch):
        ((source, images),) = batch.items()
        self.traced.append((source, images.shape, images.dtype))
        target = "B" if source == "A" else "A"
        if source == "B" and not self.both:
            return {}
        fake = weights * images
        return {f"fake_{target}": fake, f"rec_{source}": fake / weights}


def test_read(tests):
    assert list(tests) == ["AtoB", "BtoA"]
    there, back = tests.values()
    assert (there.source, there.target, back.source, back.target) == ("A", "B", "B", "A")
    assert there.names[1] == "51.png"
    assert back.names == [f"scene {i}" for i in range(6)]
    assert there.images.dtype == np.uint8
    np.testing.assert_array_equal(there.images[:, 0, 0, 0], [0, 51, 102, 153, 204, 255])
    np.testing.assert_array_equal(there.truth, back.images)
    np.testing.assert_array_equal(back.truth, there.images)


@pytest.mark.parametrize(("num", "counts"), [(0, [5, 3]), (4, [4, 3]), (100, [5, 3])])
def test_read_the_first(num, counts):
    """Of either domain as many as there are; without pairs there is no truth."""
    tests = evaluators.read_tests(dataset(Images(*range(5)), Images(*range(3)), False), num)
    assert [len(domain.images) for domain in tests.values()] == counts
    assert [len(domain.names) for domain in tests.values()] == counts
    assert all(domain.truth is None for domain in tests.values())


def test_translations(tests):
    """In order, the last batch filled up and cut again; one program for each direction."""
    sample = Sample()
    translate = evaluators.translator(sample)
    for _ in range(2):
        for domain in tests.values():
            made = translate(jnp.float32(-0.5), domain)
            unit = evaluators.unit(domain.images)
            np.testing.assert_allclose(made.fake, -0.5 * unit, atol=1e-7)
            np.testing.assert_allclose(made.rec, unit, atol=1e-6)
    shape = (evaluators.BATCH, 4, 4, 3)
    assert len(tests["AtoB"].images) % evaluators.BATCH
    assert sample.traced == [("A", shape, jnp.float32), ("B", shape, jnp.float32)]


def test_some_translations(tests):
    made = evaluators.translator(Sample())(jnp.float32(1), tests["AtoB"], 5)
    np.testing.assert_allclose(made.fake, evaluators.unit(tests["AtoB"].images[:5]), atol=1e-7)


def test_weights_on_several_devices(tests):
    """Weights that lie on a mesh, as in training."""
    mesh = jax.make_mesh((4,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    weights = jax.device_put(jnp.float32(0.5), everywhere)
    made = evaluators.translator(Sample())(weights, tests["BtoA"])
    np.testing.assert_allclose(made.fake, 0.5 * evaluators.unit(tests["BtoA"].images), atol=1e-7)


def test_unit():
    np.testing.assert_allclose(
        evaluators.unit(np.array([0, 51, 255], np.uint8)), [-1, -0.6, 1], atol=1e-7
    )


def test_float_images_of_any_channels():
    """They are in [-1, 1] already, and pass through to the game, the scores and the page."""
    image = np.linspace(-1, 1, 4 * 4 * 5, dtype=np.float32).reshape(4, 4, 5)
    tests = evaluators.read_tests(dataset([image, -image], [-image], False), 0)
    sample = Sample()
    translate = evaluators.translator(sample)
    made = translate(jnp.float32(0.5), tests["AtoB"])
    np.testing.assert_array_equal(made.fake, [0.5 * image, -0.5 * image])
    assert sample.traced == [("A", (evaluators.BATCH, 4, 4, 5), jnp.float32)]
    assert evaluators.unit(tests["BtoA"].images).tolist() == [(-image).tolist()]
    scores, sections = evaluators.evaluate(translate, jnp.float32(0.5), tests)
    assert scores == {"cycle_l1_AtoB": 0, "cycle_l1_BtoA": 0}
    for row in (*sections[0].rows, *evaluators.sample_grid(translate, jnp.float32(1), tests)[0]):
        shown = row.images.values() if isinstance(row, Row) else row
        assert all(pictures.to_rgb(x).shape == (4, 4, 3) for x in shown if x is not None)


def test_scores(tests):
    """By closed forms: of -x/2 against -x the error is x/2; the way back is exact."""
    domain = tests["AtoB"]
    made = evaluators.translator(Sample())(jnp.float32(-0.5), domain)
    scores = evaluators.score(domain, made)
    x = evaluators.unit(domain.images)[:, 0, 0, 0].astype(float)
    np.testing.assert_allclose(scores["psnr"], 20 * np.log10(2 / np.abs(x / 2)), rtol=1e-5)
    np.testing.assert_allclose(scores["psnr_input"], 20 * np.log10(2 / np.abs(2 * x)), rtol=1e-5)
    assert (scores["psnr_affine"] > 100).all()  # the truth is a tint of the input
    np.testing.assert_allclose(scores["cycle_l1"], 0, atol=1e-6)


def test_scores_are_of_the_picture(tests):
    """What leaves [-1, 1] is clipped, as it is when it is shown."""
    domain = tests["AtoB"]
    truth = evaluators.unit(domain.truth)
    scores = evaluators.score(domain, evaluators.Translations(3 * truth, None))
    np.testing.assert_array_equal(scores["psnr"], pairs.psnr(np.clip(3 * truth, -1, 1), truth))
    assert "cycle_l1" not in scores


def test_scores_without_truth():
    tests = evaluators.read_tests(dataset(Images(0, 255), Images(0), False), 0)
    fake, rec = np.zeros((2, 4, 4, 3), np.float32), np.full((2, 4, 4, 3), 0.5, np.float32)
    scores = evaluators.score(tests["AtoB"], evaluators.Translations(fake, rec))
    assert list(scores) == ["cycle_l1"]
    np.testing.assert_allclose(scores["cycle_l1"], [1.5, 0.5])


def test_evaluate(tests):
    """Means over the images, by direction; a section of the page for each, a row an image."""
    translate = evaluators.translator(Sample())
    scores, sections = evaluators.evaluate(translate, jnp.float32(-0.5), tests)
    names = ["psnr", "psnr_input", "psnr_affine", "cycle_l1"]
    assert sorted(scores) == sorted(f"{n}_{d}" for n in names for d in tests)
    assert all(isinstance(value, float) for value in scores.values())
    domain = tests["BtoA"]
    each = evaluators.score(domain, translate(jnp.float32(-0.5), domain))
    assert scores["psnr_BtoA"] == pytest.approx(np.mean(each["psnr"]))

    assert [section.title for section in sections] == ["A → B", "B → A"]
    for section, domain in zip(sections, tests.values(), strict=True):
        assert [row.name for row in section.rows] == domain.names
        row = section.rows[4]
        assert list(row.images) == ["input", "translation", "truth", "reconstruction"]
        np.testing.assert_array_equal(row.images["input"], domain.images[4])
        np.testing.assert_array_equal(row.images["truth"], domain.truth[4])
    # Each row shows its own scores.
    assert sections[1].rows[4].scores["psnr"] == pytest.approx(each["psnr"][4])


def test_one_way(tests):
    """A direction in which the game doesn't translate has no scores and no section."""
    translate = evaluators.translator(Sample(both=False))
    assert translate(jnp.float32(1), tests["BtoA"]) is None
    scores, sections = evaluators.evaluate(translate, jnp.float32(1), tests)
    assert {name.rpartition("_")[2] for name in scores} == {"AtoB"}
    assert len(sections) == 1
    _, labels, groups = evaluators.sample_grid(translate, jnp.float32(1), tests)
    assert groups == [("A → B", 3)]
    assert labels == ["input", "translation", "reconstruction"]


def test_sample_grid():
    """Rows of both directions; where one domain has fewer images there are gaps."""
    tests = evaluators.read_tests(dataset(Images(1, 2, 3), Images(4), False), 0)
    rows, labels, groups = evaluators.sample_grid(
        evaluators.translator(Sample()), jnp.float32(1), tests
    )
    assert labels == 2 * ["input", "translation", "reconstruction"]
    assert groups == [("A → B", 3), ("B → A", 3)]
    assert [len(row) for row in rows] == [6, 6, 6]
    assert [x is None for x in rows[1]] == [False] * 3 + [True] * 3
    for value, row in zip((1, 2, 3), rows, strict=True):
        assert (row[0] == value).all()
        np.testing.assert_allclose(row[1], value / 127.5 - 1, atol=1e-6)


def test_summary():
    scores = {"psnr_AtoB": 20.0, "psnr_input_AtoB": 11.5, "psnr_affine_AtoB": 14.25}
    scores |= {"cycle_l1_AtoB": 0.5, "cycle_l1_BtoA": 0.125}
    truth, cycle = evaluators.summary(scores)
    for word in ("A → B", "20.00 dB", "+8.50", "11.50", "14.25"):
        assert word in truth
    assert "B → A" in cycle
    assert "0.1250" in cycle


def test_best_mode():
    assert [evaluators.best_mode(n) for n in ("", "psnr_AtoB", "psnr_BtoA")] == ["max"] * 3
    assert evaluators.best_mode("cycle_l1_BtoA") == "min"
    with pytest.raises(UserError, match="psnr_AtoB"):
        evaluators.best_mode("psnr_AtB")


def test_scores_that_cannot_be():
    """A score by truth where the test set has none."""
    for name, paired in [("", False), ("cycle_l1_AtoB", False), ("psnr_AtoB", True)]:
        evaluators.require_score(name, paired)
    with pytest.raises(UserError, match="cycle_l1_BtoA"):
        evaluators.require_score("psnr_BtoA", False)
