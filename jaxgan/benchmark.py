"""How fast a config trains on this machine: one line of JSON on stdout.

    python -m jaxgan.benchmark --config=configs/cyclegan.py --steps=30 --warmup=3

takes `--config.FIELD=VALUE` as `jaxgan.main` does, and writes nothing. The images are made in
memory, so that no data set needs to be there. The state evolves as in training. Each step is
waited for; the first `--warmup` ones don't count. `--steps=0 --warmup=0` only compiles, so that the
memory of a step is known before there is a machine that has it; figures of time are null then.

- `images_per_second`: images of one domain through the whole step as the config has it; of several
  `seeds`, all of theirs together.
- `seconds_per_step`: the median, between `seconds_per_step_p10` and `seconds_per_step_p90`.
- `compile_seconds`: of the step, `compiled_from_cache` or not. `startup_seconds`: from the command
  to the end of the first step.
- `peak_memory_bytes`: the most that one device used, or, where devices don't tell (CPUs), this
  process (`peak_memory_of`). `step_memory_bytes`: what XLA plans for the step on one device.
- `cores_kept_awake`: see `config.awake`.
- `share_of_peak`: `flops_per_step` (its convolutions and matrix products) per second, over what the
  devices' data sheet promises at the config's precision; null where no figure is known, as for
  CPUs.
"""

import itertools
import json
import math
import resource
import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxgan import (
    STARTED,
    allocation,
    awake,
    commandline,
    experiment,
    fields,
    flops,
    machine,
    workdir,
)
from jaxgan.errors import UserError
from jaxgan.experiment import Experiment
from jaxgan.games.game import Segment
from jaxgan.sharding import compile_update, put_batch, replicated
from jaxgan.state import TrainState

LARGER_DOMAIN = 1000  # images that an epoch is taken to have; it decides the schedules alone
BATCHES = 4  # different ones, taken in turn

# Dense TFLOP/s of one device for (float32, bfloat16, float64), from the makers' data sheets.
# JAX's default float32 matrix product runs as TF32 on Ampere and Hopper, as bfloat16 on TPUs.
# JAX's devices are cores on TPU v2 and v3, chips later. The first name found in a device's counts.
PEAKS = {
    "H200 NVL": (417.5, 835.0, 60.0),
    "H200": (494.5, 989.0, 67.0),
    "H100 PCIe": (378.0, 756.0, 51.0),
    "H100 NVL": (417.5, 835.0, 60.0),
    "H100": (494.5, 989.0, 67.0),
    "A100": (156.0, 312.0, 19.5),
    "V100": (15.7, None, 7.8),
    "T4": (8.1, None, 0.25),
    "TPU v2": (22.5, 22.5, None),
    "TPU v3": (61.5, 61.5, None),
    "TPU v4 lite": (138.0, 138.0, None),
    "TPU v4": (275.0, 275.0, None),
    "TPU v5 lite": (197.0, 197.0, None),
    "TPU v5e": (197.0, 197.0, None),
    "TPU v5": (459.0, 459.0, None),
    "TPU v6": (918.0, 918.0, None),
}
FLAGS = {"steps": 30, "warmup": 3}


class Measurement(NamedTuple):
    """What `measure` saw.

    Attributes:
      state: after the last step.
      seconds: of each counted step.
      compile_seconds: of lowering and compiling the update.
      from_cache: whether its program came from the compilation cache.
      first_step: `time.perf_counter()` at the end of the first step; None where there was none.
      step_memory_bytes: XLA's plan for one device; None where it gives none.
    """

    state: TrainState
    seconds: list[float]
    compile_seconds: float
    from_cache: bool
    first_step: float | None
    step_memory_bytes: int | None


def main(argv: Sequence[str]) -> int:
    """Runs the command; `argv` is without the program's name. Returns the exit code."""
    return commandline.run(_main, argv)


def _main(argv: Sequence[str]) -> int:
    if commandline.wants_help(argv):
        print(commandline.help_text(__doc__, argv, fields.wanted))
        return 0
    command = commandline.parse(argv, FLAGS, "python -m jaxgan.benchmark")
    steps, warmup = command.flags["steps"], command.flags["warmup"]
    if warmup < 0 or steps < 0 or (steps == 0 and warmup > 0):
        raise UserError(
            f"--steps={steps} --warmup={warmup} measures nothing; try --steps=30 --warmup=3"
        )
    config = fields.resolve(command.config, command.overrides)
    allocation.keep()
    machine.prepare(config.precision, config.deterministic)
    built = experiment.build(config, LARGER_DOMAIN)
    print(f"compiling, then {warmup} + {steps} steps", file=sys.stderr)
    with awake.cores(config.awake, built.platform) as kept_awake:
        seen = measure(built, config.seed, steps, warmup)

    period = math.lcm(*(phase.every for phase in built.game.phases))
    median, low, high = spread(seen.seconds, period) if steps else (None, None, None)
    work = flops_per_step(built)
    devices = list(built.mesh.devices.ravel())
    peak, of = peak_memory(devices)
    provenance = workdir.provenance()
    line = {
        "config": command.name,
        "presets": command.presets,
        "overrides": command.overrides,
        "images_per_second": median and built.seeds * config.data.batch_size / median,
        "seconds_per_step": median,
        "seconds_per_step_p10": low,
        "seconds_per_step_p90": high,
        "steps": steps,
        "warmup": warmup,
        "compile_seconds": seen.compile_seconds,
        "compiled_from_cache": seen.from_cache,
        "startup_seconds": seen.first_step and seen.first_step - STARTED,
        "peak_memory_bytes": peak,
        "peak_memory_of": of,
        "step_memory_bytes": seen.step_memory_bytes,
        "flops_per_step": work,
        "share_of_peak": share_of_peak(
            work, median, devices[0].device_kind, len(devices), config.precision
        ),
        "devices": len(devices),
        "cores_kept_awake": kept_awake,
        "batch_size": config.data.batch_size,
        "seeds": built.seeds,
        "image_size": config.data.image_size,
        "precision": config.precision,
        **{name: provenance[name] for name in ("device", "versions", "git")},
    }
    print(json.dumps(line))
    return 0


def measure(built: Experiment, seed: int, steps: int, warmup: int) -> Measurement:
    """Trains `warmup + steps` steps on random images and times the last `steps` of them.

    A step's time goes from a batch in this machine's memory to the state on the devices. The rounds
    that a game adds to some steps aren't played; of a game in segments the last one is.

    Args:
      built: the experiment.
      seed: of the state and of the images.
      steps, warmup: numbers of steps; both may be 0.
    """
    rng = np.random.default_rng(seed)
    batches = [
        {name: _pixels(rng, x, jax.process_count()) for name, x in built.whole_batch().items()}
        for _ in range(BATCHES)
    ]
    more = () if built.game.extra is None else (np.int32(0),)
    state = jax.block_until_ready(built.init(seed))
    began = time.perf_counter()
    constants = jax.device_put(built.constants(), replicated(built.mesh))
    update = compile_update(built.update(_measured(built)), built.mesh, len(more))
    with _CacheHits() as cache:
        update = update.lower(state, built.whole_batch(), constants, *more).compile()
    compile_seconds = time.perf_counter() - began

    ends = [time.perf_counter()]
    for i in range(warmup + steps):
        batch = put_batch(batches[i % BATCHES], built.mesh)
        state = jax.block_until_ready(update(state, batch, constants, *more))
        ends.append(time.perf_counter())
    seconds = [after - before for before, after in itertools.pairwise(ends)]
    memory = update.memory_analysis()
    return Measurement(
        state,
        seconds[warmup:],
        compile_seconds,
        cache.seen,
        ends[1] if len(ends) > 1 else None,
        memory and memory.argument_size_in_bytes + memory.temp_size_in_bytes,
    )


def _measured(built: Experiment) -> Segment | None:
    """Of a game in segments the last one, which is most of a run."""
    return built.segment(built.steps)


def _pixels(rng, like: jax.ShapeDtypeStruct, processes: int):
    repeats, accumulate, micro, *rest = like.shape
    shape = (repeats, accumulate, micro // processes, *rest)
    if like.dtype == "uint8":
        return rng.integers(0, 256, shape, dtype="uint8")
    if like.dtype == "int32":  # classes
        return np.zeros(shape, "int32")
    return 2 * rng.random(shape, dtype=like.dtype) - 1


def flops_per_step(built: Experiment) -> int | None:
    """FLOPs of one step on all devices together; None where phases are lazy.

    (Which branch of a `cond` is played how often can't be seen in the program.)
    """
    if any(phase.every > 1 for phase in built.game.phases):
        return None
    update = built.update(_measured(built))
    return flops.count(update, built.template(), built.whole_batch(), built.constants())


def spread(seconds: Sequence[float], period: int = 1) -> tuple[float, float, float]:
    """Median, 10th and 90th percentile of seconds per step.

    Args:
      seconds: of each step.
      period: steps after which all lazy phases have had their turn. Their steps are dearer, so
        that means over whole periods are what is ranked; a last, shorter one counts only where
        there is no other.
    """
    whole = len(seconds) // period * period
    means = np.mean(np.reshape(seconds[:whole], (-1, period)), 1) if whole else [np.mean(seconds)]
    return tuple(float(x) for x in np.percentile(means, (50, 10, 90)))


def peak_memory(devices: Sequence[Any]) -> tuple[int, str]:
    """Bytes in use at the worst moment so far: of one "device", or of this "process"."""
    stats = [device.memory_stats() or {} for device in devices]
    if all("peak_bytes_in_use" in s for s in stats):
        return max(s["peak_bytes_in_use"] for s in stats), "device"
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, "process"


def share_of_peak(
    work: float | None, seconds: float | None, kind: str, count: int, precision: str
) -> float | None:
    """FLOPs (`work`) per second over the peak of `count` devices of a kind; None where unknown."""
    column = ("float32", "bfloat16", "float64").index(precision)
    peak = next((row[column] for name, row in PEAKS.items() if name in kind), None)
    return work / seconds / (count * peak * 1e12) if work and seconds and peak else None


class _CacheHits:
    """Whether something was found in the compilation cache inside this `with`."""

    def __enter__(self) -> "_CacheHits":
        self.seen = False
        jax.monitoring.register_event_listener(self._listen)
        return self

    def __exit__(self, *_) -> None:
        jax.monitoring.unregister_event_listener(self._listen)

    def _listen(self, event: str, **_) -> None:
        self.seen |= event == "/jax/compilation_cache/cache_hits"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
