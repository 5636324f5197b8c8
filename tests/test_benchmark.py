"""`python -m jaxgan.benchmark`: one line of JSON, whose figures agree with each other."""

import contextlib
import io
import json
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxgan import benchmark, commandline, experiment, fields

CONFIG = str(Path(__file__).resolve().parents[1] / "configs" / "cyclegan.py")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One command, with a batch of 4 in two micro-batches on two devices: its line, and more."""
    seen = []

    def measure(*args, **kwargs):
        seen.append((args[0], original(*args, **kwargs)))
        return seen[0][1]

    original = benchmark.measure
    folder = tmp_path_factory.mktemp("empty")
    out = io.StringIO()
    argv = [f"--config={CONFIG}:folder,smoke", "--steps=3", "--warmup=1", "--config.devices=2"]
    argv += ["--config.data.path=gone", "--config.data.batch_size=4", "--config.train.accumulate=2"]
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        patch.chdir(folder)
        patch.setattr(benchmark, "measure", measure)
        assert benchmark.main(argv) == 0
    assert not list(folder.iterdir())
    return json.loads(out.getvalue()), *seen[0]


def test_one_line_of_json_without_a_data_set(run):
    line, _, seen = run
    assert (line["config"], line["presets"]) == ("cyclegan", ["folder", "smoke"])
    assert line["overrides"]["data.path"] == "gone"
    assert line["seconds_per_step"] == np.median(seen.seconds)
    assert line["images_per_second"] == pytest.approx(4 / line["seconds_per_step"])
    low, high = line["seconds_per_step_p10"], line["seconds_per_step_p90"]
    assert 0 < low <= line["seconds_per_step"] <= high
    assert 0 < line["compile_seconds"] < line["startup_seconds"]
    assert line["peak_memory_bytes"] > line["step_memory_bytes"] > 0
    assert (line["peak_memory_of"], line["share_of_peak"]) == ("process", None)
    assert (line["devices"], line["batch_size"], line["image_size"]) == (2, 4, 16)
    assert line["device"]["platform"] == "cpu"
    assert line["versions"]["jax"] == jax.__version__


def test_without_steps_it_says_what_one_would_need(run, capsys):
    argv = [f"--config={CONFIG}:folder,smoke", "--config.devices=2", "--config.data.batch_size=4"]
    argv += ["--config.train.accumulate=2", "--steps=0", "--warmup=0"]
    assert benchmark.main(argv) == 0
    line = json.loads(capsys.readouterr().out)
    for name in ("step_memory_bytes", "flops_per_step"):
        assert line[name] == run[0][name]
    for name in ("images_per_second", "seconds_per_step", "startup_seconds", "share_of_peak"):
        assert line[name] is None
    assert line["compile_seconds"] > 0


def test_the_state_evolves_as_in_training(run):
    _, built, seen = run
    assert len(seen.seconds) == 3
    assert int(seen.state.step) == 4
    assert int(seen.state.images) == 16
    before = built.init(0)
    moved = jax.tree.map(lambda a, b: bool(np.any(a != b)), seen.state.params, before.params)
    assert all(any(jax.tree.leaves(net)) for net in moved.values())


def test_flops_grow_with_the_batch_however_it_is_cut(run):
    line, _, _ = run
    config = commandline.parse([f"--config={CONFIG}:smoke"], {}, "").config
    one = experiment.build(fields.resolve(config), benchmark.LARGER_DOMAIN)
    assert line["flops_per_step"] == 4 * benchmark.flops_per_step(one)


def test_spread_is_of_whole_periods():
    assert benchmark.spread([3.0, 1.0, 2.0]) == pytest.approx((2.0, 1.2, 2.8))
    # Every fourth step is dear: a median of single steps would hide it.
    assert benchmark.spread([5.0, 1.0, 1.0, 1.0] * 6, period=4) == pytest.approx((2.0, 2.0, 2.0))
    assert benchmark.spread([5.0, 1.0], period=4) == pytest.approx((3.0, 3.0, 3.0))


def test_share_of_peak():
    # Half a second for 156 TFLOP on one A100 in TF32 is twice its peak: 156 TFLOP/s.
    share = benchmark.share_of_peak
    assert share(156e12, 0.5, "NVIDIA A100-SXM4-40GB", 1, "float32") == pytest.approx(2.0)
    assert share(156e12, 0.5, "NVIDIA A100-SXM4-40GB", 4, "bfloat16") == pytest.approx(0.25)
    assert share(378e12, 1.0, "NVIDIA H100 PCIe", 1, "float32") == pytest.approx(1.0)
    assert share(989e12, 1.0, "NVIDIA H100 80GB HBM3", 1, "bfloat16") == pytest.approx(1.0)
    assert share(197e12, 1.0, "TPU v5 lite", 1, "bfloat16") == pytest.approx(1.0)
    assert share(459e12, 1.0, "TPU v5", 1, "bfloat16") == pytest.approx(1.0)
    assert share(1e12, 1.0, "cpu", 1, "float32") is None
    assert share(1e12, 1.0, "Tesla T4", 1, "bfloat16") is None
    assert share(None, 1.0, "Tesla T4", 1, "float32") is None
