import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import struct
from jax.sharding import NamedSharding, PartitionSpec

from jaxgan import checkpoint
from jaxgan.checkpoint import Checkpoints, compare
from jaxgan.errors import UserError


class State(struct.PyTreeNode):
    step: jax.Array
    rng: jax.Array
    params: dict[str, Any]
    opt: dict[str, Any]
    memory: dict[str, Any]
    metrics: dict[str, Any]
    nothing: Any = None


OPTIMIZER = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3))


@jax.jit
def make_state(step=0):
    key = jax.random.fold_in(jax.random.PRNGKey(3), step)
    params = {
        "G_A": {"Conv_0": {"kernel": jax.random.normal(key, (8, 8)), "bias": jnp.zeros(8)}},
        "D_A": {"half": jax.random.normal(key, (3, 5), jnp.bfloat16)},
    }
    return State(
        step=jnp.asarray(step, jnp.int32),
        rng=jax.random.PRNGKey(0),
        params=params,
        opt={"generator": OPTIMIZER.init(params["G_A"])},
        memory={"pool": {"count": jnp.int32(2), "images": jnp.full((2, 4), 7, jnp.uint8)}},
        metrics={"loss": (jnp.float32(1.5), jnp.float32(2.0)), "flag": jnp.asarray(True)},
    )


def template_of(state, sharding=None):
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding or x.sharding), state
    )


def assert_same_bits(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert (x.dtype, x.shape, x.weak_type) == (y.dtype, y.shape, y.weak_type)
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


def save_some(workdir, steps, scores=None, **options):
    with Checkpoints(workdir, **options) as checkpoints:
        for step in steps:
            score = None if scores is None else {"psnr": scores[steps.index(step)]}
            checkpoints.save(step, make_state(step), {"position": step}, {"seed": 0}, score)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A run with checkpoints 10, 20 and 30, to be copied before it is damaged."""
    workdir = tmp_path_factory.mktemp("saved")
    save_some(workdir, [10, 20, 30], keep=3)
    return workdir


@pytest.fixture
def run(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "run")
    return tmp_path / "run"


def test_the_same_bits_come_back(tmp_path):
    state = make_state(7)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest() is None
        assert checkpoints.steps() == []
        assert checkpoints.save(7, state, {"position": [1, 2]}, {"seed": 4}, {"psnr": 20.25})
        checkpoints.wait()
        assert checkpoints.latest() == 7
        restored, data = checkpoints.restore(7, template_of(state))
        assert_same_bits(restored, state)
        assert data == {"position": [1, 2]}
        assert checkpoints.read(7) == ({"position": [1, 2]}, {"seed": 4}, {"psnr": 20.25})


def test_saving_twice_gives_the_same_bits(tmp_path):
    save_some(tmp_path / "a", [5])
    save_some(tmp_path / "b", [5])
    assert compare(tmp_path / "a", tmp_path / "b") == []


def test_compare_names_what_differs(tmp_path):
    state = make_state(5)
    kernel = state.params["G_A"]["Conv_0"]["kernel"]
    bits = jax.lax.bitcast_convert_type(kernel, jnp.int32).at[0, 0].add(1)
    state.params["G_A"]["Conv_0"]["kernel"] = jax.lax.bitcast_convert_type(bits, jnp.float32)
    for name, data in (("a", 1), ("b", 2)):
        with Checkpoints(tmp_path / name) as checkpoints:
            checkpoints.save(5, make_state(5) if name == "a" else state, {"position": data}, {})
    assert compare(tmp_path / "a", tmp_path / "b") == ["params/G_A/Conv_0/kernel", "data"]
    save_some(tmp_path / "c", [6])
    assert compare(tmp_path / "a", tmp_path / "c") == ["step of the newest checkpoint: 5 and 6"]


def test_arrays_are_named_like_the_state(run):
    arrays = Checkpoints(run, read_only=True).arrays(20)
    expected = checkpoint.named(make_state(20))
    assert set(arrays) == set(expected)
    assert arrays["params/D_A/half"].dtype == jnp.bfloat16
    for name, value in expected.items():
        assert arrays[name].tobytes() == np.asarray(value).tobytes()


def test_a_state_donated_right_after_save_is_saved_as_it_was(tmp_path):
    step = jax.jit(lambda s: jax.tree.map(lambda x: x * 1.5 + 1, s), donate_argnums=0)
    state = step({str(i): jnp.full((512, 512), i, jnp.float32) for i in range(16)})
    with Checkpoints(tmp_path) as checkpoints:
        for number in range(1, 5):
            expected = {name: np.array(value) for name, value in state.items()}
            checkpoints.save(number, state, {}, {})
            for _ in range(8):
                state = step(state)
            checkpoints.wait()
            arrays = checkpoints.arrays(number)
            assert all(np.array_equal(arrays[name], expected[name]) for name in expected)
            # What was restored can be donated too, and belongs to nobody else.
            restored, _ = checkpoints.restore(number, template_of(state))
            state = step(restored)
            assert np.array_equal(state["3"], expected["3"] * np.float32(1.5) + 1)


def test_training_goes_on_beside_a_save(tmp_path, monkeypatch):
    proceed = threading.Event()
    write = checkpoint.write_checksums
    monkeypatch.setattr(
        checkpoint, "write_checksums", lambda directory: (proceed.wait(20), write(directory))
    )
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, make_state(1), {}, {})
        checkpoints.poll()
        assert checkpoints.steps() == []
        proceed.set()
        checkpoints.wait()
        assert checkpoints.steps() == [1]


def test_a_step_that_is_there_is_not_saved_again(run):
    with Checkpoints(run) as checkpoints:
        assert not checkpoints.save(30, make_state(1), {}, {})
        assert checkpoints.arrays(30)["step"] == 30


@pytest.mark.skipif(jax.device_count() < 4, reason="needs 4 devices")
def test_another_number_of_devices(run):
    restore_on(run, jax.devices()[:4])


def restore_on(run, devices):
    mesh = jax.make_mesh(
        (len(devices),), ("batch",), (jax.sharding.AxisType.Auto,), devices=devices
    )
    sharding = NamedSharding(mesh, PartitionSpec())
    state = make_state(30)
    restored, _ = Checkpoints(run, read_only=True).restore(30, template_of(state, sharding))
    assert_same_bits(restored, state)
    assert all(leaf.sharding == sharding for leaf in jax.tree.leaves(restored))


def test_four_devices_read_what_one_saved_and_back(run, tmp_path):
    script = f"""
import jax, test_checkpoint as t
from pathlib import Path
run, out = Path({str(run)!r}), Path({str(tmp_path / "four")!r})
t.restore_on(run, jax.devices())
mesh = jax.make_mesh((4,), ("batch",), (jax.sharding.AxisType.Auto,))
sharding = t.NamedSharding(mesh, t.PartitionSpec())
with t.Checkpoints(out) as checkpoints:
    checkpoints.save(30, jax.device_put(t.make_state(30), sharding), {{"position": 30}}, {{}})
"""
    subprocess.run([sys.executable, "-c", script], check=True, env=environment(devices=4))
    assert compare(run, tmp_path / "four") == []
    restore_on(tmp_path / "four", jax.devices()[:1])


DEVICES = "--xla_force_host_platform_device_count"


def environment(devices=1):
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    return {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        # The last one counts; compiled as here, for the same bits.
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} {DEVICES}={devices}",
        "PYTHONPATH": os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")]),
    }


def test_a_template_without_shardings_is_enough(run):
    state = make_state(30)
    shapes = jax.eval_shape(lambda: state)
    restored, _ = Checkpoints(run, read_only=True).restore(30, shapes)
    assert_same_bits(restored, state)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda s: s.replace(step=jnp.float32(0)), r"step is int32\[\] there and float32\[\] here"),
        (lambda s: s.replace(rng=jnp.zeros(4, jnp.uint32)), r"rng is uint32\[2\] there"),
        (lambda s: s.replace(memory={}), r"memory/pool/count is int32\[\] there and absent here"),
        (lambda s: s.replace(metrics={**s.metrics, "b": s.step}), r"metrics/b is absent there"),
    ],
)
def test_a_template_of_another_model_is_refused(run, change, name):
    template = template_of(change(make_state(30)))
    with pytest.raises(UserError, match=name):
        Checkpoints(run, read_only=True).restore(30, template)


def test_weak_types_are_refused(tmp_path):
    with (
        Checkpoints(tmp_path) as checkpoints,
        pytest.raises(ValueError, match=r"weakly typed.*'b'"),
    ):
        checkpoints.save(1, {"a": jnp.zeros(2), "b": jnp.asarray(1.0)}, {}, {})


# Retention


def test_the_last_n_stay(tmp_path):
    save_some(tmp_path, [1, 2, 3, 4], keep=2)
    assert Checkpoints(tmp_path).steps() == [3, 4]


@pytest.mark.parametrize(("mode", "expected"), [("max", 2), ("min", 3)])
def test_the_best_stays_beside_the_last_n(tmp_path, mode, expected):
    save_some(
        tmp_path,
        [1, 2, 3, 4, 5, 6],
        [5.0, 9.0, 1.0, 2.0, np.nan, 4.0],
        keep=2,
        best="psnr",
        best_mode=mode,
    )
    # Another process goes on, and knows the scores from the disk.
    save_some(tmp_path, [7], [3.0], keep=2, best="psnr", best_mode=mode)
    checkpoints = Checkpoints(tmp_path, best="psnr", best_mode=mode, read_only=True)
    assert checkpoints.steps() == [expected, 6, 7]
    assert checkpoints.best() == expected


def test_best_of_runs_without_scores(tmp_path):
    save_some(tmp_path, [1, 2, 3], keep=1, best="psnr")
    assert Checkpoints(tmp_path).steps() == [3]
    assert Checkpoints(tmp_path, best="psnr").best() is None
    assert Checkpoints(tmp_path).best() is None


def test_a_damaged_best_is_passed_over(tmp_path):
    save_some(tmp_path, [1, 2, 3], [1.0, 3.0, 2.0], keep=3, best="psnr")
    (tmp_path / "checkpoints/2/state/manifest.ocdbt").unlink()
    assert Checkpoints(tmp_path, best="psnr").best() == 3


def test_at_least_one_is_kept(tmp_path):
    with pytest.raises(UserError, match=r"checkpoint\.keep"):
        Checkpoints(tmp_path, keep=0)


# Damage


def all_files(directory):
    return sorted(p.relative_to(directory) for p in directory.rglob("*") if p.is_file())


def remove(path):
    path.unlink()


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [remove, truncate, flip])
def test_whatever_is_damaged_the_bits_are_those_of_one_save(run, damage, caplog):
    """Of every file in turn: either it didn't matter, or the older checkpoint is taken."""
    directory = run / "checkpoints/30"
    skipped = []
    for name in all_files(directory):
        backup = (directory / name).read_bytes()
        damage(directory / name)
        checkpoints = Checkpoints(run, read_only=True)
        caplog.clear()
        step = checkpoints.latest()
        if step == 20:
            skipped.append(name)
            assert "checkpoint 30 is damaged and skipped" in caplog.text
        state = make_state(step)
        restored, data = checkpoints.restore(step, template_of(state))
        assert_same_bits(restored, state)
        assert data == {"position": step}
        (directory / name).write_bytes(backup)
    unchecked = {Path("_CHECKPOINT_METADATA"), Path("commit_success.txt")}
    assert set(all_files(directory)) - set(skipped) == unchecked


def test_what_a_kill_leaves_is_cleaned_up_and_the_step_can_be_saved_again(run, caplog):
    folder = run / "checkpoints"
    shutil.copytree(folder / "30", folder / "40.orbax-checkpoint-tmp")
    truncate(next((folder / "30/state").rglob("d/*")))
    shutil.rmtree(folder / "10/state/d")  # half deleted
    reader = Checkpoints(run, read_only=True)
    assert reader.latest() == 20
    assert len(list(folder.iterdir())) == 4
    with pytest.raises(UserError, match=r"checkpoint 30 .* can't be used.*Whole there: 20"):
        reader.restore(30, template_of(make_state(30)))
    with Checkpoints(run) as checkpoints:
        assert checkpoints.latest() == 20
        assert [path.name for path in folder.iterdir()] == ["20"]
        assert checkpoints.save(30, make_state(30), {"position": 30}, {}, wait=True)
        assert checkpoints.latest() == 30
        restored, _ = checkpoints.restore(30, template_of(make_state(30)))
        assert_same_bits(restored, make_state(30))


def test_a_damaged_step_is_replaced_by_a_save(run):
    truncate(run / "checkpoints/30/checksums.json")
    with Checkpoints(run) as checkpoints:
        assert checkpoints.save(30, make_state(30), {"position": 30}, {}, wait=True)
        assert checkpoints.steps() == [20, 30]


def test_none_whole_is_an_error_and_nothing_is_removed(run):
    for step in (10, 20, 30):
        truncate(run / f"checkpoints/{step}/state/_METADATA")
    before = all_files(run)
    with pytest.raises(UserError, match=r"none of the checkpoints .* is whole.*30: .*10: "):
        Checkpoints(run).latest()
    assert all_files(run) == before


def test_files_of_others_in_the_folder_are_left_alone(run):
    (run / "checkpoints/notes.txt").write_text("mine")
    (run / "checkpoints/old").mkdir()
    with Checkpoints(run, keep=1) as checkpoints:
        assert checkpoints.latest() == 30
        checkpoints.save(40, make_state(40), {}, {})
    assert {p.name for p in (run / "checkpoints").iterdir()} == {"40", "notes.txt", "old"}


def test_read_only_writes_nothing(tmp_path):
    checkpoints = Checkpoints(tmp_path / "absent", read_only=True)
    assert checkpoints.latest() is None
    with pytest.raises(ValueError, match="read only"):
        checkpoints.save(1, make_state(1), {}, {})
    assert not (tmp_path / "absent").exists()


# A disk that fails


@pytest.fixture
def small_disk(tmp_path):
    """2 MB; where mounting isn't allowed, the tests that need it are skipped."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "jaxgan-test", str(disk)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no permission to mount a small file system")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def big(megabytes, value=1):
    size = int(megabytes * 1e6) // 4
    return {"a": jnp.arange(size, dtype=jnp.int32) * value}


def assert_stopped_by_full_disk(error, workdir, caplog, capfd):
    message = str(error.value)
    assert "the disk is full: checkpoint 2 needs" in message
    assert str(workdir) in message
    assert "whole there: 1)" in message
    assert "Free some space" in message
    assert "Traceback" not in caplog.text + "".join(capfd.readouterr())
    assert [path.name for path in (workdir / "checkpoints").iterdir()] == ["1"]


def test_too_little_space_is_seen_before_the_save(small_disk, caplog, capfd):
    with Checkpoints(small_disk) as checkpoints:
        checkpoints.save(1, big(0.9), {}, {}, wait=True)
        with pytest.raises(UserError) as error:
            checkpoints.save(2, big(1.5), {}, {})
        assert_stopped_by_full_disk(error, small_disk, caplog, capfd)
        assert np.array_equal(checkpoints.arrays(1)["a"], big(0.9)["a"])


def test_a_disk_that_fills_up_during_a_save(small_disk, caplog, capfd, monkeypatch):
    monkeypatch.setattr(checkpoint, "size_on_disk", lambda state: 0)
    with Checkpoints(small_disk) as checkpoints:
        checkpoints.save(1, big(0.9), {}, {}, wait=True)
        checkpoints.save(2, big(1.5), {}, {})
        with pytest.raises(UserError) as error:
            wait_by_polling(checkpoints)
        assert_stopped_by_full_disk(error, small_disk, caplog, capfd)
        assert np.array_equal(checkpoints.arrays(1)["a"], big(0.9)["a"])
        checkpoints.save(2, big(0.9, 3), {}, {}, wait=True)  # there is room for this one
        assert checkpoints.steps() == [1, 2]


def test_a_lowered_keep_takes_effect_at_once_only_where_the_disk_is_full(small_disk):
    with Checkpoints(small_disk, keep=3) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, big(0.4), {}, {}, wait=True)
    checkpoints = Checkpoints(small_disk, keep=1)
    checkpoints.tidy()
    assert checkpoints.steps() == [1, 2]
    with Checkpoints(small_disk, keep=3) as checkpoints:
        checkpoints.save(3, big(0.4), {}, {}, wait=True)
    checkpoints = Checkpoints(small_disk, keep=1)
    checkpoints.tidy()
    assert checkpoints.steps() == [3]
    Checkpoints(small_disk / "absent").tidy()


def wait_by_polling(checkpoints):
    for _ in range(2000):
        checkpoints.poll()
        time.sleep(0.01)
    pytest.fail("the save in the background neither failed nor finished")


@pytest.mark.parametrize("surfaces_at", ["save", "wait", "close"])
def test_an_error_in_the_background_surfaces_once(run, monkeypatch, surfaces_at, caplog):
    def full(directory):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "write_checksums", full)
    checkpoints = Checkpoints(run)
    checkpoints.save(40, make_state(40), {}, {})
    action = {
        "save": lambda: checkpoints.save(50, make_state(50), {}, {}),
        "wait": checkpoints.wait,
        "close": checkpoints.close,
    }[surfaces_at]
    with pytest.raises(UserError, match=r"disk is full: checkpoint 40 .* 10, 20, 30\)"):
        action()
    checkpoints.close()
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["10", "20", "30"]
    assert "Traceback" not in caplog.text


def test_another_error_of_the_disk_is_told_as_it_is(run, monkeypatch):
    def fails(directory):
        raise PermissionError(13, "Permission denied", "some/file")

    monkeypatch.setattr(checkpoint, "write_checksums", fails)
    with pytest.raises(UserError, match=r"checkpoint 40 could not be written .*Permission denied"):
        save_some(run, [40])


def test_an_error_of_the_program_stays_one(run, monkeypatch):
    def fails(directory):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(checkpoint, "write_checksums", fails)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        save_some(run, [40])


def test_leaving_by_an_error_keeps_that_error(run, monkeypatch, caplog):
    def full(directory):
        raise OSError(28, "No space left on device")

    def train():
        with Checkpoints(run) as checkpoints:
            checkpoints.save(40, make_state(40), {}, {})
            raise KeyError("first")

    monkeypatch.setattr(checkpoint, "write_checksums", full)
    with pytest.raises(KeyError, match="first"):
        train()
    assert "the disk is full" in caplog.text


# Kills


WRITER = """
import sys, jax, jax.numpy as jnp
from jaxgan.checkpoint import Checkpoints
with Checkpoints(sys.argv[1], keep=2) as checkpoints:
    step = checkpoints.latest() or 0
    state = {str(i): jnp.full((250, 1000), step + i, jnp.float32) for i in range(12)}
    print("ready", flush=True)
    for _ in range(10_000):
        step += 1
        state = {name: value + 1 for name, value in state.items()}
        checkpoints.save(step, state, {"step": step}, {})
        print(step, flush=True)
"""


def test_kills_inside_saves_always_leave_a_whole_checkpoint(tmp_path):
    generator = random.Random(0)
    newest = inside = 0
    for _ in range(6):
        command = [sys.executable, "-c", WRITER, str(tmp_path)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment(), text=True)
        for _ in range(4):
            process.stdout.readline()  # a second save has begun: the first one is complete
        time.sleep(generator.uniform(0.0, 0.15))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        inside += any((tmp_path / "checkpoints").glob("*.orbax-checkpoint-tmp*"))
        checkpoints = Checkpoints(tmp_path, read_only=True)
        step = checkpoints.latest()
        assert step >= newest + 2
        newest = step
        arrays = checkpoints.arrays(step)
        assert all(np.all(arrays[str(i)] == step + i) for i in range(12))
        assert checkpoints.read(step)[0] == {"step": step}
    assert inside > 0
    assert len(list((tmp_path / "checkpoints").iterdir())) <= 5


# Sizes and noise


def test_size_on_disk(run, tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, big(4), {}, {})
    for workdir, step, state in ((tmp_path, 1, big(4)), (run, 30, make_state(30))):
        files = (workdir / f"checkpoints/{step}").rglob("*")
        size = sum(path.stat().st_size for path in files if path.is_file())
        assert size <= checkpoint.size_on_disk(state) <= 1.05 * size + 25_000
    assert checkpoint.size_on_disk(template_of(state)) == checkpoint.size_on_disk(state)


def test_readable_sizes():
    sizes = (0, 999, 1500, 11_400_000, 3e9, 5e15)
    expected = ["0 bytes", "999 bytes", "1.5 kB", "11.4 MB", "3.0 GB", "5000.0 TB"]
    assert [checkpoint.readable(size) for size in sizes] == expected


def test_orbax_is_quiet(tmp_path, caplog, capfd):
    caplog.set_level(logging.INFO)
    save_some(tmp_path, [1, 2, 3], keep=1)
    Checkpoints(tmp_path).restore(3, template_of(make_state(3)))
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


def test_the_checksums_are_plain(run):
    sums = json.loads((run / "checkpoints/30/checksums.json").read_text())["files"]
    assert sums["data/metadata"] == [16, zlib.crc32(b'{"position": 30}')]
