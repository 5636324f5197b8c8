"""Several processes train one run: as one does, and whatever happens to them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from jaxgan import launch
from jaxgan.checkpoint import Checkpoints

ROOT = Path(__file__).parents[1]
# Without norms no bias has rounding errors alone for a gradient, which Adam would blow up.
FIELDS = (
    "precision=float64",
    "data.batch_size=4",
    "model.generator.norm=none",
    "model.discriminator.norm=none",
    "train.log_every=1",
)


def words(run, *fields):
    config = f"--config={ROOT / 'configs/cyclegan.py'}:smoke"
    return [config, f"--workdir={run}", *(f"--config.{field}" for field in (*FIELDS, *fields))]


def environment(devices=1):
    flags = f"--xla_force_host_platform_device_count={devices}"
    cleared = {n: v for n, v in os.environ.items() if not n.startswith("JAX_")}
    cache = {"JAX_COMPILATION_CACHE_DIR": os.environ.get("JAX_COMPILATION_CACHE_DIR", "")}
    return {
        **cleared,
        **{name: value for name, value in cache.items() if value},
        "XLA_FLAGS": flags,
        "JAX_PLATFORMS": "cpu",
        "PYTHON": sys.executable,
        "PYTHONPATH": f"{ROOT}:.",
    }


def start(count, run, *fields, devices=1):
    """`count` processes through launch/local.sh; one without it."""
    command = [str(ROOT / "launch/local.sh"), str(count)] if count > 1 else []
    command = command or [sys.executable, "-m", "jaxgan.main"]
    return subprocess.Popen(
        [*command, *words(run, *fields)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(devices),
    )


def finished(count, run, *fields, devices=1, code=0):
    """Its output, after it ended."""
    process = start(count, run, *fields, devices=devices)
    out, _ = process.communicate(timeout=400)
    assert process.returncode == code, out
    return out


def states(run):
    """step -> arrays of all checkpoints that are there."""
    checkpoints = Checkpoints(run, read_only=True)
    return {step: checkpoints.arrays(step) for step in checkpoints.steps()}


def assert_close(ours, theirs, tolerance=1e-9):
    assert set(ours) == set(theirs)
    for step, arrays in ours.items():
        assert set(arrays) == set(theirs[step])
        for name, a in arrays.items():
            b = theirs[step][name].astype(np.float64)
            error = np.max(np.abs(a.astype(np.float64) - b), initial=0)
            assert error <= tolerance * np.max(np.abs(b), initial=0), (step, name)


def wait_for(path, process, seconds=300):
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def children(process):
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(word) for word in listed.split()]


def test_a_mistake_is_told_once(tmp_path):
    """Both processes find it, one says it, and nothing is written."""
    process = subprocess.run(
        [str(ROOT / "launch/local.sh"), "2", *words(tmp_path / "run", "data.batch_size=1")],
        capture_output=True,
        text=True,
        env=environment(),
    )
    assert process.returncode == 2, process.stderr
    assert process.stderr.count("error: ") == 1
    assert "a batch of 1 can't be shared by 2 processes" in process.stderr
    assert "Traceback" not in process.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("argv", [[], ["0"], ["two"], ["--config=x"]])
def test_launch_says_what_it_takes(argv, capsys):
    assert launch.main(argv) == 2
    assert "try: launch/local.sh 2 --config=" in capsys.readouterr().err


def test_launch_shows_what_a_process_said_that_failed(monkeypatch, capfd):
    """The first one is heard as it speaks; the others where they fail, and all are ended."""
    script = (
        "import os, sys, time; print('I am', os.environ['JAX_PROCESS_ID'], flush=True); "
        "time.sleep(60) if os.environ['JAX_PROCESS_ID'] != '1' else sys.exit('broken')"
    )
    begin = subprocess.Popen
    monkeypatch.setattr(
        subprocess, "Popen", lambda _, **more: begin([sys.executable, "-c", script], **more)
    )
    monkeypatch.setattr(launch, "GRACE", 0.5)
    began = time.monotonic()
    assert launch.main(["3", "--config=x"]) == 1
    assert time.monotonic() - began < 30
    out, err = capfd.readouterr()
    assert out == "I am 0\n"
    assert err.startswith("process 1 ended with 1; its last lines:\nI am 1\nbroken\n")
    assert "process 2 ended with 137" in err


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Three steps of one process, with every checkpoint."""
    run = tmp_path_factory.mktemp("alone") / "run"
    finished(1, run, "train.steps=3", "checkpoint.every=1", "checkpoint.keep=3")
    return run


@pytest.mark.slow
def test_two_processes_agree_with_one(alone, tmp_path):
    """All arrays after each of three steps, the log and the scores, within 1e-9."""
    run = tmp_path / "run"
    fields = ("train.steps=3", "checkpoint.every=1", "checkpoint.keep=3")
    out = finished(2, run, *fields, devices=2)
    assert "4 of 4 cpu devices in 2 processes" in out or "4 cpu devices in 2 processes" in out
    assert_close(states(run), states(alone))
    for name in ("metrics.jsonl", "scores.jsonl"):
        ours, theirs = (
            [json.loads(line) for line in (folder / name).read_text().splitlines()]
            for folder in (run, alone)
        )
        assert len(ours) == len(theirs)  # only one process writes
        for a, b in zip(ours, theirs, strict=True):
            assert set(a) == set(b)
            for key, value in b.items():
                if isinstance(value, float) and not any(w in key for w in ("second", "wait")):
                    assert a[key] == pytest.approx(value, rel=1e-7), key


@pytest.mark.slow
def test_the_first_step_in_float32(tmp_path):
    fields = ("precision=float32", "train.steps=1", "evaluate.every=0")
    lines = []
    for count in (1, 2):
        finished(count, tmp_path / str(count), *fields)
        lines.append(json.loads((tmp_path / str(count) / "metrics.jsonl").read_text()))
    losses = [n for n in lines[0] if n.startswith(("generator", "cycle", "discrim", "identity"))]
    assert len(losses) == 8
    for name in losses:
        assert lines[1][name] == pytest.approx(lines[0][name], rel=1e-5)


@pytest.mark.slow
def test_two_processes_start_from_another_runs_networks(alone, tmp_path):
    """Resumed, too, they take nothing from it again."""
    fields = ("train.steps=2", "checkpoint.every=1", "checkpoint.keep=2", f"init.workdir={alone}")
    finished(2, tmp_path / "two", *fields)
    finished(1, tmp_path / "one", *fields)
    assert_close(states(tmp_path / "two"), states(tmp_path / "one"))
    out = finished(2, tmp_path / "two", *fields)
    assert "is finished: step 2 of 2" in out


@pytest.mark.slow
def test_killed_as_two_it_goes_on_as_one_and_back(tmp_path):
    fields = ("train.steps=12", "checkpoint.every=2", "checkpoint.keep=20")
    process = start(2, tmp_path / "run", *fields)
    wait_for(tmp_path / "run/checkpoints/4", process)
    process.kill()  # and with it, both
    process.communicate(timeout=60)
    reached = max(states(tmp_path / "run"))
    out = finished(1, tmp_path / "run", *fields, "train.log_every=2")
    assert f"resumed at step {reached}" in out
    finished(1, tmp_path / "whole", *fields)
    ours, theirs = states(tmp_path / "run"), states(tmp_path / "whole")
    assert_close(ours, theirs, 1e-7)

    for step in (12, 10, 8):  # as if the one had been killed
        for path in sorted((tmp_path / f"run/checkpoints/{step}").rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        (tmp_path / f"run/checkpoints/{step}").rmdir()
    assert "resumed at step 6" in finished(2, tmp_path / "run", *fields)
    assert_close(states(tmp_path / "run"), theirs, 1e-7)


ODD = """
import os
import numpy as np
from jaxgan.data.datasets import Dataset
from jaxgan.errors import UserError

SECOND = os.environ["JAX_PROCESS_ID"] == "1"


class Noise:
    def __init__(self, count, breaks):
        self.count, self.breaks, self.given = count, breaks, 0

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        self.given += 1
        if self.breaks and self.given > 40:  # in mid-training: a start looks at 16
            raise UserError("the disk of this node is gone")
        return np.random.default_rng(i).integers(0, 256, (16, 16, 3), np.uint8)


def dataset(count=8, breaks=False):
    train, test = Noise(count, breaks), Noise(4, False)
    return Dataset(train, train, test, test, False, ())


def absent(data):
    if SECOND:
        raise UserError("data isn't mounted on this node")
    return dataset()


def other(data):
    return dataset(7 if SECOND else 8)


def breaks(data):
    return dataset(breaks=SECOND)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("absent", ["error: process 1: data isn't mounted on this node"]),
        ("other", ["error: process 1 found a config or data that differs"]),
        ("breaks", ["process 1 ended with 2", "error: the disk of this node is gone"]),
    ],
)
def test_what_only_one_process_meets_ends_all(name, words, tmp_path, monkeypatch):
    (tmp_path / "odd.py").write_text(ODD)
    monkeypatch.chdir(tmp_path)
    fields = (f"data.name=odd:{name}", "train.steps=4000", "evaluate.every=0", "data.flip=false")
    began = time.monotonic()
    process = start(2, "run", *fields, "data.load_size=16")
    out, _ = process.communicate(timeout=250)
    assert process.returncode == 2, out
    assert time.monotonic() - began < 120
    for word in words:
        assert word in out
    assert "Traceback" not in out
    if name != "breaks":
        assert out.count("error: ") == 1
        assert not Path("run").exists()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="no /proc")
@pytest.mark.parametrize("whom", ["all", "the second"])
def test_a_signal_stops_both_at_the_same_step(whom, tmp_path):
    """Also where only one process gets it; the step is saved whole."""
    fields = ("train.steps=4000", "checkpoint.every=4000", "train.log_every=1", "evaluate.every=0")
    process = start(2, tmp_path / "run", *fields)
    wait_for(tmp_path / "run/metrics.jsonl", process)
    target = process.pid if whom == "all" else children(process)[1]
    os.kill(target, signal.SIGTERM)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 143, out
    (step,) = states(tmp_path / "run")
    assert f"saved step {step}; the same command goes on from there" in out
    assert 1 < step < 4000


@pytest.mark.slow
def test_saved_on_eight_devices_it_goes_on_on_one_and_back(tmp_path):
    fields = ("data.batch_size=8", "train.steps=6", "checkpoint.every=2", "checkpoint.keep=9")
    finished(1, tmp_path / "whole", *fields)
    theirs = states(tmp_path / "whole")
    for devices in (8, 1, 8):
        process = start(1, tmp_path / "run", *fields, devices=devices)
        out, _ = process.communicate(timeout=400)
        assert process.returncode == 0, out
        if devices == 8:
            assert "8 cpu devices" in out
        newest = max(states(tmp_path / "run"))
        assert newest == 6
        for path in sorted((tmp_path / "run/checkpoints/6").rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        (tmp_path / "run/checkpoints/6").rmdir()
    assert_close(states(tmp_path / "run"), {step: theirs[step] for step in (2, 4)})


def stub(folder, name, script):
    path = folder / name
    path.write_text(f"#!/usr/bin/env bash\n{script}\n")
    path.chmod(0o755)
    return {**environment(), "PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.slow
def test_slurm(tmp_path):
    """With a stand-in for `srun` that sets what SLURM sets, on one machine."""
    srun = """
    while [[ "$1" == --* ]]; do shift; done
    export SLURM_JOB_ID=$((RANDOM)) SLURM_STEP_NODELIST=localhost SLURM_NTASKS=2
    SLURM_PROCID=0 SLURM_LOCALID=0 "$@" &
    SLURM_PROCID=1 SLURM_LOCALID=1 "$@" >/dev/null &
    wait -n && wait -n"""
    done = subprocess.run(
        [str(ROOT / "launch/slurm.sh"), *words(tmp_path / "run", "train.steps=2")],
        env=stub(tmp_path, "srun", srun),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 cpu devices in 2 processes" in done.stdout
    assert list(states(tmp_path / "run")) == [2]


def test_tpu_vm(tmp_path):
    """With a stand-in for `gcloud` that shows what it is asked to do; words arrive as typed."""
    script = str(ROOT / "launch/tpu_vm.sh")
    given = ["my-tpu", "us-x", "--config=c.py:a", "--config.data.path=my pictures/$HOME"]
    gcloud = stub(tmp_path, "gcloud", "printf '%s\\n' \"$@\"") | {"PYTHON": "printf '%s\\n'"}
    done = subprocess.run([script, *given], env=gcloud, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *start, command = done.stdout.strip().split("\n")
    assert start == ["compute", "tpus", "tpu-vm", "ssh", "my-tpu", "--zone=us-x", "--worker=all"]
    command = command.removeprefix("--command=").replace("cd jaxgan", "true")
    typed = subprocess.run(["bash", "-c", command], capture_output=True, text=True).stdout
    assert typed.split("\n")[:-1] == ["-m", "jaxgan.main", *given[2:], "--distributed"]

    for argv in ([], ["my-tpu", "--config=c.py"]):
        done = subprocess.run([script, *argv], env=gcloud, capture_output=True, text=True)
        assert done.returncode == 2
        assert "try: launch/tpu_vm.sh my-tpu" in done.stderr


COMMANDS = """\
python -m jaxgan.main --config=c.py:a '--config.data.path=my pictures' --workdir=runs/s/a-seed0
python -m jaxgan.main --config=c.py:a --workdir=runs/s/a-seed1
"""


def test_a_study_on_a_tpu_vm(tmp_path):
    (tmp_path / "commands.txt").write_text(COMMANDS)
    script = [str(ROOT / "launch/tpu_vm.sh"), "my-tpu", "us-x"]
    gcloud = stub(tmp_path, "gcloud", 'echo "${@: -1}"; cat >/dev/null')
    words = [*script, f"--commands={tmp_path / 'commands.txt'}"]
    done = subprocess.run(words, env=gcloud, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert "--config.data.path=my\\ pictures --workdir=runs/s/a-seed0 --distributed" in first
    assert "--workdir=runs/s/a-seed1 --distributed" in second
    done = subprocess.run([*script, "--commands=no"], env=gcloud, capture_output=True, text=True)
    assert done.returncode == 2
    assert "takes a file of commands" in done.stderr


def test_a_study_as_a_slurm_array(tmp_path):
    (tmp_path / "commands.txt").write_text(COMMANDS)
    script = [str(ROOT / "launch/slurm_array.sh"), str(tmp_path / "commands.txt")]
    srun = "shift; printf '%s\\n' \"$@\"; exit ${CODE:-0}"
    env = stub(tmp_path, "srun", srun) | {"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_JOB_ID": "7"}
    stub(tmp_path, "scontrol", "echo scontrol $@")
    done = subprocess.run(script, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    words = [env["PYTHON"], "-m", "jaxgan.main", "--config=c.py:a"]
    words += ["--config.data.path=my pictures", "--workdir=runs/s/a-seed0"]
    assert done.stdout.splitlines() == words
    saved = subprocess.run(script, env=env | {"CODE": "143"}, capture_output=True, text=True)
    assert saved.returncode == 143
    assert saved.stdout.splitlines()[-1] == "scontrol requeue 7_1"
    for argv, task, told in (
        (script, "3", "no command in line 3; submit with --array=1-2"),
        (script[:1], "1", "give the file of commands"),
    ):
        given = env | {"SLURM_ARRAY_TASK_ID": task}
        done = subprocess.run(argv, env=given, capture_output=True, text=True)
        assert done.returncode == 2
        assert told in done.stderr


def test_distributed_without_the_others(tmp_path):
    """As typed by hand where no launcher has started anything."""
    command = [sys.executable, "-m", "jaxgan.main", *words(tmp_path / "run"), "--distributed"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert done.returncode == 2
    assert "start them with launch/local.sh" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()
