"""Two domains of images, which a game translates into each other."""

from ml_collections import ConfigDict

from jaxgan import evaluators
from jaxgan.data import datasets, pipeline
from jaxgan.games.game import Game
from jaxgan.tasks.task import Bench, Task, images, settings


def stream(config: ConfigDict, data: datasets.Dataset, leading, **placement):
    return pipeline.unpaired(data.train_A, data.train_B, **settings(config, leading), **placement)


def bench(config: ConfigDict, data: datasets.Dataset, game: Game) -> Bench:
    tests = evaluators.read_tests(data, config.evaluate.num)
    translate = evaluators.translator(game.sample)
    return Bench(
        grid=lambda weights, seed: evaluators.sample_grid(translate, weights, tests),
        evaluate=lambda weights, seed: evaluators.evaluate(translate, weights, tests),
        summary=evaluators.summary,
    )


TASK = Task(
    datasets=datasets.DATASETS,
    shapes=lambda config, leading: dict.fromkeys("AB", images(config, leading)),
    sizes=lambda data: {"train_A": len(data.train_A), "train_B": len(data.train_B)},
    stream=stream,
    bench=bench,
    best_mode=evaluators.best_mode,
    require_score=lambda name, data: evaluators.require_score(name, data.paired),
)
