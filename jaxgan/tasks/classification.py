"""Images with classes, which a game tells."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from jaxgan.data import datasets
from jaxgan.games.game import Game
from jaxgan.page import Row, Section
from jaxgan.parts import in_parts
from jaxgan.tasks import labelled
from jaxgan.tasks.task import Bench, best_among
from jaxgan.update import decode

BATCH = 64  # few enough for any memory
MOST_CLASSES = 20  # of a grid
SHOWN = 100  # test images of the page


def bench(config: ConfigDict, data: datasets.Labelled, game: Game) -> Bench:
    """What is said of the test images: the first `evaluate.num` of them, or all."""
    count = min(config.evaluate.num or len(data.test), len(data.test))
    labels = data.test_labels[:count]

    @jax.jit
    def logits(weights, images):
        return game.sample(weights, decode({"image": images}, jnp.float32))["logits"]

    def told(weights) -> np.ndarray:
        """The logarithms of the classes' probabilities, float64 [count, classes]."""

        def part(indices):
            return logits(weights, np.stack([data.test[int(i)] for i in indices]))

        found = in_parts(part, BATCH, np.arange(count)).astype(np.float64)
        found -= found.max(-1, keepdims=True)
        return found - np.log(np.sum(np.exp(found), -1, keepdims=True))

    def grid(weights, seed):
        """A row for each class, a column for each that was said; the surest image of each cell."""
        found = told(weights)
        said, surest = found.argmax(-1), found.max(-1)
        shown = range(min(len(data.classes), MOST_CLASSES))

        def image(chosen, worth):
            where = np.flatnonzero(chosen)
            return data.test[int(where[np.argmax(worth[where])])] if len(where) else None

        rows = [
            [image(labels == row, -np.arange(count))]
            + [image((labels == row) & (said == column), surest) for column in shown]
            for row in shown
        ]
        columns = ["for example", *(data.classes[i] for i in shown)]
        return rows, columns, [("class", 1), ("told as", len(shown))]

    def evaluate(weights, seed):
        found = told(weights)
        said, right = found.argmax(-1), found[np.arange(count), labels]
        wrong = said != labels
        # The surest mistakes first, then what was hardest to get right.
        order = sorted(range(count), key=lambda i: (not wrong[i], right[i], i))[:SHOWN]
        rows = [
            Row(
                data.classes[labels[i]]
                + (f", told as {data.classes[said[i]]}" if wrong[i] else ""),
                {"image": data.test[i]},
                {"probability of its class": float(np.exp(right[i]))},
            )
            for i in order
        ]
        scores = {"accuracy": float(np.mean(~wrong)), "cross_entropy": float(abs(np.mean(right)))}
        title = f"{np.sum(wrong)} of {count} are told wrong: these first, then the hardest"
        return scores, [Section(title, rows)]

    return Bench(grid, evaluate, summary)


def summary(scores: Mapping[str, float]) -> list[str]:
    """Scores in words."""
    if not scores:
        return []
    return [
        f"{scores['accuracy']:.2%} of the test images are told right, cross-entropy "
        f"{scores['cross_entropy']:.4f}"
    ]


MODES = {"accuracy": "max", "cross_entropy": "min"}


TASK = labelled.TASK._replace(
    bench=bench, sides=(), best_mode=best_among(MODES), require_score=lambda name, data: None
)
