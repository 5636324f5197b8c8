"""What games are played on: batches of labelled images, and how samples are judged."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from jaxgan import commandline, fields
from jaxgan.data import datasets, glyphs, pipeline
from jaxgan.errors import UserError
from jaxgan.games.game import Game
from jaxgan.tasks import TASKS

DCGAN = tiny.CONFIG.with_name("dcgan.py")
LABELLED = TASKS["labelled"]


@pytest.fixture(scope="module")
def config():
    words = [f"--config={DCGAN}:smoke", "--config.data.channels=3", "--config.data.batch_size=4"]
    command = commandline.parse(words, {}, "test")
    return fields.resolve(command.config, command.overrides)


@pytest.fixture(scope="module")
def data(config):
    return LABELLED.datasets["glyphs"](config.data)


def known(data):
    """A picture's bytes -> its label."""
    return {data.train[i].tobytes(): int(data.labels[i]) for i in range(len(data.train))}


def test_every_image_keeps_its_label(config, data):
    """An epoch shows each image once, whatever the rounds, with the label that it was drawn by."""
    labels = known(data)
    stream = LABELLED.stream(config, data, (2, 1))
    seen = []
    for _ in range(5):
        batch = next(stream)
        assert batch["image"].shape == (2, 1, 4, 16, 16, 3)
        assert batch["label"].shape == (2, 1, 4)
        assert batch["label"].dtype == np.int32
        for image, label in zip(
            batch["image"].reshape(-1, 16, 16, 3), batch["label"].ravel(), strict=True
        ):
            assert labels[image.tobytes()] == label
            seen.append(image.tobytes())
    stream.close()
    assert sorted(seen) == sorted(labels)
    shapes = LABELLED.shapes(config, (2, 1, 4))
    assert {n: (x.shape, x.dtype) for n, x in shapes.items()} == {
        n: (x.shape, x.dtype) for n, x in batch.items()
    }


def test_processes_take_slices_of_the_same_batch(config, data):
    settings = {"seed": 0, "batch_size": 4, "image_size": 16, "load_size": 16, "leading": (1, 2)}
    whole, *parts = (
        next(
            pipeline.labelled(
                data.train, data.labels, **settings, process_index=i, process_count=n, num_threads=0
            )
        )
        for i, n in ((0, 1), (0, 2), (1, 2))
    )
    for name in ("image", "label"):
        together = np.concatenate([part[name] for part in parts], 2)
        assert np.array_equal(together, whole[name])


def test_labels_stay_with_what_is_mirrored(data):
    settings = {"seed": 0, "batch_size": 40, "image_size": 16, "load_size": 16, "flip": True}
    batch = next(pipeline.labelled(data.train, data.labels, **settings, num_threads=0))
    labels = known(data)
    mirrored = 0
    for image, label in zip(batch["image"], batch["label"], strict=True):
        plain = image.tobytes() in labels
        mirrored += not plain
        original = image if plain else np.ascontiguousarray(image[:, ::-1])
        assert labels[original.tobytes()] == label
    assert 5 < mirrored < 35


def bench(config, data, made):
    """Of a game whose samples are `made(latents)`."""
    game = Game({}, {}, (), None, lambda _, batch: {"image": made(batch["latent"])}, "labelled")
    noise = lambda key, count, dtype: {"latent": jax.random.normal(key, (count, 1), dtype)}  # noqa: E731
    return LABELLED.bench(config, data, game._replace(noise=noise))


def test_real_glyphs_are_clean_and_noise_is_not(config, data):
    config = config.copy_and_resolve_references()
    config.evaluate.num = 64
    real = np.stack([glyphs.draw(1000 + i, 16) for i in range(64)]) / 127.5 - 1
    scores, (section,) = bench(config, data, lambda _: jnp.asarray(real)).evaluate({}, 0)
    assert scores["readable"] == 1
    assert scores["classes"] == 10
    assert [row.name for row in section.rows[:3]] == [
        glyphs.CLASSES[glyphs.label(1000 + i)] for i in range(3)
    ]

    judged = bench(config, data, lambda z: jnp.tile(z[:, :, None, None], (1, 16, 16, 3)))
    scores, _ = judged.evaluate({}, 0)
    assert scores["readable"] == 0
    assert scores["classes"] == 0
    (line,) = judged.summary({"readable": 0.5, "classes": 7})
    assert line == "50.0% of the samples can be read, as 7 of 10 classes"


def test_the_grid_shows_the_same_noise_each_time(config, data):
    made = bench(config, data, lambda z: jnp.tile(jnp.tanh(z)[:, :, None, None], (1, 16, 16, 3)))
    (rows, labels, groups), (again, *_) = made.grid({}, 0), made.grid({}, 0)
    assert (len(rows), len(rows[0]), len(labels), groups) == (8, 8, 8, None)
    assert np.array_equal(np.array(rows), np.array(again))
    assert len({image.tobytes() for row in rows for image in row}) > 40


def test_mistakes(config, data):
    assert LABELLED.best_mode("") == LABELLED.best_mode("readable") == "max"
    with pytest.raises(UserError, match="did you mean 'readable'"):
        LABELLED.best_mode("readible")
    with pytest.raises(UserError, match="needs a judge"):
        LABELLED.require_score("readable", data._replace(judge=None))
    wrong = config.data.copy_and_resolve_references()
    wrong.load_size = 20
    with pytest.raises(UserError, match=r"data\.load_size=20 doesn't fit the built-in glyphs"):
        datasets.glyph_set(wrong)
