"""What a run will take, told by a few of its steps: `python -m jaxgan.cost --config=FILE ...`

takes the words of `python -m jaxgan.main`, trains for a few seconds in no folder, and prints what
was measured as one JSON object. `--seconds=3` is how long steps are timed;
`--scores=fid_random,...` must be among those that the run can give.
"""

import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxgan import commandline

COMMAND = "python -m jaxgan.cost"
FLAGS = {"seconds": 3.0, "scores": ""}
LEAST = 3  # steps that are timed
COMPILING = "/jax/core/compile/backend_compile_duration"  # JAX's name; loading where it's cached
LONG = 30.0  # seconds from which a test isn't made a second time


class Cost(NamedTuple):
    """Seconds on this machine, and how often.

    Attributes:
      start: from the command to the first step's end, but for compiling.
      step: of each further step; of a run in segments, of the last one's.
      sample: a grid.
      evaluation: a test, once its programs are there; `loading` is what the first takes more, but
        for compiling.
      steps, samples, evaluations: of a whole run.
      images: in the larger training domain, of which epochs are.
      once: compiling, for the first run of its programs; later ones load them from JAX's cache.
    """

    start: float
    step: float
    sample: float
    evaluation: float
    loading: float
    steps: int
    samples: int
    evaluations: int
    images: int
    once: float = 0.0

    @property
    def whole(self) -> float:
        """Seconds of a run whose programs are in the cache; saving isn't counted."""
        moving = self.steps * self.step + self.samples * self.sample
        return self.start + moving + self.evaluations * self.evaluation + self.loading


def times(steps: int, every: int) -> int:
    """How often something is due: every so many steps, and after the last one; 0: only then."""
    return -(-steps // every) if every else 1


def main(argv: Sequence[str]) -> int:
    """Runs the command; `argv` is without the program's name. Returns the exit code."""
    return commandline.run(_main, argv, __doc__)


def _main(argv: Sequence[str]) -> None:
    command = commandline.parse(argv, FLAGS, COMMAND)
    from jaxgan import allocation, awake, fields, machine, main, scoring

    config = fields.resolve(command.config, command.overrides)
    allocation.keep()
    machine.prepare(config.precision, config.deterministic)
    built, data, wanted = main.opened(config)
    made = scoring.numbers(wanted, built.task.sides) if wanted else []
    for name in filter(None, command.flags["scores"].split(",")):
        if name not in made:
            built.task.require_score(name, data)
    with compilations() as compiling, awake.cores(config.awake, built.platform):
        found = measured(config, built, data, wanted, command.flags["seconds"], compiling)
    print(json.dumps(found._asdict()))


def measured(config, built, data, wanted, seconds: float, compiling: Sequence[float]) -> Cost:
    """Times a run's steps, its sample and its evaluation.

    Args:
      config: resolved.
      built, data, wanted: as `main.opened` makes them of it.
      seconds: for which steps are timed, at least `LEAST` of them.
      compiling: seconds of each program so far, as `compilations` adds them.
    """
    import jax

    from jaxgan import STARTED, train
    from jaxgan.logs import Logs

    leading = jax.tree.leaves(built.batch)[0].shape[:2]
    batches = train.stream(config, built, data, leading, {"process_index": 0, "process_count": 1})
    first = built.game.segments[-1].first if built.game.segments else 0
    state = built.init(config.seed)
    _, step_of = train.compiled_steps(built, state, first)
    state = jax.block_until_ready(step_of(state, first, batches))
    start = time.perf_counter() - STARTED - sum(compiling)
    done = jax.block_until_ready(state.step + 0)  # compiled before steps are timed
    began, count = time.perf_counter(), 0
    while count < LEAST or time.perf_counter() - began < seconds:
        count += 1
        state = step_of(state, first + count, batches)
        before, done = done, state.step + 0
        jax.block_until_ready(before)  # two under way, as in training
    jax.block_until_ready(state)
    step = (time.perf_counter() - began) / count
    batches.close()
    with tempfile.TemporaryDirectory() as folder:
        logs = Logs(folder, total_steps=1, enabled=False)
        bench = train.Bench(config, built, data, Path(folder), logs, wanted)
        earlier = sum(compiling)
        tests = [_seconds(lambda: bench.evaluate(state, 1))]
        tests[0] -= sum(compiling) - earlier
        if tests[0] < LONG:  # else what loading took of it isn't told apart
            tests.append(_seconds(lambda: bench.evaluate(state, 1)))
        sample = min(_seconds(lambda: bench.sample(state, 1)) for _ in range(2))
    return Cost(
        start=start,
        step=step,
        sample=sample,
        evaluation=tests[-1],
        loading=max(0.0, tests[0] - tests[-1]),
        steps=built.steps,
        samples=times(built.steps, config.train.sample_every),
        evaluations=times(built.steps, config.evaluate.every),
        images=max(built.task.sizes(data).values()),
        once=sum(compiling),
    )


@contextlib.contextmanager
def compilations() -> Iterator[list[float]]:
    """A list to which the seconds of each program are added that is compiled, or loaded."""
    import jax

    found: list[float] = []

    def heard(event: str, seconds: float, **_):
        if event == COMPILING:
            found.append(seconds)

    jax.monitoring.register_event_duration_secs_listener(heard)
    try:
        yield found
    finally:
        jax.monitoring.unregister_event_duration_listener(heard)


def _seconds(do) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
