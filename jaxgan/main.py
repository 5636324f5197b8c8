"""Trains what a config describes: `python -m jaxgan.main --config=configs/cyclegan.py`.

Flags: `--config=FILE[:PRESET,...]`, `--config.FIELD=VALUE` for any field of it, `--workdir=FOLDER`
(default: a folder below runs/ named after the config, the presets, the fields given and the seed),
`--distributed` where several processes train together (the scripts in launch/ give it). The same
command goes on where an interrupted run was. Exit code 0: finished; 2: a mistake in what
was typed or brought; 3: a NaN; 130 or 143: interrupted, saved.
"""

import functools
import hashlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from jaxgan import commandline
from jaxgan.interrupts import Interrupts


def main(argv: Sequence[str]) -> int:
    """Runs the command; `argv` is without the program's name. Returns the exit code."""
    with Interrupts() as interrupts:
        return commandline.run(functools.partial(_main, interrupts), argv)


def _main(interrupts: Interrupts, argv: Sequence[str]) -> int:
    if commandline.wants_help(argv):
        from jaxgan import fields

        print(commandline.help_text(__doc__, argv, fields.wanted))
        return 0
    flags = {"workdir": "", "distributed": False}
    command = commandline.parse(argv, flags, "python -m jaxgan.main")
    # Before anything asks JAX for a device, and after the command line was found to be sound.
    from jaxgan import allocation, fields, machine, processes

    config = fields.resolve(command.config, command.overrides)
    allocation.keep()
    machine.prepare(config.precision, config.deterministic, command.flags["distributed"])
    with processes.one_for_all():
        return _run(interrupts, command, config)


def _run(interrupts: Interrupts, command: commandline.Command, config) -> int:
    import jax

    from jaxgan import (
        awake,
        checkpoint,
        initial,
        processes,
        train,
        upscaling_experiment,
        workdir,
    )
    from jaxgan.data.fingerprint import fingerprint

    folder = workdir.resolve(command.flags["workdir"] or default_workdir(command))
    typed = ["python", "-m", "jaxgan.main", *command.argv]
    built, data, wanted = processes.together(lambda: opened(config))
    record = {**config.to_dict(), "found": built.task.sizes(data)}
    seen_by = processes.together(lambda: upscaling_experiment.digest(config))
    if seen_by:
        record["loss"]["perceptual"]["sha256"] = seen_by
    processes.require_same("a config or data", [record, _names(data)])
    source = None
    if config.init.workdir or "init.nets" in command.overrides:
        nets = processes.together(lambda: initial.chosen_nets(config.init, built.game))
    if config.init.workdir:
        arrays, digest = initial.source(config.init, built.game, folder)
        record["init"]["sha256"] = digest
        if arrays is not None:
            source = arrays, nets
            processes.together(lambda: initial.require_same(built.template(), *source))

    def check() -> workdir.Found:
        free, growing = built.free_fields, built.growing_fields
        if seen_by:  # the file's hash tells, wherever it lies
            free = (*free, "loss.perceptual.weights")
        return workdir.check(folder, record, typed, free=free, growing=growing)

    processes.together(check)
    reached = checkpoint.Checkpoints(folder, read_only=True).latest(warn=False) or 0
    if reached >= built.steps:
        if jax.process_index() == 0:
            print(f"{folder} is finished: step {reached} of {built.steps}; nothing to do")
        return 0
    lock = processes.together(lambda: workdir.Lock(folder))
    if jax.process_count() > 1:
        owner = processes.first(lock.owner)
        processes.together(lambda: lock.require_shared(owner))
    # Those of several processes on one machine would compete.
    spin = "off" if config.awake == "auto" and jax.process_count() > 1 else config.awake
    with lock, awake.cores(spin, built.platform) as kept_awake:
        found = processes.together(check)
        checkpoints = checkpoint.Checkpoints(
            folder,
            keep=config.checkpoint.keep,
            best=config.checkpoint.best or None,
            best_mode=built.task.mode(config.checkpoint.best),
        )
        checkpoints.tidy()  # a full disk may have no room even for the next line
        seen = processes.together(lambda: fingerprint(data))
        processes.together(lambda: workdir.record(folder, record, typed, seen))
        notes = list(found.warnings)
        if kept_awake:
            notes.append(f"{kept_awake} cores are kept awake; --config.awake=off lets them sleep")
        given = config, built, data, folder, record, checkpoints, interrupts, notes
        return train.train(*given, source=source, wanted=wanted)


def opened(config):
    """The experiment, its data, and the scores of sets that it asks for, if it does."""
    from jaxgan import experiment, scoring

    first = experiment.build(config, 1)  # its mistakes shall not wait until all images are read
    task, wanted = first.task, scoring.in_training(config)
    scoring.require_sense(config, task, wanted, first.game.classes)
    data = experiment.open_data(config, task)
    scoring.require_there(config, task, data, wanted)
    return experiment.build(config, max(task.sizes(data).values())), data, wanted


def _names(data) -> list[list[str]]:
    sources = []
    for part in data:
        sources += part.values() if isinstance(part, dict) else [part]
    return [list(getattr(source, "names", ())) for source in sources]


def default_workdir(command: commandline.Command) -> Path:
    """runs/NAME[-PRESETS][-FIELD=VALUE...]-seedN: two different experiments never meet."""
    fields = {n: v for n, v in command.overrides.items() if n != "seed"}
    words = [command.name, *command.presets, *(f"{n}={v}" for n, v in sorted(fields.items()))]
    words = [re.sub(r"[^A-Za-z0-9.,=_+-]+", "_", word) for word in words]
    name = "-".join([*words, f"seed{command.config.seed}"])
    if len(name) > 150:  # a folder's name has at most 255 bytes
        name = f"{name[:130]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
    return Path("runs") / name


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
