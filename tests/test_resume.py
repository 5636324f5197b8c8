"""The same bits after any interruption, through the command as it is typed.

Processes are killed for real. Runs that need no process of their own are started in this one.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxgan import checkpoint, evaluators, experiment, initial, main, records, train, workdir
from jaxgan.checkpoint import Checkpoints

ROOT = Path(__file__).parents[1]
CONFIG = f"--config={ROOT / 'configs/cyclegan.py'}:smoke"
UNFINISHED = "*.orbax-checkpoint-tmp*"
# All that a state can hold. The checkpoints at 5 and 10 lie in the midst of a log interval.
FIELDS = {
    "train.steps": 20,
    "train.log_every": 3,
    "train.sample_every": 10,
    "checkpoint.every": 5,
    "checkpoint.keep": 100,
    "evaluate.every": 10,
    "ema.half_life": 10.0,
    "model.generator.norm": "batch",
    "model.generator.dropout": 0.5,
    "model.discriminator.norm": "batch",
    "loss.identity": 0.0,
}
CONSTANT = {f"optimizer.{p}.schedule": "constant" for p in ("generator", "discriminator")}
STEPS = FIELDS["train.steps"]


def arguments(folder, fields=()):
    """Command line words of a run in a folder, with fields of its own."""
    return [CONFIG, *words(FIELDS | dict(fields)), f"--workdir={folder}"]


def words(fields):
    return [f"--config.{name}={value}" for name, value in fields.items()]


def run(folder, fields=()):
    """Runs the command in this process; its exit code."""
    return main.main(arguments(folder, fields))


@pytest.fixture(autouse=True, scope="module")
def compiled_once():
    """Runs in this process that play the same game compile it once: it takes longest."""
    build, compile_update, translator = (
        experiment.build,
        train.compile_update,
        evaluators.translator,
    )
    programs, game = {}, None

    def build_and_note(config, larger_domain):
        nonlocal game
        built = build(config, larger_domain)
        fields = config.to_dict()
        for name in ("seed", "checkpoint", "evaluate", "init"):
            del fields[name]
        for name in ("steps", "log_every", "sample_every"):
            del fields["train"][name]
        game = json.dumps([fields, None if built.growing_fields else built.steps])
        return built

    def translate_once(sample):
        return programs.setdefault(("sample", game), translator(sample))

    class Once:
        def __init__(self, update, mesh, more=0):
            self.update = compile_update(update, mesh, more)
            self.name = (update.__name__, game)

        def lower(self, *arguments):
            self.arguments = arguments
            return self

        def compile(self):
            if self.name not in programs:
                programs[self.name] = self.update.lower(*self.arguments).compile()
            return programs[self.name]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "build", build_and_note)
        patch.setattr(train, "compile_update", Once)
        patch.setattr(evaluators, "translator", translate_once)
        yield


class Process:
    """The command as a process of its own; killed when the test ends, whatever happened."""

    def __init__(self, folder, fields=(), cache=None, fills_cache=False):
        self.folder = Path(folder)
        self.output = self.folder.parent / "stdout"
        self.errors = self.folder.parent / "stderr"
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(paths),
            "JAX_COMPILATION_CACHE_DIR": str(cache or jax.config.jax_compilation_cache_dir),
            # JAX writes its cache in place: a kill in the midst of it would leave a torn entry.
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0" if fills_cache else "1e9",
        }
        command = [sys.executable, "-m", "jaxgan.main", *arguments(folder, fields)]
        with open(self.output, "wb") as output, open(self.errors, "wb") as errors:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=errors, env=environment, cwd=self.folder.parent
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def until(self, happened, seconds=600):
        """Waits, as closely as it can, until something happened; returns what it gave."""
        end = time.monotonic() + seconds
        while not (found := happened()):
            assert self.process.poll() is None, f"ended too early:\n{self.said()}"
            assert time.monotonic() < end, f"still not after {seconds} s:\n{self.said()}"
            time.sleep(0.0005)
        return found

    def send(self, number, seconds=600):
        """Sends a signal and waits for the end; the exit code and the seconds it took."""
        begun = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(timeout=seconds)
        return self.process.returncode, time.monotonic() - begun

    def wait(self, seconds=600):
        return self.process.wait(timeout=seconds)

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)
        os.waitpid(self.process.pid, os.WUNTRACED)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def kill(self):
        assert self.send(signal.SIGKILL)[0] == -signal.SIGKILL

    def said(self):
        return self.output.read_text() + self.errors.read_text()


def newest(folder):
    """The newest checkpoint, as it lies there; 0 for none."""
    return max((int(p.name) for p in folder.glob("checkpoints/*") if p.name.isdecimal()), default=0)


def logged(folder):
    """The step of the newest line in metrics.jsonl."""
    lines = records.read(folder / "metrics.jsonl")
    return lines[-1]["step"] if lines else 0


def lines(path):
    return [
        {name: value for name, value in line.items() if not records.is_timing(name)}
        for line in records.read(path)
    ]


def assert_same_run(folder, reference):
    """Bit for bit: newest checkpoint, metrics, scores, pictures and page."""
    assert checkpoint.compare(folder, reference) == []
    for name in ("metrics.jsonl", "scores.jsonl"):
        assert lines(folder / name) == lines(reference / name)
    pictures = sorted(p.relative_to(reference) for p in reference.glob("samples/*"))
    assert len(pictures) > 0
    for name in (*pictures, "test/index.html"):
        assert (folder / name).read_bytes() == (reference / name).read_bytes(), name


def everything(folder):
    return {p: (p.is_file() and p.read_bytes(), p.stat().st_mtime_ns) for p in folder.rglob("*")}


@pytest.fixture(scope="module")
def reference(tmp_path_factory, compiled_once):
    """A run that was never killed, with all its checkpoints."""
    folder = tmp_path_factory.mktemp("reference") / "run"
    least = jax.config.jax_persistent_cache_min_compile_time_secs
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    try:
        assert run(folder, CONSTANT) == 0
    finally:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", least)
    return folder


@pytest.fixture
def stopped_at(reference, tmp_path):
    """step -> a copy of the reference as a kill leaves it: later lines, no later checkpoint."""

    def copy(step, parent="stopped"):
        folder = tmp_path / parent / "run"
        shutil.copytree(reference, folder)
        for path in (folder / "checkpoints").iterdir():
            if int(path.name) > step:
                shutil.rmtree(path)
        return folder

    return copy


# Killed


@pytest.mark.slow
def test_killed_three_times_the_bits_are_those_of_one_run(reference, tmp_path, capsys):
    folder = tmp_path / "run"

    def inside_a_save(process):
        saving = (folder / "checkpoints").glob(UNFINISHED)
        if newest(folder) <= resumed or not any(saving):
            return False
        process.pause()  # so that what is seen here is what the kill meets
        if any((folder / "checkpoints").glob(UNFINISHED)):
            return True
        process.go_on()
        return False

    moments = {
        "between saves": lambda process: logged(folder) >= 6 and newest(folder),
        "inside a save": inside_a_save,
        "evaluating": lambda process: (folder / "samples/step_000020.png").exists(),
    }
    resumed = 0
    for name, happens in moments.items():
        with Process(folder, CONSTANT) as process:
            process.until(lambda happens=happens, process=process: happens(process))
            process.kill()
        assert (f"resumed at step {resumed}\n" in process.said()) == (resumed > 0)
        assert "Traceback" not in process.said()
        if name == "inside a save":
            assert any((folder / "checkpoints").glob(UNFINISHED))
        resumed = newest(folder)
        assert 0 < resumed < STEPS
    assert run(folder, CONSTANT) == 0
    assert f"resumed at step {resumed}\n" in capsys.readouterr().out
    assert_same_run(folder, reference)


MANY = {
    "train.steps": 300,
    "train.log_every": 7,
    "train.sample_every": 15,
    "checkpoint.keep": 2,
    "checkpoint.best": "psnr_AtoB",
    "evaluate.every": 15,
    "loss.identity": 0.5,
}
BATCHES = {
    "data.batch_size": 4,
    "train.accumulate": 2,
    "pool.size": 5,
    "precision": "bfloat16",
    "model.generator.norm": "instance",
    "model.discriminator.norm": "instance",
}


@pytest.mark.slow
@pytest.mark.parametrize("fields", [{}, BATCHES], ids=["batch norm", "micro-batches, bfloat16"])
def test_ten_kills_at_random_moments(fields, tmp_path):
    fields = MANY | fields
    folder, reference = tmp_path / "killed/run", tmp_path / "reference/run"
    with Process(reference, fields, fills_cache=True) as process:
        assert process.wait() == 0
    generator = random.Random(0)
    where = ["compiling"] * 2 + ["saving"] * 3 + ["evaluating"] * 2 + ["training"] * 3
    generator.shuffle(where)
    where.sort(key=lambda name: name == "compiling")  # after a first checkpoint
    inside, resumed = 0, 0

    def saving():
        return any((folder / "checkpoints").glob(UNFINISHED))

    def moments(process):
        return {
            "compiling": lambda: not resumed or "resumed at step" in process.said(),
            "saving": lambda: newest(folder) > resumed and saving(),
            "evaluating": lambda: newest(folder) > resumed and sampled() > newest(folder),
            "training": lambda: newest(folder) > resumed,
        }

    def sampled():
        pictures = (folder / "samples").glob("step_*.png")
        return max((int(path.stem.removeprefix("step_")) for path in pictures), default=0)

    for name in where:
        longest = {"compiling": 3.0, "saving": 0.1, "evaluating": 0.3, "training": 0.7}[name]
        cache = tmp_path / "cold" if name == "compiling" else None
        with Process(folder, fields, cache) as process:
            process.until(moments(process)[name])
            time.sleep(generator.uniform(0, longest))
            process.kill()
        inside += saving()
        said = process.said()
        assert (f"resumed at step {resumed}\n" in said) == (resumed > 0)
        assert ("first step done" in said) == (name != "compiling")
        assert "Traceback" not in said
        assert resumed + 5 * (name != "compiling") <= newest(folder) < MANY["train.steps"]
        resumed = newest(folder)
    assert inside > 0
    with Process(folder, fields) as process:
        assert process.wait() == 0
    assert f"resumed at step {resumed}\n" in process.said()
    assert_same_run(folder, reference)
    best = [Checkpoints(f, best="psnr_AtoB", read_only=True) for f in (folder, reference)]
    assert best[0].best() == best[1].best()
    assert best[0].steps() == best[1].steps()


def test_a_finished_command_changes_nothing(reference, capsys):
    before = everything(reference)
    assert run(reference, CONSTANT) == 0
    assert f"is finished: step {STEPS} of {STEPS}; nothing to do" in capsys.readouterr().out
    assert everything(reference) == before


# Interrupted


@pytest.mark.slow
def test_a_signal_saves_and_the_same_command_goes_on(reference, tmp_path, capsys):
    folder = tmp_path / "run"
    step = 0
    for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        with Process(folder, CONSTANT) as process:
            process.until(lambda enough=step + 3: logged(folder) >= enough)
            assert process.send(number)[0] == code
        assert (f"resumed at step {step}\n" in process.said()) == (step > 0)
        assert step < newest(folder) < STEPS
        step = newest(folder)
        assert f"saved step {step}; the same command goes on from there" in process.said()
        assert "Traceback" not in process.said()
        assert Checkpoints(folder, read_only=True).latest() == step
    assert run(folder, CONSTANT) == 0
    assert f"resumed at step {step}\n" in capsys.readouterr().out
    assert_same_run(folder, reference)


def test_a_second_run_is_refused_and_ctrl_c_while_compiling_ends_at_once(
    reference, tmp_path, capsys
):
    folder = tmp_path / "run"
    with Process(folder, CONSTANT, cache=tmp_path / "cold") as process:
        process.until((folder / "config.json").exists)
        begun = time.monotonic()
        assert run(folder, CONSTANT) == 2
        message = f"is in use by another run (process {process.process.pid} on"
        assert message in capsys.readouterr().err
        time.sleep(max(0.0, begun + 1.5 - time.monotonic()))
        code, seconds = process.send(signal.SIGINT)
    assert code == 130
    assert seconds < 5
    assert "stopped before the first step" in process.said()
    assert "Traceback" not in process.said()
    assert newest(folder) == 0
    assert run(folder, CONSTANT) == 0
    assert_same_run(folder, reference)


def test_a_torn_checkpoint_is_skipped(reference, stopped_at, capsys, caplog):
    folder = stopped_at(15)
    files = [p for p in (folder / "checkpoints/15/state").rglob("*") if p.is_file()]
    largest = max(files, key=lambda p: p.stat().st_size)
    os.truncate(largest, largest.stat().st_size // 2)
    assert run(folder, CONSTANT) == 0
    assert caplog.text.count("checkpoint 15 is damaged and skipped") == 1
    assert "resumed at step 10\n" in capsys.readouterr().out
    assert_same_run(folder, reference)


# Other configs


@pytest.mark.parametrize(
    ("fields", "difference"),
    [
        ({"seed": 1}, "seed: 0 -> 1"),
        ({"model.generator.width": 8}, "model.generator.width: 4 -> 8"),
        ({"optimizer.generator.schedule": "linear"}, 'schedule: "constant" -> "linear"'),
        ({"train.steps": STEPS - 1}, f"train.steps: {STEPS} -> {STEPS - 1}"),
    ],
)
def test_another_config_is_refused(fields, difference, reference, capsys):
    before = everything(reference)
    assert run(reference, CONSTANT | fields) == 2
    message = capsys.readouterr().err
    assert difference in message
    assert f"--workdir={reference}-2" in message
    assert "Traceback" not in message
    assert everything(reference) == before


def test_more_steps_under_a_schedule_that_depends_on_them_are_refused(stopped_at, capsys):
    folder = stopped_at(STEPS)
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"constant"', '"linear"'))
    before = everything(folder)
    assert run(folder, {"train.steps": STEPS + 10}) == 2
    message = capsys.readouterr().err
    assert f"train.steps: {STEPS} -> {STEPS + 10}\n" in message
    assert f"--config.init.workdir={folder}" in message
    assert everything(folder) == before


def test_more_steps_equal_a_run_that_had_them_from_the_start(reference, tmp_path, capsys):
    folder = tmp_path / "run"
    assert run(folder, CONSTANT | {"train.steps": 10}) == 0
    assert run(folder, CONSTANT) == 0
    assert "resumed at step 10\n" in capsys.readouterr().out
    assert checkpoint.compare(folder, reference) == []
    assert lines(folder / "scores.jsonl") == lines(reference / "scores.jsonl")


def test_logging_and_saving_may_change_and_the_networks_stay(reference, stopped_at):
    folder = stopped_at(10)
    free = {
        "train.log_every": 7,
        "train.sample_every": 0,
        "checkpoint.every": 4,
        "checkpoint.keep": 1,
        "checkpoint.best": "psnr_AtoB",
        "evaluate.every": 6,
        "evaluate.num": 2,
    }
    assert run(folder, CONSTANT | free) == 0
    assert checkpoint.compare(folder, reference) == []
    assert [line["step"] for line in lines(folder / "metrics.jsonl")] == [3, 6, 9, 14, 20]
    assert [line["step"] for line in lines(folder / "scores.jsonl")] == [10, 12, 18, 20]


def test_a_seed_gives_the_same_bits_anywhere_and_another_one_others(stopped_at, tmp_path):
    short = CONSTANT | {"train.steps": 5}
    assert run(tmp_path / "same/run", short) == 0
    assert run(tmp_path / "other/run", short | {"seed": 1}) == 0
    folder = stopped_at(5)
    # The last step is always logged, which empties the running metrics.
    differing = checkpoint.compare(folder, tmp_path / "same/run")
    assert [name for name in differing if not name.startswith("metrics/")] == []
    differing = checkpoint.compare(folder, tmp_path / "other/run")
    kernels = {name for name in differing if name.startswith("params/") and "kernel" in name}
    arrays = Checkpoints(folder, read_only=True).arrays(5)
    assert kernels == {name for name in arrays if name.startswith("params/") and "kernel" in name}


# Another run's networks


@pytest.mark.slow
def test_another_runs_networks(reference, tmp_path, capsys):
    source = tmp_path / "source"
    shutil.copytree(reference, source)
    fields = CONSTANT | {"init.workdir": source, "train.steps": 8}
    fresh, again = tmp_path / "fresh/run", tmp_path / "again/run"
    assert run(fresh, fields) == 0
    digest = workdir.recorded_config(fresh)["init"]["sha256"]
    assert len(digest) == 16

    # Killed before the first checkpoint: it starts from those networks again.
    shutil.copytree(fresh, again)
    shutil.rmtree(again / "checkpoints")
    assert run(again, fields) == 0
    assert_same_run(again, fresh)

    # Killed later, and the source is gone.
    shutil.rmtree(again / "checkpoints/8")
    source.rename(tmp_path / "gone")
    capsys.readouterr()
    assert run(again, fields) == 0
    assert "resumed at step 5\n" in capsys.readouterr().out
    assert_same_run(again, fresh)
    assert workdir.recorded_config(again)["init"]["sha256"] == digest


def test_another_runs_networks_are_where_the_run_starts(reference, tmp_path, monkeypatch):
    seen = []
    replace = initial.replace

    def spy(state, arrays, nets):
        state = replace(state, arrays, nets)
        seen.append(state)
        raise KeyboardInterrupt

    monkeypatch.setattr(initial, "replace", spy)
    fields = CONSTANT | {"init.workdir": reference, "init.nets": "generators"}
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", fields)
    (state,) = seen
    arrays = Checkpoints(reference, read_only=True).arrays(STEPS)
    for net, variables in state.ema.items():
        assert net.startswith("generator_")
        for part, tree in {"params": state.params[net], "stats": state.stats[net]}.items():
            for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
                name = f"{part}/{net}/{jax.tree_util.keystr(path, simple=True, separator='/')}"
                assert np.array_equal(leaf, arrays[name]), name
        assert jax.tree.all(jax.tree.map(np.array_equal, variables, state.variables(net)))
    name = "params/discriminator_A/"
    leaf = jax.tree.leaves(state.params["discriminator_A"])[-1]
    assert not any(np.array_equal(leaf, v) for n, v in arrays.items() if n.startswith(name))
    assert not any(map(np.any, jax.tree.leaves(state.opt)))
    assert state.step == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"init.workdir": "absent"}, "absent holds no run"),
        ({"model.generator.width": 8}, "networks of another shape"),
        ({"init.step": "7"}, "checkpoint 7"),
        ({"init.step": "seven"}, "it takes latest or a step's number"),
        ({"init.nets": "critic"}, "no player or net 'critic'"),
    ],
)
def test_mistakes_about_another_run(fields, message, reference, tmp_path, capsys):
    assert run(tmp_path / "run", CONSTANT | {"init.workdir": reference} | fields) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "run").exists()


# Broken


def test_a_nan_stops_the_run_and_nothing_poisoned_is_saved(tmp_path, capsys, caplog):
    folder = tmp_path / "run"
    fields = {
        "optimizer.generator.learning_rate": 1e30,
        "checkpoint.every": 1,
        "model.generator.norm": "none",  # a norm brings any weights back into range
        "model.discriminator.kind": "pixel",  # this and the rest only make it small
        "loss.identity": 0.0,
        "pool.size": 0,
    }
    assert main.main([CONFIG, *words(fields), f"--workdir={folder}"]) == 3
    message = capsys.readouterr().err
    assert "of 'generators' was NaN or infinite at step 2; checkpoint 1 is good" in message
    assert "learning_rate" in message
    assert "Traceback" not in message + caplog.text
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["1"]
    for name, array in Checkpoints(folder, read_only=True).arrays(1).items():
        assert np.all(np.isfinite(array)), name


@pytest.fixture
def small_disk(tmp_path):
    """3 MB; where mounting isn't allowed, the test that needs it is skipped."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "jaxgan-test", str(disk)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no permission to mount a small file system")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def fill(path):
    with contextlib.suppress(OSError), open(path, "wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


def test_a_full_disk_stops_the_run_and_leaves_the_older_checkpoints(
    small_disk, reference, capsys, caplog
):
    folder = small_disk / "run"
    assert run(folder, CONSTANT) == 2
    message = capsys.readouterr().err
    assert "disk is full" in message or "No space left" in message
    assert "run the same command again" in message
    assert "Traceback" not in message + caplog.text
    checkpoints = Checkpoints(folder, read_only=True)
    steps = checkpoints.steps()
    assert steps == list(range(5, steps[-1] + 1, 5))
    assert steps[-1] < STEPS
    # What a process leaves that is killed in a save: not a byte is free.
    remains = folder / "checkpoints" / f"{STEPS}.orbax-checkpoint-tmp"
    remains.mkdir()
    fill(remains / "d")
    assert shutil.disk_usage(small_disk).free == 0
    assert run(folder, CONSTANT | {"checkpoint.keep": 1}) == 0
    assert f"resumed at step {steps[-1]}\n" in capsys.readouterr().out
    assert checkpoint.compare(folder, reference) == []
