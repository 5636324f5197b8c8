import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax
import pytest

import jaxgan
from jaxgan import workdir
from jaxgan.errors import UserError
from jaxgan.workdir import Lock, check, record

CONFIG = {
    "seed": 0,
    "data": {"flip": True, "path": None, "sizes": (64, 64)},
    "train": {"steps": 100, "log_every": 10},
    "checkpoint": {"every": 50, "keep": 2},
    "optimizer": {"b1": 0.5},
    "empty": {},
}
COMMAND = ["python", "-m", "jaxgan.main", "--config=configs/cyclegan.py"]
FREE = ("checkpoint", "train.log_every")


def changed(**fields):
    config = json.loads(json.dumps(CONFIG))
    for name, value in fields.items():
        *groups, last = name.split("__")
        node = config
        for group in groups:
            node = node[group]
        node[last] = value
    return config


def everything(folder):
    return {p: (p.is_file() and p.read_bytes(), p.stat().st_mtime_ns) for p in folder.rglob("*")}


def environment():
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(paths)}


def start(script, *arguments):
    command = [sys.executable, "-W", "ignore", "-c", script, *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    )


# check and record


def test_a_new_folder_is_fresh_and_a_recorded_one_resumes(tmp_path):
    for folder in (tmp_path / "deep/new", tmp_path):
        assert check(folder, CONFIG, COMMAND) == (False, [])
    assert everything(tmp_path) == {}
    record(tmp_path, CONFIG, COMMAND)
    assert check(tmp_path, CONFIG, COMMAND) == (True, [])
    assert workdir.recorded_config(tmp_path) == json.loads(json.dumps(CONFIG))


def test_what_a_start_leaves_when_killed_is_no_obstacle(tmp_path):
    Lock(tmp_path).release()
    (tmp_path / ".config.json.tmp").write_text("{")
    assert not check(tmp_path, CONFIG, COMMAND).resume


def test_config_json_says_what_ran(tmp_path):
    record(tmp_path, CONFIG, [*COMMAND, "--config.data.path=my photos"])
    content = json.loads((tmp_path / "config.json").read_text())
    assert content["config"]["optimizer"] == {"b1": 0.5}
    assert content["command"] == (
        "python -m jaxgan.main --config=configs/cyclegan.py '--config.data.path=my photos'"
    )
    assert content["versions"]["jax"] == jax.__version__
    assert content["versions"]["jaxgan"] == jaxgan.__version__
    assert None not in content["versions"].values()
    assert content["device"]["platform"] == "cpu"
    assert content["device"]["count"] == jax.device_count()
    assert len(content["code"]) == 64
    assert content["later"] == []
    assert "git" in content


def test_recording_the_same_again_writes_nothing(tmp_path):
    record(tmp_path, CONFIG, COMMAND)
    before = everything(tmp_path)
    record(tmp_path, CONFIG, COMMAND)
    assert everything(tmp_path) == before


def test_later_starts_are_listed_where_they_differ(tmp_path, monkeypatch):
    record(tmp_path, CONFIG, COMMAND)
    monkeypatch.setattr(workdir, "code_hash", lambda: "another")
    more = changed(train__steps=200)
    record(tmp_path, more, COMMAND)
    record(tmp_path, more, COMMAND)
    content = json.loads((tmp_path / "config.json").read_text())
    assert content["config"]["train"]["steps"] == 200
    assert content["code"] != "another"
    assert [later["code"] for later in content["later"]] == ["another"]
    assert check(tmp_path, more, COMMAND).warnings == []


@pytest.mark.parametrize(
    ("config", "lines"),
    [
        (changed(seed=1), ["  seed: 0 -> 1"]),
        (
            changed(data__flip=False, data__path="x", optimizer__b1=0.9),
            [
                "  data.flip: true -> false",
                '  data.path: null -> "x"',
                "  optimizer.b1: 0.5 -> 0.9",
            ],
        ),
        (changed(data__sizes=[64, 32]), ["  data.sizes: [64, 64] -> [64, 32]"]),
        (changed(empty={"a": 1}), ["  empty.a: absent -> 1"]),
        (changed(train__steps=99), ["  train.steps: 100 -> 99"]),
        (changed(checkpoint__every=7, seed=2), ["  seed: 0 -> 2"]),
        (changed(checkpointing=7), ["  checkpointing: absent -> 7"]),
    ],
)
def test_another_config_is_refused_with_what_differs(tmp_path, config, lines):
    folder = tmp_path / "run"
    record(folder, CONFIG, COMMAND)
    before = everything(tmp_path)
    with pytest.raises(UserError) as error:
        check(folder, config, COMMAND, free=FREE, growing={"train.steps"})
    message = str(error.value).split("\n")
    assert [line for line in message if line.startswith("  ")] == lines
    assert " ".join(COMMAND) + f" --workdir={folder}-2" in str(error.value)
    assert ("--config.init.workdir" in str(error.value)) == ("train.steps" in lines[0])
    assert everything(tmp_path) == before


@pytest.mark.parametrize(
    "config",
    [
        changed(checkpoint__every=7, train__log_every=1),
        changed(train__steps=101),
        changed(data__sizes=[64, 64]),
    ],
)
def test_free_fields_and_more_steps_are_not_refused(tmp_path, config):
    record(tmp_path, CONFIG, COMMAND)
    assert check(tmp_path, config, COMMAND, free=FREE, growing={"train.steps"}).resume


def test_more_steps_are_refused_where_a_schedule_depends_on_them(tmp_path):
    record(tmp_path, CONFIG, COMMAND)
    with pytest.raises(UserError, match=r"train\.steps: 100 -> 200"):
        check(tmp_path, changed(train__steps=200), COMMAND, free=FREE)


def test_the_command_for_a_folder_of_its_own(tmp_path, monkeypatch):
    (tmp_path / "run-2").mkdir()
    expected = ["main", "--config=a b", f"--workdir={tmp_path}/run-3"]
    for given in (["--workdir", "run"], ["--workdir=run"], ["-workdir=run"], []):
        assert workdir.elsewhere(["main", *given, "--config=a b"], tmp_path / "run") == expected
    record(tmp_path / "run", CONFIG, COMMAND)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"cyclegan\.py --workdir=run-3"):
        check("run", changed(seed=1), [*COMMAND, "--workdir=run"])


@pytest.mark.parametrize("part", ["versions", "device"])
def test_other_versions_are_a_warning(tmp_path, part):
    record(tmp_path, CONFIG, COMMAND)
    content = json.loads((tmp_path / "config.json").read_text())
    name = {"versions": "jax", "device": "kind"}[part]
    content[part][name] = "0.1"
    content["versions"]["python"] = "3.0"
    (tmp_path / "config.json").write_text(json.dumps(content))
    (warning,) = check(tmp_path, CONFIG, COMMAND).warnings
    assert warning.startswith(f"{name} was '0.1' and is ")
    assert "the bits may differ" in warning


def test_other_code_is_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(workdir, "git_commit", lambda: {"commit": "a" * 40, "dirty": True})
    record(tmp_path, CONFIG, COMMAND)
    monkeypatch.setattr(workdir, "git_commit", lambda: None)
    monkeypatch.setattr(workdir, "code_hash", lambda: "another")
    (warning,) = check(tmp_path, CONFIG, COMMAND).warnings
    assert "of commit aaaaaaaaaaaa with changes and is of unknown commit now" in warning


def test_git_is_asked_about_the_package_only(tmp_path, monkeypatch):
    if shutil.which("git") is None:
        pytest.skip("no git")
    checkout, elsewhere = tmp_path / "checkout", tmp_path / "elsewhere"
    package = checkout / "jaxgan/__init__.py"
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]

    def git(folder, *words):
        command = ["git", "-C", str(folder), *identity, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    for folder in (checkout / "jaxgan", elsewhere):
        folder.mkdir(parents=True)
    monkeypatch.setattr(jaxgan, "__file__", str(package))
    monkeypatch.chdir(elsewhere)
    git(elsewhere, "init")
    git(elsewhere, "commit", "--allow-empty", "-m", "x")
    assert workdir.git_commit() is None  # no checkout at all
    git(checkout, "init")
    assert workdir.git_commit() is None  # no commit yet
    package.write_text("")
    git(checkout, "add", ".")
    git(checkout, "commit", "-m", "x")
    monkeypatch.setenv("GIT_DIR", str(elsewhere / ".git"))
    commit = subprocess.run(
        ["git", f"--git-dir={checkout}/.git", "rev-parse", "HEAD"], capture_output=True, text=True
    ).stdout.strip()
    assert workdir.git_commit() == {"commit": commit, "dirty": False}
    package.write_text("changed")
    assert workdir.git_commit() == {"commit": commit, "dirty": True}
    inner = checkout / ".venv/site-packages/jaxgan/__init__.py"
    inner.parent.mkdir(parents=True)
    monkeypatch.setattr(jaxgan, "__file__", str(inner))
    assert workdir.git_commit() is None  # installed below somebody else's checkout
    monkeypatch.setattr(jaxgan, "__file__", str(package))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert workdir.git_commit() is None  # no git


# Folders that can't be one


def refused(folder, match):
    with pytest.raises(UserError, match=match):
        check(folder, CONFIG, COMMAND)


def test_a_file_or_below_a_file(tmp_path):
    (tmp_path / "file").write_text("mine")
    refused(tmp_path / "file", "it is a file")
    refused(tmp_path / "file/run", f"{tmp_path}/file is a file")
    (tmp_path / "dangling").symlink_to(tmp_path / "absent")
    refused(tmp_path / "dangling", "can't be a folder")


def test_files_of_others(tmp_path):
    for name in ("a", "b", "c", "photo.jpg"):
        (tmp_path / name).write_text("mine")
    refused(tmp_path, r"holds files \(a, b, c, \.\.\.\) and no run")
    (tmp_path / "config.json").write_text('{"mine": true}')
    before = everything(tmp_path)
    refused(tmp_path, r"config\.json isn't what a run writes")
    assert everything(tmp_path) == before


def test_no_permission(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    refused(tmp_path / "run", f"no permission in {tmp_path}")


def test_a_folder_that_cannot_be_made(tmp_path):
    with pytest.raises(UserError, match="can't be written"):
        Lock("/proc/jaxgan")
    with pytest.raises(UserError, match="can't be written: File name too long"):
        Lock(tmp_path / ("a" * 300))


def test_urls_and_home(monkeypatch, tmp_path):
    refused("gs://bucket/run", "is a URL")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert workdir.resolve("~/run") == tmp_path / "run"
    monkeypatch.chdir(tmp_path)
    assert workdir.resolve("runs/a") == tmp_path / "runs/a"


def test_a_folder_without_a_run_has_no_config(tmp_path):
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(UserError, match="holds no run"):
        workdir.recorded_config(tmp_path)


# The lock


def test_two_runs_in_one_folder(tmp_path):
    with Lock(tmp_path / "run"):
        owner = f"process {os.getpid()} on "
        with pytest.raises(UserError, match=f"run is in use by another run .*{owner}"):
            Lock(tmp_path / "run")
        Lock(tmp_path / "other").release()
    Lock(tmp_path / "run").release()


HOLDER = """
import os, sys, time
from jaxgan.workdir import Lock
lock = Lock(sys.argv[1])
child = os.fork()
if child == 0:
    time.sleep(60)
print(child, flush=True)
time.sleep(60)
"""


def test_the_lock_dies_with_its_process_though_a_child_lives_on(tmp_path):
    process = start(HOLDER, tmp_path)
    child = int(process.stdout.readline())
    try:
        with pytest.raises(UserError, match=f"process {process.pid} on"):
            Lock(tmp_path)
        process.kill()
        process.wait()
        os.kill(child, 0)  # it lives
        Lock(tmp_path).release()
    finally:
        os.kill(child, signal.SIGKILL)
        process.communicate()


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def unsupported(file, operation):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(workdir.fcntl, "flock", unsupported)
    with pytest.raises(UserError, match="without locks"):
        Lock(tmp_path)


def test_runs_of_before_a_field_was_go_on(tmp_path):
    old = {"data": {"channels": 3, "dtype": "uint8"}, "model": {"discriminator": {"width": 8}}}
    workdir.record(tmp_path / "old", old, ["python"])
    now = {"data": old["data"] | {"image_key": "image"}}
    now["model"] = {"discriminator": {"width": 8, "spread": False}}
    assert workdir.check(tmp_path / "old", now, ["python"]).resume
    now["model"]["discriminator"]["spread"] = True
    with pytest.raises(UserError, match=r"spread: absent -> true"):
        workdir.check(tmp_path / "old", now, ["python"])


def test_fields_that_a_config_never_had_are_not_read_into_it(tmp_path):
    """Only runs from before `data.dtype` are read with what they did then."""
    old = {"data": {"channels": 3}}
    workdir.record(tmp_path / "old", old, ["python"])
    now = {"channels": 3, "dtype": "uint8", "low": -1.0, "high": 1.0, "image_key": "image"}
    assert workdir.check(tmp_path / "old", {"data": now}, ["python"]).resume
    new = {"data": {"channels": 3, "dtype": "uint8", "low": -1.0, "high": 1.0}}
    workdir.record(tmp_path / "new", new, ["python"])
    assert workdir.check(tmp_path / "new", new, ["python"]).resume
    assert workdir.recorded_config(tmp_path / "new") == new
