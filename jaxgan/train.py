"""The loop: data -> update -> log -> sample -> evaluate -> checkpoint, from top to bottom."""

import contextlib
import functools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from clu.parameter_overview import get_parameter_overview
from ml_collections import ConfigDict

from jaxgan import STARTED, checkpoint, initial, pictures, processes, scoring, seeds, workdir
from jaxgan.data import pipeline
from jaxgan.errors import NonFinite
from jaxgan.experiment import Experiment
from jaxgan.files import write_atomically
from jaxgan.interrupts import Interrupts
from jaxgan.logs import Logs
from jaxgan.metrics import networks
from jaxgan.page import page
from jaxgan.plots import panels
from jaxgan.processes import CommonEnd
from jaxgan.sharding import compile_update, local_copy, put_batch, replicated
from jaxgan.state import TrainState, reset_metrics


def train(
    config: ConfigDict,
    experiment: Experiment,
    data: Any,
    folder: Path,
    record: Mapping[str, Any],
    checkpoints: checkpoint.Checkpoints,
    interrupts: Interrupts,
    notes: Sequence[str] = (),
    source: tuple[dict[str, np.ndarray], list[str]] | None = None,
    wanted: scoring.Wanted | None = None,
) -> int:
    """Trains until the run is finished or interrupted; goes on where the folder's run was.

    Args:
      config: resolved.
      experiment: built from it.
      data: the data set that it names.
      folder: of the run; its lock is held.
      record: the config as it is recorded, for the checkpoints.
      checkpoints: of the folder; closed at the end.
      interrupts: held from the first step on; until then a signal ends the process.
      notes: sentences to say at the start.
      source: another run's arrays and the nets to take from them, for step 0.
      wanted: scores of sets, besides the task's own.

    Returns:
      The exit code: 0, or 130 or 143 after ctrl-C or SIGTERM.

    Raises:
      UserError: a full disk, a folder that can't be written.
      NonFinite: a loss or a gradient was NaN or infinite.
    """
    start = checkpoints.latest() or 0
    leading = jax.tree.leaves(experiment.batch)[0].shape[:2]
    place = {"process_index": jax.process_index(), "process_count": jax.process_count()}
    batches = stream(config, experiment, data, leading, place)
    logs = Logs(
        folder,
        total_steps=experiment.steps,
        resumed_step=start,
        enabled=jax.process_index() == 0,
    )
    with checkpoints, logs, contextlib.closing(batches):
        for note in (*data.notes, *experiment.game.notes, *notes):
            logs.say(note)
        began = time.perf_counter()
        if start:
            state, place = checkpoints.restore(start, experiment.template())
            batches.set_state(place)
            logs.say(f"resumed at step {start}")
        else:
            state = experiment.init(config.seed)
            if source is not None:
                state = initial.replace(state, *source)
            if jax.process_index() == 0:
                one = state if experiment.seeds == 1 else seeds.one(state, 0)
                table = get_parameter_overview(one.params, include_stats=False)
                write_atomically(folder / "networks.txt", f"{table}\n".encode())
        update, step_of = compiled_steps(experiment, state, start)
        logs.say(_announcement(config, experiment, state, update, began))

        bench = Bench(config, experiment, data, folder, logs, wanted)
        lost: set[int] = set()
        clock = _Clock(batches)
        end = CommonEnd(interrupts, experiment.mesh)
        done = state.step + 0
        processes.together(lambda: None)  # nobody may end alone once somebody trains
        interrupts.hold()
        for step in range(start + 1, experiment.steps + 1):
            state = step_of(state, step - 1, batches)
            # At most two steps are under way, so that waiting for data is seen as such.
            before, done = done, state.step + 0
            signal = end.signal()
            jax.block_until_ready(before)
            clock.tick()
            logs.progress(step)
            if step == start + 1:
                jax.block_until_ready(state)
                seconds = time.perf_counter() - STARTED
                logs.say(f"first step done {seconds:.1f} s after the command")
                clock = _Clock(batches)

            due = _due(config, step, experiment.steps)
            if not (due or signal):
                continue
            jax.block_until_ready(state)
            clock.pause()
            _require_finite(state, experiment, checkpoints, config.seed, lost, logs)
            if "log" in due:
                line = _line(state, experiment, config.seed)
                logs.metrics(step, line | clock.read(experiment.seeds * config.data.batch_size))
                state = reset_metrics(state)
            if "sample" in due:
                bench.sample(state, step)
            scores = bench.evaluate(state, step) if "evaluate" in due else None
            if step == experiment.steps and experiment.seeds > 1:  # first: a saved end is the end
                seeds.split(folder, record, state, step, batches.get_state())
            if signal or "checkpoint" in due:
                checkpoints.save(step, state, batches.get_state(), record, scores)
            checkpoints.poll()
            if signal and step < experiment.steps:
                logs.say(f"interrupted: saving step {step}")
                checkpoints.wait()
                logs.say(f"saved step {step}; the same command goes on from there")
                return 128 + signal
            clock.go()
        checkpoints.wait()
        for line in bench.summary():
            logs.say(line)
    return 0


def compiled_steps(experiment: Experiment, state: TrainState, start: int):
    """The compiled update, and (state, step from 0, batches) -> the state after that step.

    Of a run in segments it is the one that takes most memory of those that follow step `start`.
    """
    mesh, extra = experiment.mesh, experiment.game.extra
    constants = jax.device_put(experiment.constants(), replicated(mesh))
    more = () if extra is None else (np.int32(0),)

    def compiled(function):
        jitted = compile_update(function, mesh, len(more))
        return jitted.lower(state, experiment.whole_batch(), constants, *more).compile()

    updates = functools.cache(lambda segment: compiled(experiment.update(segment)))
    update = updates(experiment.segment(start))
    # Of a run in segments, those still to come, too: what can't be done is told at the start.
    ahead = [updates(s) for s in experiment.game.segments if s.first >= start]
    if ahead:
        update = max([update, *ahead], key=_memory)
    if extra is None:

        def step_of(state, step, batches):
            segment = experiment.segment(step)
            if segment is not None and step == segment.first:
                state = experiment.entered(state, segment)
            return updates(segment)(state, put_batch(next(batches), mesh), constants)

        return update, step_of
    rounds = compiled(experiment.rounds())
    length = next(p.repeats for p in experiment.game.phases if p.name == extra.phase)

    def step_of(state, step, batches):
        count = extra.batches(step)
        for i in range(count):
            batch = put_batch(next(batches), mesh)
            state = rounds(state, batch, constants, np.int32(i * length))
        batch = put_batch(next(batches), mesh)
        return update(state, batch, constants, np.int32(count * length))

    return update, step_of


def _due(config: ConfigDict, step: int, last: int) -> set[str]:
    """What is to be done after a step; after the last one, all of it."""
    every = {
        "log": config.train.log_every,
        "sample": config.train.sample_every,
        "evaluate": config.evaluate.every,
        "checkpoint": config.checkpoint.every,
    }
    return {name for name, n in every.items() if step == last or (n and step % n == 0)}


def stream(config: ConfigDict, experiment: Experiment, data: Any, leading, place):
    """The run's batches; of several seeds, each seed's own."""
    if experiment.seeds == 1:
        return experiment.task.stream(config, data, leading, **place)
    streams = []
    for i in range(experiment.seeds):
        alone = config.copy_and_resolve_references()
        alone.seed = config.seed + i
        streams.append(experiment.task.stream(alone, data, leading, **place))
    return seeds.Streams(streams)


def _line(state: TrainState, experiment: Experiment, first_seed: int) -> dict[str, float]:
    """The metrics since the last line, as means, and the schedules now.

    Of several seeds: the mean over those that have met no NaN, and each one's as `seedN/name`.

    Args:
      first_seed: of the group.
    """
    sums = jax.device_get(state.metrics)
    if experiment.game.segments:  # what wasn't played has no mean
        sums = {name: (total, count) for name, (total, count) in sums.items() if np.any(count)}
    if experiment.seeds == 1:
        means = {name: float(total / max(count, 1)) for name, (total, count) in sums.items()}
    else:
        going, means = seeds.good(state), {}
        each = {name: total / np.maximum(count, 1) for name, (total, count) in sums.items()}
        for name, values in each.items():
            means[name] = float(np.mean(values[going]))
            means |= {f"seed{first_seed + i}/{name}": float(values[i]) for i in going}
    now = {name: float(f(state.images)) for name, f in experiment.schedules.items()}
    return {"images": int(state.images), **means, **now}


def _require_finite(
    state: TrainState,
    experiment: Experiment,
    checkpoints: checkpoint.Checkpoints,
    first_seed: int,
    lost: set[int],
    logs: Logs,
) -> None:
    """Stops a run whose networks are lost; of several seeds, when the last one is.

    Args:
      first_seed: of the group.
      lost: places of seeds that have been told about; grows.

    Raises:
      NonFinite: naming the first bad step and its phase.
    """
    bad = np.asarray(jax.device_get(state.first_bad)).reshape(-1, 2)
    going = np.any(bad[:, 0] < 0)
    if experiment.seeds > 1:
        for i in sorted(set(np.flatnonzero(bad[:, 0] >= 0).tolist()) - lost):
            name = experiment.game.phases[bad[i, 1]].name
            logs.say(
                f"seed {first_seed + i} stopped at step {bad[i, 0] + 1}: {name!r} met a NaN or an "
                "infinite number" + ("; the others go on" if going else "")
            )
            lost.add(i)
    if going:
        return
    step, phase = (int(x) for x in bad[np.argmax(bad[:, 0])])
    name = experiment.game.phases[phase].name
    checkpoints.wait()
    good = checkpoints.latest()
    kept = "no checkpoint was saved yet" if good is None else f"checkpoint {good} is good and stays"
    last = " of the last seed" if experiment.seeds > 1 else ""
    raise NonFinite(
        f"a loss, a gradient or a weight of {name!r} was NaN or infinite at step {step + 1}{last}; "
        f"{kept}. The same command would meet it again: a lower "
        "--config.optimizer.*.learning_rate, --config.precision=float32 or another "
        "--config.loss.adversarial usually helps."
    )


def _announcement(config: ConfigDict, experiment: Experiment, state, update, began: float) -> str:
    """What a start says: the work ahead, the devices, memory and disk."""
    count = sum(x.size for x in jax.tree.leaves(state.params)) // experiment.seeds
    weights = f"{count / 1e6:.1f} M" if count >= 1e5 else f"{count}"
    parts = [
        f"{experiment.steps} step{'s' * (experiment.steps != 1)} of "
        + experiment.task.shown(config)
        + (f" for {experiment.seeds} seeds" if experiment.seeds > 1 else ""),
        f"{weights} weights in {len(state.params)} nets",
        _shared_by(config, experiment),
        f"a checkpoint weighs {checkpoint.readable(checkpoint.size_on_disk(state))}",
        f"compiled in {time.perf_counter() - began:.1f} s",
    ]
    peak = _memory(update)
    if peak:
        parts.insert(3, f"about {checkpoint.readable(peak)} of memory a device")
    return ", ".join(parts)


def _memory(update) -> int:
    """Bytes that a compiled update takes on a device; 0 where XLA doesn't tell."""
    memory = update.memory_analysis()
    return memory.argument_size_in_bytes + memory.temp_size_in_bytes if memory else 0


def _shared_by(config: ConfigDict, experiment: Experiment) -> str:
    """The devices that share a batch, and why not more."""
    devices, there = experiment.mesh.size, len(jax.devices())
    kind = experiment.mesh.devices.flat[0].device_kind
    text = f"{there} {kind} {'device' if there == 1 else 'devices'}"
    if devices < there:
        micro = config.data.batch_size // config.train.accumulate
        why = f"as {micro} images at a time divide" if micro > 1 else "for 1 image at a time"
        why = f"for {experiment.seeds} seeds side by side" if experiment.seeds > 1 else why
        text = f"{devices} of {text}" + (f" ({why})" if str(config.devices) == "auto" else "")
    if jax.process_count() > 1:
        text += f" in {jax.process_count()} processes"
    return text


class _Clock:
    """Time spent in steps, and in waiting for data, since the last reading."""

    def __init__(self, batches: pipeline.Batches):
        self._batches, self._busy, self._steps = batches, 0.0, 0
        self._waited = batches.waited_seconds
        self.go()

    def go(self) -> None:
        self._began = time.perf_counter()

    def pause(self) -> None:
        self._busy += time.perf_counter() - self._began

    def tick(self) -> None:
        self._steps += 1

    def read(self, batch_size: int) -> dict[str, float]:
        """Rates since the last reading; samples, scores and saves aren't counted."""
        waited = self._batches.waited_seconds
        line = {}
        if self._steps:
            line["images_per_second"] = self._steps * batch_size / self._busy
            line["seconds_per_step"] = self._busy / self._steps
            line["data_wait_share"] = (waited - self._waited) / self._busy
        self._busy, self._steps, self._waited = 0.0, 0, waited
        return line


class Bench:
    """The test set, and what becomes of it; of several seeds, one after another."""

    def __init__(self, config, experiment: Experiment, data: Any, folder: Path, logs: Logs, wanted):
        self._config, self._experiment = config, experiment
        self._folder, self._logs = folder, logs
        self._bench = experiment.task.bench(config, data, experiment.game)
        self._wanted, self._reals = wanted, {}
        self._provenance = functools.cache(workdir.provenance)

    def sample(self, state: TrainState, step: int) -> None:
        """samples/step_N.png: what the weights make, always of the same input."""
        title = f"step {step}" if self._experiment.seeds == 1 else None
        shown = []
        for seed, weights in self._weights(state).items():
            rows, labels, groups = self._bench.grid(weights, seed)
            shown.append((f"seed {seed}", pictures.grid(rows, labels, title, groups)))
        picture = shown[0][1] if self._experiment.seeds == 1 else panels(shown)
        self._logs.images(step, "samples", picture)

    def evaluate(self, state: TrainState, step: int) -> dict[str, float]:
        """The whole test set: scores.jsonl and test/index.html."""
        alone = self._experiment.seeds == 1
        each, sections, said, of_real = {}, [], [], {}
        weights_of = self._weights(state)
        c = self._config
        made_by = {"weights": "ema" if state.ema else "raw", "trained_seed": c.seed}
        for seed, weights in weights_of.items():
            of = "" if alone else f"seed {seed}: "
            each[seed], made = self._bench.evaluate(weights, seed)
            if self._wanted:
                args = weights, seed, c.evaluate.num, self._reals
                found, of_real, counts = scoring.of_weights(self._wanted, self._bench, *args)
                each[seed] |= found
                made_by |= counts
            sections += [section._replace(title=of + section.title) for section in made]
            lines = self._bench.summary(each[seed])
            if self._wanted:
                lines.append(", ".join(f"{name} {value:.4g}" for name, value in found.items()))
            said += [f"step {step}: {of}{line}" for line in lines]
        scores = each[self._config.seed] if alone else seeds.scores(each)
        hashes = {str(seed): networks.hashed(weights) for seed, weights in weights_of.items()}
        made_by["seed"] = c.seed if alone else list(weights_of)
        made_by["weights_sha256"] = hashes[str(c.seed)] if alone else hashes
        how = scoring.how(self._wanted, of_real, made_by) | self._provenance()
        self._logs.scores(step, scores | {"how": how})
        facts = {"step": step, **scores, "config": self._config.to_dict()}
        if jax.process_index() == 0:
            page(self._folder / "test" / "index.html", self._folder.name, sections, facts)
        for line in said:
            self._logs.say(line)
        return scores

    def _weights(self, state: TrainState) -> dict[int, Any]:
        """Seed -> net -> variables, of the seeds that have met no NaN."""
        state, first = local_copy(state), self._config.seed
        weights = self._experiment.weights
        if self._experiment.seeds == 1:
            return {first: weights(state)}
        return {first + i: weights(seeds.one(state, i)) for i in seeds.good(state)}

    def summary(self) -> list[str]:
        """What to read at the end of a run."""
        pages = [self._folder / "test" / "index.html", self._folder / "samples"]
        lines = [f"done; test images: {pages[0]}, samples: {pages[1]}"]
        if self._experiment.seeds > 1:
            lines.append(f"each seed is a run of its own in {self._folder / 'seeds'}")
        return lines
