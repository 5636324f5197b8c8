"""Studies: what is told of mistakes, what a table says, and that a study goes on where it was."""

import json
import math
from pathlib import Path

import pytest

from jaxgan import ablate, logs, records, study
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
        "overrides": {"train.seeds": 1, "train.steps": 2},
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
    sound(overrides={}): "add train.seeds=1",
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


def test_a_plan_says_what_would_be_run(tmp_path, capsys):
    path = written(tmp_path, sound())
    argv = [f"--study={path}", f"--workdir={tmp_path / 'runs'}"]
    assert ablate.main([*argv, "--plan"]) == 0
    said = capsys.readouterr().out
    assert "Does it?" in said
    assert "b: penalty.r1.weight=1.0" in said
    assert "2 arms x 2 seeds = 4 runs of at most 2 steps, 0 of them complete" in said
    assert ablate.main([*argv, "--print_commands"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert "--config.seed=1" in lines[-1]
    assert lines[-1].endswith(f"--workdir={tmp_path / 'runs' / 'b-seed1'}")
    assert not (tmp_path / "runs").exists()


def test_studies_that_come_along(monkeypatch):
    monkeypatch.chdir(ROOT)
    for path in sorted(ROOT.glob("studies/*.py")):
        question, asked = study.load(str(path))
        assert question.partition("?")[1]
        assert study.require_buildable(asked) > 0


def answer(arms, found, **more):
    asked = Study("c", {arm: {} for arm in arms}, range(8), "fid", base=arms[0])
    return ablate.table(asked, found, **{"higher": False} | more).splitlines()[2:]


def test_a_planted_difference_and_a_null():
    base = dict(enumerate([5.0, 6, 7, 5.5, 6.5, 8, 6, 5]))
    same = {seed: value + 0.1 * (-1) ** seed for seed, value in base.items()}
    better = {seed: value - 2 + 0.1 * (-1) ** (seed // 2) for seed, value in base.items()}
    first, *others = answer(
        ["base", "same", "better"], {"base": base, "same": same} | {"better": better}
    )
    assert first.startswith("| better |")
    assert "| -2.00" in first
    assert first.endswith("| 0.0156 |"), "the least of 8 flips, twice"
    rows = {row.split("|")[1].strip(): row for row in others}
    assert "the base" in rows["base"]
    assert "| 1; " in rows["same"]
    assert "seeds would tell" in rows["same"]


def test_failures_are_counted_and_few_seeds_told():
    nan = math.nan
    found = {"a": {0: 1.0, 1: 2.0, 2: 1.5}, "b": {0: 3.0, 1: 4.1, 2: nan}, "c": {0: nan, 1: nan}}
    rows = {row.split("|")[1].strip(): row for row in answer(["a", "b", "c"], found)}
    assert "| 2 | 1 |" in rows["b"]
    assert "2 seeds can't tell" in rows["b"]
    assert rows["c"].split("|")[2].strip() == "-"
    assert "| 0 | 2 |" in rows["c"]
    assert list(rows)[-1] == "c"


def test_changed_arms_are_refused_and_new_ones_added(tmp_path, capsys):
    runs = tmp_path / "runs"
    runs.mkdir()
    asked = study.load(str(written(tmp_path, sound())))[1]
    ablate._record(asked, runs)
    more = {"a": {}, "c": {"penalty.r1.weight": 2.0}}
    argv = [f"--workdir={runs}", "--plan"]
    assert ablate.main([f"--study={written(tmp_path, sound(arms=more), 'm.py')}", *argv]) == 0
    changed = {"a": {}, "b": {"penalty.r1.weight": 3.0}}
    path = written(tmp_path, sound(arms=changed), "c.py")
    capsys.readouterr()
    assert ablate.main([f"--study={path}", *argv]) == 2
    said = capsys.readouterr().err
    assert "'b' was run with penalty.r1.weight=1.0 and has 3.0 now" in said
    ablate._record(study.load(str(tmp_path / "m.py"))[1], runs)
    assert set(json.loads((runs / "study.json").read_text())["arms"]) == {"a", "b", "c"}
    (runs / "study.json").write_text("{}")
    assert ablate.main([f"--study={path}", *argv]) == 2
    assert "no study's record" in capsys.readouterr().err


@pytest.mark.slow
def test_a_study_to_its_end(tmp_path, capsys):
    """Runs, a failure among them; the same command again does nothing and says the same."""
    arms = {"plain": {}, "wild": {"optimizer.generator.learning_rate": 1e30}}
    path = written(tmp_path, sound(arms=arms, seeds=[0, 3]))
    argv = [f"--study={path}", f"--workdir={tmp_path / 'runs'}"]
    assert ablate.main(argv) == 0
    first = capsys.readouterr().out
    assert "failed: error: a loss, a gradient or a weight" in first
    table = (tmp_path / "runs" / "table.md").read_text()
    assert table.strip() in first
    rows = {row.split("|")[1].strip(): row for row in table.splitlines() if row.startswith("|")}
    assert "| 2 | 0 |" in rows["plain"]
    assert "| 0 | 2 |" in rows["wild"]
    lines = records.read(tmp_path / "runs" / "plain-seed3" / logs.SCORES)
    assert lines[-1]["step"] == 2
    stamp = (tmp_path / "runs" / "plain-seed3" / "metrics.jsonl").stat().st_mtime_ns
    assert ablate.main(argv) == 0
    assert (tmp_path / "runs" / "plain-seed3" / "metrics.jsonl").stat().st_mtime_ns == stamp
    assert (tmp_path / "runs" / "table.md").read_text() == table
