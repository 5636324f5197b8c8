"""Two domains of images, which a game translates into each other."""

import numpy as np
from ml_collections import ConfigDict

from jaxgan import evaluators
from jaxgan.comparisons import Comparison, Fakes, images_of
from jaxgan.data import datasets, pipeline
from jaxgan.games.game import Game
from jaxgan.metrics import pairs
from jaxgan.tasks.task import Bench, Task, images, settings


def stream(config: ConfigDict, data: datasets.Dataset, leading, **placement):
    return pipeline.unpaired(data.train_A, data.train_B, **settings(config, leading), **placement)


def bench(config: ConfigDict, data: datasets.Dataset, game: Game) -> Bench:
    tests = evaluators.read_tests(data, config.evaluate.num)
    translate = evaluators.translator(game.sample)
    reals = {
        direction: images_of(f"the run's test images {domain.target}", tests[back].images)
        for (direction, domain), back in zip(tests.items(), reversed(tests), strict=True)
    }

    def compare(weights, seed):
        """Translations beside test images of the domain that they are translated to."""
        found = []
        for direction, domain in tests.items():
            if translate(weights, domain, 1) is None:
                continue

            def made(domain=domain):
                return iter(np.clip(translate(weights, domain).fake, -1, 1))

            whole = domain.images.dtype == np.uint8
            name, count = f"translations {direction}", len(domain.images)
            fakes = Fakes(name, count, None, None, made, whole)
            found.append(
                Comparison(f"_{direction}", reals[direction], lambda count, fakes=fakes: fakes)
            )
        return found

    def each(weights, seed):
        names, found = {}, {}
        for direction, domain in tests.items():
            if (made := translate(weights, domain)) is None:
                continue
            scores = evaluators.score(domain, made)
            if domain.truth is not None:
                fake, truth = np.clip(made.fake, -1, 1), evaluators.unit(domain.truth)
                scores["l1"] = pairs.l1(fake, truth)
                if min(truth.shape[1:3]) >= pairs.WINDOW:
                    scores["ssim"] = pairs.ssim(fake, truth)
            names[f"_{direction}"] = domain.names
            found |= {f"{name}_{direction}": values for name, values in scores.items()}
        return names, found

    return Bench(
        grid=lambda weights, seed: evaluators.sample_grid(translate, weights, tests),
        evaluate=lambda weights, seed: evaluators.evaluate(translate, weights, tests),
        summary=evaluators.summary,
        compare=compare,
        each=each if data.paired else None,
    )


TASK = Task(
    datasets=datasets.DATASETS,
    shapes=lambda config, leading: dict.fromkeys("AB", images(config, leading)),
    sizes=lambda data: {"train_A": len(data.train_A), "train_B": len(data.train_B)},
    stream=stream,
    bench=bench,
    sides=("_AtoB", "_BtoA"),
    best_mode=evaluators.best_mode,
    require_score=lambda name, data: evaluators.require_score(name, data.paired),
)
