"""Studies: what is told of mistakes, what a table says, and that a study goes on where it was."""

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxgan import (
    ablate,
    answers,
    commandline,
    cost,
    fields,
    logs,
    main,
    plan,
    records,
    report,
    results,
    study,
    train,
    workdir,
    workers,
)
from jaxgan.errors import UserError
from jaxgan.study import Study, product

ROOT = Path(__file__).parents[1]
SMOKE = f"{ROOT / 'configs/toy.py'}:smoke"
HEAD = '"""Does it?"""\nfrom jaxgan.study import Study, product\n'


def written(tmp_path, body, name="s.py"):
    path = tmp_path / name
    path.write_text(f"{HEAD}def get_study():\n    return {body}\n")
    return path


def sound(**changes):
    given = {
        "config": SMOKE,
        "arms": {"a": {}, "b": {"penalty.r1.weight": 1.0}},
        "seeds": [0, 1],
        "metric": "modes",
        "overrides": {"train.steps": 2},
    }
    return "Study(" + ", ".join(f"{k}={v!r}" for k, v in {**given, **changes}.items()) + ")"


def test_products_of_axes():
    arms = product(loss={"x": {"l": 1}, "y": {"l": 2}}, penalty={"0": {}, "R1": {"p": 3}})
    assert arms == {"x, 0": {"l": 1}, "x, R1": {"l": 1, "p": 3}, "y, 0": {"l": 2}} | {
        "y, R1": {"l": 2, "p": 3}
    }
    with pytest.raises(UserError, match="'b' has no choices"):
        product(a={"x": {}}, b={})
    with pytest.raises(UserError, match="sets l on two axes"):
        product(a={"x": {"l": 1}}, b={"y": {"l": 2}})
    with pytest.raises(UserError, match="two arms are called 'x, y, z'"):
        product(a={"x": {}, "x, y": {}}, b={"y, z": {}, "z": {}})


MISTAKES = {
    "3": "gives a int and no Study",
    sound(arms=["a"]): "arms takes names and their fields",
    sound(arms={1: {}}): "arms takes names and their fields",
    sound(arms={"a": ["seed"]}): "arms takes names and their fields",
    sound(seeds=5): "seeds=5 are no list of seeds",
    sound(shown="modes"): "shown takes a list",
    sound(budget="day"): "it takes hours",
    "1 / 0": "ZeroDivisionError",
    sound(arms={}): "no arms",
    sound(base="c"): "base 'c' is no arm",
    sound(seeds=[]): "no seeds",
    sound(seeds=[0, 1.5]): "1.5 is none",
    sound(seeds=[0, True]): "True is none",
    sound(seeds=[1, 1]): "given twice",
    sound(metric=""): "no metric",
    sound(metric="mode"): "did you mean 'modes'",
    sound(metric="fid_random"): "arm 'a'",
    sound(arms={"a": {"loss.adversarail": "bce"}}): "did you mean --config.loss.adversarial",
    sound(arms={"a": {"loss.adversarial": "hing"}}): "arm 'a'",
    sound(arms={"a": {"seed": 3}}): "seeds are the study's own",
    sound(arms={"a": {}, "b": {}}): "are the same runs",
    sound(arms={"a b": {}, "a_b": {"penalty.r1.weight": 1.0}}): "needs another name",
    sound(overrides={"train.seeds": 2}): "sets train.seeds; seeds are the study's own",
    sound(config="configs/absent.py"): "no config file",
}


@pytest.mark.parametrize("body", MISTAKES)
def test_mistakes(body, tmp_path, capsys):
    path = written(tmp_path, body)
    assert ablate.main([f"--study={path}", f"--workdir={tmp_path / 'runs'}", "--plan"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert MISTAKES[body] in said
    assert not (tmp_path / "runs").exists()


def test_what_is_no_study(tmp_path, capsys):
    (tmp_path / "none.py").write_text("x = 1\n")
    for words, told in (
        ([], "--study is missing"),
        ([f"--study={tmp_path / 'absent.py'}"], "there is no study"),
        ([f"--study={tmp_path / 'none.py'}"], "no function get_study()"),
    ):
        assert ablate.main(words) == 2
        assert told in capsys.readouterr().err


def test_commands_of_runs(tmp_path, capsys):
    path = written(tmp_path, sound())
    argv = [f"--study={path}", f"--workdir={tmp_path / 'runs'}", "--print_commands"]
    assert ablate.main(argv) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert "--config.seed=1" in lines[-1]
    assert lines[-1].endswith(f"--workdir={tmp_path / 'runs' / 'b-seed1'}")
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["study.json"]


def test_studies_that_come_along(monkeypatch):
    monkeypatch.chdir(ROOT)
    for path in sorted(ROOT.glob("studies/*.py")):
        question, asked = study.load(str(path))
        assert question.partition("?")[1]
        assert set(study.require_buildable(asked, study.runs(asked))) == set(asked.arms)


def answer(arms, found, higher=False):
    rows = answers.answers(found, arms[0], higher)
    return {row.arm: answers.cells(row, arms[0]) for row in rows}


def test_a_planted_difference_and_a_null():
    base = dict(enumerate([5.0, 6, 7, 5.5, 6.5, 8, 6, 5]))
    same = {seed: value + 0.1 * (-1) ** seed for seed, value in base.items()}
    better = {seed: value - 2 + 0.1 * (-1) ** (seed // 2) for seed, value in base.items()}
    rows = answer(["base", "same", "better"], {"base": base, "same": same, "better": better})
    assert next(iter(rows)) == "better"
    assert rows["better"][5].startswith("-2.00")
    assert rows["better"][6] == "0.0156", "the least of 8 flips, twice"
    assert [rows[arm][7] for arm in ("better", "base", "same")] == ["1", "2 to 3", "2 to 3"]
    assert rows["base"][5:7] == ["the base", ""]
    assert rows["same"][6].startswith("1; ")
    assert rows["same"][6].endswith("seeds would tell")


def test_failures_are_counted_and_few_seeds_told():
    nan = math.nan
    found = {"a": {0: 1.0, 1: 2.0, 2: 1.5}, "b": {0: 3.0, 1: 4.1, 2: nan}, "c": {0: nan, 1: nan}}
    rows = answer(["a", "b", "c"], found)
    assert rows["b"][3:5] == ["2", "1"]
    assert rows["b"][6].startswith("2 seeds can't tell")
    assert rows["c"] == ["c", "-", "-", "0", "2", "-", "", ""]
    assert list(rows)[-1] == "c"
    assert rows["a"][1] == "1.5 (0.3 to 2.7)"


def begun(folder, config, overrides, seed=0, threads=None, **more):
    """A run's folder as training begins it, without training."""
    parsed = commandline.parse([f"--config={config}", *overrides], {}, "x")
    record = fields.resolve(parsed.config, parsed.overrides).to_dict() | {"seed": seed} | more
    record["found"] = {"train": 8}
    folder.mkdir(parents=True)
    workdir.record(folder, record, ["python", "-m", "jaxgan.main"])
    if threads:
        told = json.loads((folder / workdir.CONFIG).read_text())
        told["device"]["threads"] = threads
        (folder / workdir.CONFIG).write_text(json.dumps(told))


OF_A = ["--config.train.seeds=1", "--config.train.steps=2"]


def test_changed_arms_are_refused(tmp_path, capsys):
    runs = tmp_path / "runs"
    begun(runs / "b-seed0", SMOKE, [*OF_A, "--config.penalty.r1.weight=1.0"])
    argv = [f"--workdir={runs}", "--print-commands"]
    more = {"a": {}, "b": {"penalty.r1.weight": 1.0}, "c": {"penalty.r1.weight": 2.0}}
    assert ablate.main([f"--study={written(tmp_path, sound(arms=more), 'm.py')}", *argv]) == 0
    changed = {"a": {}, "b": {"penalty.r1.weight": 3.0}}
    path = written(tmp_path, sound(arms=changed), "c.py")
    capsys.readouterr()
    assert ablate.main([f"--study={path}", *argv]) == 2
    said = capsys.readouterr().err
    assert "'b' was run with penalty.r1.weight=1.0 and has 3.0 now" in said
    path = written(tmp_path, sound(overrides={"train.steps": 3}), "d.py")
    assert ablate.main([f"--study={path}", *argv]) == 2
    assert "'b' was run with train.steps=2 and has 3 now" in capsys.readouterr().err


def test_another_number_of_cores_is_refused(tmp_path, capsys):
    runs = tmp_path / "runs"
    path = written(tmp_path, sound())
    begun(runs / "a-seed0", SMOKE, OF_A, threads=7)
    argv = [f"--study={path}", f"--workdir={runs}"]
    assert ablate.main(argv) == 2
    assert "a, seed 0 was trained on 7 cores a run, and a run would" in capsys.readouterr().err
    assert ablate.main([*argv, "--print_commands"]) == 0, "wherever they are printed"
    capsys.readouterr()
    for words, told in (
        (["--threads=64"], "--jobs=1 --threads=64 needs 64 cores"),
        (["--jobs=0"], "at least 1 job"),
        (["--measure"], "--measure belongs to --plan"),
    ):
        assert ablate.main([*argv, *words]) == 2
        assert told in capsys.readouterr().err
    record(path, tmp_path / "other")
    told = json.loads((tmp_path / "other" / "study.json").read_text()) | {"threads": 9}
    (tmp_path / "other" / "study.json").write_text(json.dumps(told))
    assert ablate.main([f"--study={path}", f"--workdir={tmp_path / 'other'}"]) == 2
    assert "the study was begun on 9 cores a run" in capsys.readouterr().err


def test_another_study_of_the_same_name_is_refused(tmp_path, capsys):
    runs = tmp_path / "runs"
    path = written(tmp_path, sound())
    begun(runs / "a-seed0", SMOKE, OF_A)
    record(path, runs)
    (tmp_path / "sub").mkdir()
    other = written(tmp_path / "sub", sound(arms={"x": {}, "y": {"penalty.r1.weight": 1.0}}))
    other.write_text(other.read_text().replace("Does it?", "Why not?"))
    assert ablate.main([f"--study={other}", f"--workdir={runs}"]) == 2
    assert f"holds the runs of {path} (Does it?); give another" in capsys.readouterr().err


def test_seeds_side_by_side_are_other_runs(tmp_path, capsys):
    runs = tmp_path / "runs"
    path = written(tmp_path, sound(seeds=[0, 1, 2, 5]))
    argv = [f"--study={path}", f"--workdir={runs}", "--print_commands"]
    assert ablate.main([*argv, "--vmap-seeds"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.rpartition("/")[2] for line in lines] == [
        "a-seeds0-2",
        "a-seed5",
        "b-seeds0-2",
        "b-seed5",
    ]
    assert "--config.train.seeds=3 --config.seed=0" in lines[0]
    capsys.readouterr()
    record(path, runs, groups=[[0, 1]])
    record(path, runs, groups=[[0, 1]])
    assert ablate.main(argv) == 0, "nothing has been trained yet"
    record(path, runs, groups=[[0, 1]])
    begun(runs / "a-seeds0-1", SMOKE, ["--config.train.seeds=2", "--config.train.steps=2"])
    capsys.readouterr()
    assert ablate.main([*argv, "--vmap_seeds"]) == 0
    there = [line.rpartition("/")[2] for line in capsys.readouterr().out.splitlines()]
    assert there[:3] == ["a-seeds0-1", "a-seed2", "a-seed5"], "what was begun stays a group"
    assert ablate.main(argv) == 2
    assert "trained side by side: add --vmap_seeds" in capsys.readouterr().err
    cyclegan = sound(config=f"{ROOT / 'configs/cyclegan.py'}:smoke", metric="psnr_AtoB")
    other = written(tmp_path, cyclegan.replace("penalty.r1.weight", "loss.cycle"), "o.py")
    assert ablate.main([f"--study={other}", "--vmap_seeds", "--plan"]) == 2
    assert "can't be trained side by side" in capsys.readouterr().err


def record(path, folder, groups=()):
    """study.json of a study file."""
    question, asked = study.load(str(path))
    runs = study.runs(asked, groups)
    arms = study.require_buildable(asked, runs)
    told = ablate._record(str(path), question, asked, arms, groups, runs)
    ablate._write(told | {"threads": 0}, folder)


def test_what_is_no_study_s_folder(tmp_path, capsys):
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "study.json").write_text("{}")
    assert ablate.main([f"--study={written(tmp_path, sound())}", f"--workdir={runs}"]) == 2
    assert "no study's record" in capsys.readouterr().err


def test_arms_share_init_and_data():
    """Paired seeds: what two arms have in common begins, and is shown, the same."""
    asked = Study(
        SMOKE,
        {"a": {}, "wide": {"model.discriminator.widths": "8"}, "gp": {"penalty.r1.weight": 3.0}},
        [4],
        "modes",
    )
    started, batches = {}, {}
    for run in study.runs(asked):
        config = study.resolved(asked, run)
        built, data, _ = main.opened(config)
        started[run.arm] = jax.device_get(built.init(config.seed).params)
        leading = jax.tree.leaves(built.batch)[0].shape[:2]
        with contextlib.closing(train.stream(config, built, data, leading, {})) as stream:
            batches[run.arm] = next(stream)
    for other in ("wide", "gp"):
        jax.tree.map(np.testing.assert_array_equal, batches["a"], batches[other])
        nets = ["generator"] + ["discriminator"] * (other == "gp")
        for net in nets:
            jax.tree.map(np.testing.assert_array_equal, started["a"][net], started[other][net])


def test_a_plan_tells_what_it_costs(tmp_path, capsys, monkeypatch):
    asked_for = []

    def measured(asked, run, cores, environment):
        asked_for.append(run.arm)
        return cost.Cost(10.0, 0.5, 1.0, 2.0, 3.0, 2, 1, 1, images=8)

    monkeypatch.setattr(plan, "_measured", measured)
    wide = {"a": {}, "b": {"penalty.r1.weight": 1.0}, "c": {"model.generator.widths": "9"}}
    path = written(tmp_path, sound(arms=wide, budget=0.02))
    argv = [f"--study={path}", f"--workdir={tmp_path / 'runs'}", "--plan"]
    assert ablate.main(argv) == 1
    assert asked_for == ["a", "c"], "one for each size of networks"
    said = capsys.readouterr().out
    assert 'c: model.generator.widths "16,16" -> "9"' in said
    assert "[6/6] c-seed1: to do, 17 s" in said
    assert "3 arms x 2 seeds = 6 runs of at most 2 steps" in said
    assert "takes about 102 s" in said or "takes about 2 min" in said
    assert "more than the study's budget, 0.02 h" in said
    asked_for.clear()
    begun(tmp_path / "runs" / "a-seed0", SMOKE, OF_A)
    assert ablate.main([*argv, "--measure"]) == 1
    assert asked_for == ["a", "b", "c"]
    assert "a-seed0: begun, 17 s" in capsys.readouterr().out
    assert not (tmp_path / "runs" / "study.json").exists()


@pytest.mark.parametrize("whole", [10.0, 0.1])
def test_a_plan_tells_whether_seeds_side_by_side_are_faster(tmp_path, capsys, monkeypatch, whole):
    def measured(asked, run, cores, environment):
        start = 8.0 if len(run.seeds) > 1 else whole
        return cost.Cost(start, 0.0, 0.0, 0.0, 0.0, 2, 1, 1, images=8)

    monkeypatch.setattr(plan, "_measured", measured)
    path = written(tmp_path, sound())
    argv = [f"--study={path}", f"--workdir={tmp_path / 'runs'}", "--plan", "--vmap_seeds"]
    assert ablate.main(argv) == 0
    said = capsys.readouterr().out
    if whole == 10:
        assert "2 seeds side by side are 2.5 times as fast as 2 runs of one seed" in said
    else:
        assert "are no faster than 2 runs" in said
        assert "leave out --vmap_seeds" in said


def test_a_plan_tells_what_is_compiled_once(tmp_path, capsys, monkeypatch):
    """By the first run of each arm; that which was measured is compiled by now."""

    def measured(asked, run, cores, environment):
        return cost.Cost(10.0, 0.5, 1.0, 2.0, 3.0, 2, 1, 1, images=8, once=50.0)

    monkeypatch.setattr(plan, "_measured", measured)
    path = written(tmp_path, sound(arms={"a": {}, "b": {"penalty.r1.weight": 1.0}}))
    assert ablate.main([f"--study={path}", f"--workdir={tmp_path / 'runs'}", "--plan"]) == 0
    said = capsys.readouterr().out
    assert "50.0 s of compiling" in said
    for words in ("a-seed0: to do, 17 s", "b-seed0: to do, 67 s", "b-seed1: to do, 17 s"):
        assert words in said
    assert "takes about 2 min" in said


def test_costs():
    assert [cost.times(10, every) for every in (0, 3, 5, 10, 20)] == [1, 4, 2, 1, 1]
    found = cost.Cost(10.0, 0.5, 1.0, 2.0, 3.0, steps=100, samples=2, evaluations=4, images=8)
    assert found.whole == 10 + 50 + 2 + 8 + 3


@pytest.mark.slow
def test_the_cost_of_a_run(capsys):
    words = [f"--config={SMOKE}", "--config.train.seeds=1", "--config.train.steps=50"]
    assert cost.main([*words, "--seconds=0.2"]) == 0
    found = cost.Cost(**json.loads(capsys.readouterr().out.splitlines()[-1]))
    assert (found.steps, found.evaluations) == (50, 13)
    assert 0 < found.step < 1 < found.start
    assert found.once > 0


@pytest.mark.slow
def test_a_study_to_its_end(tmp_path, capsys):
    """Runs, a failure among them; the same command again does nothing and says the same."""
    arms = {"plain": {}, "wild": {"optimizer.generator.learning_rate": 1e30}}
    path = written(tmp_path, sound(arms=arms, seeds=[0, 3]))
    argv = [f"--study={path}", f"--workdir={tmp_path / 'runs'}"]
    assert ablate.main(argv) == 0
    first = capsys.readouterr().out
    assert "failed: a loss, a gradient or a weight" in first
    text = (tmp_path / "runs" / "report" / "report.md").read_text()
    rows = {row.split("|")[1].strip(): row for row in text.splitlines() if row.startswith("|")}
    found = results.of_study(tmp_path / "runs")
    assert report.summary(found) in first
    told = answer(["plain", "wild"], found.values("modes"))
    assert told["plain"][3:5] == ["2", "0"]
    assert told["wild"][3:5] == ["0", "2"]
    assert "wild" in rows
    lines = records.read(tmp_path / "runs" / "plain-seed3" / logs.SCORES)
    assert lines[-1]["step"] == 2
    stamp = (tmp_path / "runs" / "plain-seed3" / "metrics.jsonl").stat().st_mtime_ns
    assert ablate.main(argv) == 0
    assert (tmp_path / "runs" / "plain-seed3" / "metrics.jsonl").stat().st_mtime_ns == stamp
    assert (tmp_path / "runs" / "report" / "report.md").read_text() == text


@pytest.mark.slow
def test_a_study_killed_at_any_moment_goes_on_to_the_same_tables(tmp_path):
    """`kill -9` of all its processes, twice; then of the study alone, whose runs go on."""
    if len(workers.cores_here()) < 2:
        pytest.skip("it needs two cores")
    more = ["--jobs=2", "--threads=1"]
    overrides = {"train.steps": 40, "checkpoint.every": 10, "train.log_every": 10}
    arms = {"a": {}, "b": {"penalty.r1.weight": 1.0}, "c": {"loss.adversarial": "hinge"}}
    given = {"arms": arms, "seeds": [0], "overrides": {**overrides, "evaluate.every": 20}}
    path = written(tmp_path, sound(**given))

    def words(name):
        folder = f"--workdir={tmp_path / name / 'runs'}"
        return [sys.executable, "-m", "jaxgan.ablate", f"--study={path}", folder, *more]

    def saved():
        there = (tmp_path / "b" / "runs").glob("*/checkpoints/*")
        return sum(step.name.isdecimal() for step in there)

    subprocess.run(words("a"), check=True, capture_output=True)
    for round_ in range(3):
        before = saved()
        study_ = subprocess.Popen(words("b"), stdout=subprocess.DEVNULL)
        end = time.monotonic() + 120
        while saved() <= before:
            assert study_.poll() is None, "it shall be killed before its end"
            assert time.monotonic() < end
            time.sleep(0.05)
        runs = subprocess.run(["pgrep", "-P", str(study_.pid)], capture_output=True, text=True)
        study_.kill()
        study_.wait()
        for pid in runs.stdout.split() if round_ < 2 else []:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
    subprocess.run(words("b"), check=True, capture_output=True)
    for name in ("table.csv", "scores.csv", "table.tex"):
        a, b = (tmp_path / side / "runs" / "report" / name for side in "ab")
        assert a.read_bytes() == b.read_bytes()
    runs = sorted(
        p.name for p in (tmp_path / "a" / "runs").iterdir() if (p / "config.json").exists()
    )
    assert len(runs) == 3
    for run in runs:
        a, b = (records.read(tmp_path / side / "runs" / run / logs.METRICS) for side in "ab")
        assert [untimed(line) for line in a] == [untimed(line) for line in b]
        a, b = (tmp_path / side / "runs" / run / logs.SCORES for side in "ab")
        assert a.read_bytes() == b.read_bytes()


def untimed(line):
    return {name: value for name, value in line.items() if not records.is_timing(name)}
