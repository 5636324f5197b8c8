import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from tensorboardX.crc32c import crc32c
from tensorboardX.proto import event_pb2

from jaxgan import logs as logs_module
from jaxgan import records
from jaxgan.errors import UserError
from jaxgan.logs import Logs

PICTURE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def quiet(workdir, **more):
    return Logs(workdir, **{"total_steps": 100, "stream": io.StringIO(), **more})


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def events(workdir):
    """Per event file, in TensorBoard's order, its events as an independent reader sees them."""

    def checked(data, crc):
        value = crc32c(data)
        masked = ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF
        assert masked == int.from_bytes(crc, "little")
        return data

    files = []
    for path in sorted(workdir.glob("events.out.tfevents.*")):
        data, found = path.read_bytes(), []
        while data:
            length = int.from_bytes(checked(data[:8], data[8:12]), "little")
            event = checked(data[12 : 12 + length], data[12 + length : 16 + length])
            found.append(event_pb2.Event.FromString(event))
            data = data[16 + length :]
        files.append(found)
    return files


# --- metrics.jsonl and scores.jsonl


def test_a_line_holds_every_number_exactly(tmp_path):
    awkward = [0.1, 1 / 3, 1e-308, np.float32(0.1), jnp.float32(1) / 3, jnp.bfloat16(0.1), -0.0]
    values = {f"v{i}": value for i, value in enumerate(awkward)}
    with quiet(tmp_path) as logs:
        logs.metrics(500, {"images": jnp.int32(500), "loss": jnp.array([2.5]), **values})
    (line,) = lines(tmp_path / "metrics.jsonl")
    assert list(line) == ["step", "images", "loss", *values]
    assert line["step"] == 500
    assert line["images"] == 500
    assert isinstance(line["images"], int)
    assert line["loss"] == 2.5
    for name, value in values.items():
        assert line[name].hex() == float(value).hex()


def test_the_file_is_strict_json_even_where_numbers_are_not(tmp_path):
    with quiet(tmp_path) as logs:
        logs.scores(1, {"a": float("nan"), "b": np.float32("inf"), "c": -np.inf, "weights": "ema"})

    def refuse(constant):
        raise AssertionError(constant)

    line = json.loads((tmp_path / "scores.jsonl").read_text(), parse_constant=refuse)
    assert line == {"step": 1, "a": "NaN", "b": "Infinity", "c": "-Infinity", "weights": "ema"}
    assert [float(line[name]) for name in "bc"] == [np.inf, -np.inf]


def test_step_is_not_a_metric(tmp_path):
    with quiet(tmp_path) as logs, pytest.raises(ValueError, match="step"):
        logs.metrics(1, {"step": 2})


def test_timings_are_known_by_their_names():
    for name in ("images_per_second", "seconds_per_step", "data_wait", "compile_time"):
        assert records.is_timing(name)
    for name in ("G_A", "images", "learning_rate", "step"):
        assert not records.is_timing(name)


def test_a_line_is_in_the_file_before_the_call_returns(tmp_path):
    logs = quiet(tmp_path)
    logs.metrics(1, {"loss": 1.0})
    logs.scores(1, {"psnr": 1.0})
    assert lines(tmp_path / "metrics.jsonl") == [{"step": 1, "loss": 1.0}]
    assert lines(tmp_path / "scores.jsonl") == [{"step": 1, "psnr": 1.0}]
    logs.close()


def test_restoring_goes_back_to_the_restored_step(tmp_path):
    with quiet(tmp_path) as logs:
        for step in (10, 20, 30, 40):
            logs.metrics(step, {"loss": step / 7})
            logs.scores(step, {"psnr": step / 7})
    once = {name: (tmp_path / name).read_bytes() for name in ("metrics.jsonl", "scores.jsonl")}
    with quiet(tmp_path, resumed_step=20) as logs:
        for name in once:
            assert [line["step"] for line in records.read(tmp_path / name)] == [10, 20]
        for step in (30, 40):
            logs.metrics(step, {"loss": step / 7})
            logs.scores(step, {"psnr": step / 7})
    assert once == {name: (tmp_path / name).read_bytes() for name in once}


@pytest.mark.parametrize("cut", range(1, 30))
def test_a_torn_last_line_is_dropped(tmp_path, cut):
    path = tmp_path / "metrics.jsonl"
    whole = b'{"step": 10, "loss": 0.5}\n'
    torn = b'{"step": 20, "loss": 0.25}\n'[:cut]
    path.write_bytes(whole + torn)
    assert [line["step"] for line in records.read(path)][:1] == [10]
    quiet(tmp_path, resumed_step=10).close()
    assert path.read_bytes() == whole


def test_a_last_line_that_lacks_only_its_end_is_mended_and_rubbish_is_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n\0\0\0\n[1]\n{"loss": 1}\n{"step": "x"}\n\xff\n{"step": 2}')
    quiet(tmp_path, resumed_step=2).close()
    assert path.read_bytes() == b'{"step": 1}\n{"step": 2}\n'


def test_a_fresh_start_keeps_nothing_not_even_step_0(tmp_path):
    with quiet(tmp_path) as logs:
        logs.scores(0, {"psnr": 8.2})
        logs.metrics(5, {"loss": 1.0})
    with quiet(tmp_path) as logs:
        logs.scores(0, {"psnr": 8.2})
    assert lines(tmp_path / "scores.jsonl") == [{"step": 0, "psnr": 8.2}]
    assert (tmp_path / "metrics.jsonl").read_bytes() == b""


def test_starting_on_a_finished_run_and_ending_changes_nothing(tmp_path):
    with quiet(tmp_path) as logs:
        logs.metrics(100, {"loss": 1.0})
        logs.images(100, "samples", PICTURE)

    def everything():
        return {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in tmp_path.rglob("*")}

    before = everything()
    with quiet(tmp_path, resumed_step=100) as logs:
        logs.say("finished")
        logs.progress(100)
    assert everything() == before


WRITER = """
import io, sys
from jaxgan.logs import Logs
workdir, step = sys.argv[1], int(sys.argv[2])
logs = Logs(workdir, total_steps=10**9, resumed_step=step, stream=io.StringIO(), tensorboard=False)
print("resumed", flush=True)
while True:
    step += 1
    logs.metrics(step, {f"loss_{i}": step / (i + 3) for i in range(40)})
"""


def test_killed_again_and_again_the_lines_are_those_of_a_run_never_killed(tmp_path):
    path, step = tmp_path / "metrics.jsonl", 0
    for kill in range(4):
        command = [sys.executable, "-c", WRITER, str(tmp_path), str(step)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"resumed\n"
            time.sleep(0.05 + 0.03 * kill)
            process.send_signal(signal.SIGKILL)
        newest = records.read(path)[-1]["step"]
        assert newest > step
        step = (step + newest) // 2  # as if the newest checkpoint were some way back
    quiet(tmp_path, resumed_step=step).close()
    expected = [
        {"step": s, **{f"loss_{i}": s / (i + 3) for i in range(40)}} for s in range(1, step + 1)
    ]
    assert lines(path) == expected


# --- full disks


@pytest.mark.parametrize("name", ["metrics.jsonl", "scores.jsonl"])
def test_a_full_disk_is_said_in_words(tmp_path, name):
    logs = quiet(tmp_path, tensorboard=False)
    (tmp_path / name).symlink_to("/dev/full")
    with pytest.raises(UserError, match=rf"{name} can't be written: No space left.*same command"):
        (logs.metrics if name == "metrics.jsonl" else logs.scores)(1, {"x": 1.0})
    logs.close()


def test_a_full_disk_leaves_no_half_picture(tmp_path):
    logs = quiet(tmp_path)
    logs.images(5, "samples", PICTURE)
    before = (tmp_path / "samples" / "step_000005.png").read_bytes()
    (tmp_path / "samples" / ".step_000005.png.tmp").symlink_to("/dev/full")
    with pytest.raises(UserError, match="No space left"):
        logs.images(5, "samples", np.zeros_like(PICTURE))
    logs.close()
    assert [p.name for p in (tmp_path / "samples").iterdir()] == ["step_000005.png"]
    assert (tmp_path / "samples" / "step_000005.png").read_bytes() == before


def test_a_full_disk_stops_tensorboard_too(tmp_path):
    with quiet(tmp_path) as logs:
        logs.metrics(1, {"loss": 1.0})
        (event_file,) = tmp_path.glob("events.*")
        logs._events._file.close()
        logs._events._file = open("/dev/full", "wb", buffering=0)  # noqa: SIM115
        with pytest.raises(UserError, match=rf"{event_file.name} can't be written: No space left"):
            logs.metrics(2, {"loss": 1.0})


def test_a_workdir_that_cannot_be_one_is_said_in_words(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"is a file\. Name another folder"):
        quiet(tmp_path / "file" / "run")
    with pytest.raises(UserError, match=r"is a file\. Name another folder"):
        quiet(tmp_path / "file")


# --- pictures and TensorBoard


def test_sample_grids_are_png_with_the_same_bytes_every_time(tmp_path):
    for workdir in (tmp_path / "a", tmp_path / "b"):
        with quiet(workdir) as logs:
            logs.images(500, "samples", PICTURE)
            logs.images(500, "ema", PICTURE)
    files = sorted(p.name for p in (tmp_path / "a" / "samples").iterdir())
    assert files == ["step_000500.png", "step_000500_ema.png"]
    for name in files:
        a, b = (tmp_path / x / "samples" / name for x in "ab")
        assert np.array_equal(np.asarray(Image.open(a)), PICTURE)
        assert a.read_bytes() == b.read_bytes()


def test_tensorboard_gets_scalars_scores_and_pictures(tmp_path):
    with quiet(tmp_path) as logs:
        logs.metrics(300, {"loss": 0.25, "images_per_second": 12.5, "nan": float("nan")})
        logs.scores(300, {"psnr": 20.5, "weights": "ema", "huge": 1e300})
        logs.images(300, "samples", PICTURE)
    (found,) = events(tmp_path)
    assert found[0].file_version == "brain.Event:2"
    assert all(abs(event.wall_time - time.time()) < 600 for event in found)
    values = {v.tag: (event.step, v) for event in found for v in event.summary.value}
    assert {step for step, _ in values.values()} == {300}
    assert values["train/loss"][1].simple_value == 0.25
    assert values["timing/images_per_second"][1].simple_value == 12.5
    assert values["scores/psnr"][1].simple_value == 20.5
    assert values["scores/huge"][1].simple_value == np.inf
    image = values["samples"][1].image
    assert (image.height, image.width, image.colorspace) == (20, 30, 3)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(image.encoded_image_string))), PICTURE)


def test_tensorboard_forgets_what_is_newer_than_the_restored_step(tmp_path):
    with quiet(tmp_path) as logs:
        for step in (10, 20, 30):
            logs.metrics(step, {"loss": float(step)})
    for resumed in (20, 0):  # within one second, and still in this order
        with quiet(tmp_path, resumed_step=resumed) as logs:
            logs.metrics(resumed + 10, {"loss": -1.0})
    first, second, third = events(tmp_path)
    assert not any(event.HasField("session_log") for event in first)
    for found, purged in ((second, 21), (third, 0)):
        (start,) = (event for event in found if event.HasField("session_log"))
        assert start.session_log.status == 1
        assert start.step == purged  # this step and later ones go: the restored one stays
        assert found.index(start) == 1


def test_tensorboard_can_be_off(tmp_path):
    with quiet(tmp_path, tensorboard=False) as logs:
        logs.metrics(1, {"loss": 1.0})
        logs.images(1, "samples", PICTURE)
    assert not list(tmp_path.glob("events*"))


def test_neither_tensorflow_nor_torch_nor_jax_is_imported(tmp_path):
    for name in ("tensorflow", "torch", "tensorboard"):  # even where they are installed
        (tmp_path / "installed" / name).mkdir(parents=True)
        (tmp_path / "installed" / name / "__init__.py").write_text("")
    code = (
        "import sys; sys.path.append(sys.argv[1]); import torch; del sys.modules['torch'], torch;"
        "import io, numpy as np; from jaxgan.logs import Logs; import jaxgan.page;"
        "l = Logs(sys.argv[2], total_steps=1); l.metrics(1, {'a': 1.0});"
        "l.images(1, 'samples', np.zeros((4, 4, 3), np.uint8)); l.close();"
        "found = {'tensorflow', 'torch', 'jax', 'tensorboard'} & set(sys.modules);"
        "assert not found, found"
    )
    command = [sys.executable, "-c", code, tmp_path / "installed", tmp_path / "run"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


# --- what people see


def test_without_a_terminal_there_are_plain_lines_only(tmp_path, monkeypatch):
    monkeypatch.setattr(logs_module, "SECONDS_BETWEEN_LINES", 0.0)
    out = io.StringIO()
    with Logs(tmp_path, total_steps=40, stream=out) as logs:
        logs.say("hello")
        for step in range(1, 41):
            logs.progress(step, images_per_second=12.5, losses={"G": 1.0})
            if step % 10 == 0:
                logs.metrics(step, {"G_A": 1 / 3, "images": step, "data_wait": 0.01})
    shown = out.getvalue().splitlines()
    assert shown[0] == "hello"
    assert len(shown) == 5
    for line, step in zip(shown[1:], (10, 20, 30, 40), strict=True):
        assert re.fullmatch(rf"step {step}/40, \d+:\d\d left, 12\.5 images/s, G_A 0\.3333", line)
    assert not re.search(r"[\r\x1b]", out.getvalue())


def test_lines_keep_their_distance_but_the_last_one_always_comes(tmp_path):
    out = io.StringIO()
    with Logs(tmp_path, total_steps=500, stream=out) as logs:
        for step in range(1, 501):
            logs.metrics(step, {"loss": 1.0})
    shown = out.getvalue().splitlines()
    assert len(shown) < 50
    assert shown[0].startswith("step 1/500")
    assert shown[-1].startswith("step 500/500")
    assert len(lines(tmp_path / "metrics.jsonl")) == 500


def test_a_terminal_has_a_bar_that_messages_do_not_break(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    out = Terminal()
    with Logs(tmp_path, total_steps=2000, resumed_step=500, stream=out) as logs:
        logs.say("compiling")
        logs.progress(501, images_per_second=31.4, losses={"G_A": 0.123456, "cycle": 2.0})
        logs.say("a message")
        logs.metrics(510, {"G_A": 0.5, "images": 510, "images_per_second": 250.0})
    text = out.getvalue()
    assert text.startswith("compiling\n")
    assert "501/2000 steps" in text
    assert "31.4 images/s, G_A 0.1235, cycle 2" in text
    assert "left" in text
    assert re.search(r"\r *\ra message\n\r", text)  # the bar is wiped, then drawn again
    assert re.search(r"510/2000 steps.*, 250 images/s, G_A 0\.5 *\n$", text)
    assert not re.search(r"^step ", text, re.M)


def test_the_bar_shows_on_a_terminal_that_does_not_know_its_size(tmp_path):
    ours, theirs = os.openpty()  # 0 rows of 0 columns, as under `docker run -t` or `script`
    with open(theirs, "w") as out, Logs(tmp_path, total_steps=10, stream=out) as logs:
        logs.progress(3)
    assert b"3/10 steps" in os.read(ours, 10_000)
    os.close(ours)


def test_the_bar_stays_on_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    out = Terminal()
    with Logs(tmp_path, total_steps=2000, stream=out) as logs:
        logs.progress(1, images_per_second=31.4, losses={f"loss_{i}": 0.1 for i in range(9)})
    assert "31.4 images/s, loss_0 0.1" in out.getvalue()
    assert max(map(len, re.split(r"[\r\n]", out.getvalue()))) == 80


def test_the_bar_is_drawn_rarely(tmp_path):
    out = Terminal()
    with Logs(tmp_path, total_steps=20_000, stream=out) as logs:
        start = time.perf_counter()
        for step in range(1, 20_001):
            logs.progress(step, losses={"G_A": 0.1})
        seconds = time.perf_counter() - start
    assert out.getvalue().count("\r") < 10 + 10 * seconds
    assert seconds / 20_000 < 1e-3


def test_a_dumb_terminal_has_lines(tmp_path, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    out = Terminal()
    with Logs(tmp_path, total_steps=10, stream=out) as logs:
        logs.metrics(10, {"loss": 1.0})
    assert out.getvalue() == "step 10/10, loss 1\n"


def test_other_processes_do_nothing(tmp_path):
    out = Terminal()
    with Logs(tmp_path / "run", total_steps=10, stream=out, enabled=False) as logs:
        logs.say("x")
        logs.progress(1)
        logs.metrics(1, {"loss": 1.0})
        logs.scores(1, {"psnr": 1.0})
        logs.images(1, "samples", PICTURE)
    assert out.getvalue() == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("terminal", [False, True])
def test_a_reader_that_went_away_does_not_stop_the_run(tmp_path, terminal):
    class Gone(io.StringIO):
        def isatty(self):
            return terminal

        def write(self, text):
            raise BrokenPipeError

    with Logs(tmp_path, total_steps=10, stream=Gone()) as logs:
        logs.progress(1)
        for step in (1, 10):
            logs.say("x")
            logs.metrics(step, {"loss": 1.0})
    assert [line["step"] for line in lines(tmp_path / "metrics.jsonl")] == [1, 10]


def test_messages_reach_streams_that_know_few_letters(tmp_path):
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    with Logs(tmp_path, total_steps=10, stream=out) as logs:
        logs.say("A→B 20 dB")
    assert raw.getvalue() == b"A?B 20 dB\n"


def test_stdout_is_the_default_stream(tmp_path, capsys):
    with Logs(tmp_path, total_steps=10) as logs:
        logs.say("hello")
    assert capsys.readouterr() == ("hello\n", "")
    assert os.listdir(tmp_path) == []


def test_after_the_end_calls_do_nothing(tmp_path):
    logs = quiet(tmp_path)
    logs.metrics(1, {"loss": 1.0})
    logs.close()
    logs.close()
    logs.metrics(2, {"loss": 1.0})
    logs.say("x")
    assert len(lines(tmp_path / "metrics.jsonl")) == 1
    assert not Path(tmp_path / "samples").exists()
