"""Reports: what they say of runs, and that they say it in the same bytes."""

import csv
import io
import json
import re

import numpy as np
import pytest
from PIL import Image
from test_ablate import OF_A, SMOKE, begun, record, sound, written

from jaxgan import ablate, records, report, report_page, results, workdir

SCORES = {"a": (5.0, 6.0), "b": (7.0, 7.5)}
GP = [*OF_A, "--config.penalty.r1.weight=1.0"]


@pytest.fixture(autouse=True)
def _ends(monkeypatch):
    """A run has its end where a file says so: none of these has been trained."""
    monkeypatch.setattr(results, "finished", lambda folder: (folder / "end").exists())


def trained(folder, words, seed, value, end=True, **more):
    """A run's folder, as if it had been trained."""
    begun(folder, SMOKE, words, seed, **more)
    for step in (1, 2):
        line = {"images": 8 * step, "generator": 0.5 / step, "seconds_per_step": 0.25}
        records.append(folder / "metrics.jsonl", step, line)
        scores = {
            "modes": value - 2 + step,
            "high_quality": 0.5,
            "reverse_kl": 0.1,
            "covered": 3,
            "how": {},
        }
        records.append(folder / "scores.jsonl", step, scores)
    (folder / "samples").mkdir()
    Image.new("RGB", (8, 8), "red").save(folder / "samples" / "step_000002.png")
    if end:
        (folder / "end").touch()


@pytest.fixture
def runs(tmp_path):
    """A study's folder whose runs are there."""
    folder = tmp_path / "runs"
    for seed in (0, 1):
        trained(folder / f"a-seed{seed}", OF_A, seed, SCORES["a"][seed])
        trained(folder / f"b-seed{seed}", GP, seed, SCORES["b"][seed])
    record(written(tmp_path, sound(shown=["high_quality"])), folder)
    return folder


def test_a_study_s_report(runs, capsys):
    assert report.main([str(runs)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Does it?")
    assert "| b | 7.2 (4.1 to 10.4) | 0.35 | 2 | 0 | +1.8 (-1.4 to 4.9) |" in said
    assert "2 seeds can't tell" in said
    place = runs / "report"
    files = sorted(path.name for path in place.iterdir())
    assert files == ["index.html", "report.md", "scores.csv", "table.csv", "table.tex"]
    rows = list(csv.DictReader(io.StringIO((place / "table.csv").read_text())))
    first = next(row for row in rows if row["arm"] == "b" and row["score"] == "modes")
    assert float(first["mean"]) == np.mean(SCORES["b"])
    assert float(first["difference"]) == np.mean(SCORES["b"]) - np.mean(SCORES["a"])
    assert float(first["low"]) < float(first["mean"]) < float(first["high"])
    seeds = list(csv.DictReader(io.StringIO((place / "scores.csv").read_text())))
    assert [float(row["modes"]) for row in seeds] == [*SCORES["a"], *SCORES["b"]]
    page = (place / "index.html").read_text()
    assert page.count("<svg") == 3, "modes, high_quality and, folded, generator"
    assert page.count("data:image/png;base64") == 2
    assert not re.search(r'(src|href)="(?!data:)', page), "it needs nothing else"
    assert "Does it?" in page
    assert "def get_study" in page
    tex = (place / "table.tex").read_text()
    assert r"95 \% over seeds" in tex
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    assert report.main([str(runs)]) == 0
    assert before == {path.name: path.read_bytes() for path in place.iterdir()}


def test_what_failed_and_what_is_missing_is_told(runs):
    (runs / "b-seed1" / "end").unlink()
    (runs / "b-seed1" / results.FAILED).write_text("met a NaN\n")
    (runs / "a-seed1" / "end").unlink()
    trained(runs / "old-seed0", OF_A, 0, 3.0)
    assert report.main([str(runs)]) == 0
    text = (runs / "report" / "report.md").read_text()
    assert re.search(r"\| b \| 7 \|  \| 1 \| 1 \| \+2 \|", text)
    assert "**beside the study lie runs that don't belong to it: old-seed0**" in text
    assert "**1 run isn't finished: a, seed 1**" in text
    assert "| a | 5 |  | 1 | 0, and 1 not finished | the base |" in text
    page = (runs / "report" / "index.html").read_text()
    assert "met a NaN" in page
    assert '<p class="warning">' in page


def test_differences_in_provenance_are_told(runs):
    file = runs / "b-seed0" / workdir.CONFIG
    told = json.loads(file.read_text())
    told["versions"]["jax"], told["data"], told["device"]["threads"] = "0.0.1", "ffff", 77
    file.write_text(json.dumps(told))
    assert report.main([str(runs)]) == 0
    text = (runs / "report" / "report.md").read_text()
    for words in ("the runs differ in versions", "the runs differ in cores: ", "jax 0.0.1"):
        assert words in text
    assert "the runs differ in code" not in text


def test_seeds_that_were_trained_side_by_side(tmp_path):
    folder = tmp_path / "runs"
    words = ["--config.train.seeds=3", "--config.train.steps=2"]
    begun(folder / "a-seeds0-2", SMOKE, words)
    begun(folder / "b-seeds0-2", SMOKE, [*words, "--config.penalty.r1.weight=1.0"])
    for arm in "ab":
        for step in (1, 2):
            line = {f"seed{s}/modes": float(s + step + (arm == "b")) for s in range(3)}
            del line["seed1/modes"]  # it met a NaN
            records.append(folder / f"{arm}-seeds0-2" / "scores.jsonl", step, line)
        (folder / f"{arm}-seeds0-2" / "end").touch()
    record(written(tmp_path, sound(seeds=[0, 1, 2])), folder, groups=[[0, 1, 2]])
    found = results.of_study(folder)
    values = found.values("modes")
    assert values["b"][0] == 3
    assert values["b"][2] == 5
    assert np.isnan(values["b"][1])
    assert [one.failed for one in found.trained][:3] == ["", "a NaN or an infinite number", ""]


def test_a_score_and_a_mean_of_training_may_have_one_name(runs):
    """As pix2pix's l1 has: their lines are two curves, and none is made of both."""
    path = runs / "a-seed0" / "metrics.jsonl"
    lines = [line | {"modes": 70.0 + line["step"]} for line in records.read(path)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    first = results.of_study(runs).trained[0]
    assert list(first.curve("modes").values()) == [4.0, 5.0]
    assert list(first.curve("modes", training=True).values()) == [71.0, 72.0]
    assert first.curve("generator") == {}


def test_a_lost_seed_hides_no_curves_and_samples_are_of_one_seed(runs):
    (runs / "b-seed0" / "end").unlink()
    (runs / "b-seed0" / "metrics.jsonl").unlink()
    for path in (runs / "b-seed0" / "samples").iterdir():
        path.unlink()
    found = results.of_study(runs)
    page = report_page.html(found)
    assert "Means of training: generator" in page
    assert page.count("seed 1</figcaption>") == 2
    assert "Of the same draws" in page


def test_a_finished_run_has_not_failed(runs):
    """Whatever was written before it was tried again."""
    (runs / "a-seed0" / results.FAILED).write_text("met a NaN")
    assert results.of_study(runs).trained[0].failed == ""


def test_seconds_of_lines_that_have_none(runs):
    file = runs / "a-seed0" / "metrics.jsonl"
    first, second = file.read_text().splitlines()
    line = json.loads(first)
    del line["seconds_per_step"]
    file.write_text(f"{json.dumps(line)}\n{second}\n")
    assert results.of_study(runs).trained[0].seconds == 0.5


def test_any_runs(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed in (0, 1):
        trained(tmp_path / f"first-seed{seed}", OF_A, seed, SCORES["a"][seed])
        trained(tmp_path / f"second-seed{seed}", GP, seed, SCORES["b"][seed])
    folders = ["first-seed0", "first-seed1", "second-seed0", "second-seed1"]
    assert report.main([*folders, "--metric=modes", "--output=out"]) == 0
    said = capsys.readouterr().out
    assert "| second | 7.2 (4.1 to 10.4) |" in said
    text = (tmp_path / "out" / "report.md").read_text()
    assert "| second | penalty.r1.weight=1.0 |" in text
    assert "## reverse_kl" in text
    assert report.main(["first-seed0", "--output=alone"]) == 0
    assert "| first | 5 |" in capsys.readouterr().out


def test_mistakes(runs, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").touch()
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "index.html").write_text("somebody's")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "config.json").write_text('{"config": {')
    run = str(runs / "a-seed0")
    for words, told in (
        ([], "name a study's folder, or runs"),
        ([str(tmp_path / "absent")], "there is no folder"),
        ([str(tmp_path / "empty")], "holds no study (no study.json)"),
        ([str(runs), str(tmp_path / "empty")], "holds no run (no config.json)"),
        ([str(tmp_path / "torn")], "isn't what a run writes"),
        ([run, run], "2 of the folders hold the same run (a, seed 0)"),
        ([run, "--metric=fid"], "no run has a score 'fid'; there is modes, high_quality"),
        ([run, "--metric=covered"], "'covered' can't decide"),
        ([str(runs), "--metric=modes"], "a study's own metric decides"),
        ([run, f"--output={tmp_path / 'taken'}"], "holds files and no report"),
        ([run, f"--output={tmp_path / 'taken/mine.txt'}"], "is a file"),
        ([run, f"--output={tmp_path / 'page'}"], "holds files and no report"),
        ([run, "--metrik=x"], "did you mean --metric=x?"),
    ):
        assert report.main(words) == 2, words
        said = capsys.readouterr().err
        assert said.startswith("error: ")
        assert told in said
    assert sorted(path.name for path in (tmp_path / "taken").iterdir()) == ["mine.txt"]


def test_an_unreadable_run_of_a_study(runs, capsys):
    (runs / "a-seed0" / workdir.CONFIG).write_text("{")
    assert report.main([str(runs)]) == 2
    assert "a-seed0/config.json isn't what a run writes" in capsys.readouterr().err
    asked = runs.parent / "s.py"
    assert ablate.main([f"--study={asked}", f"--workdir={runs}"]) == 2
    assert "isn't what a run writes" in capsys.readouterr().err
