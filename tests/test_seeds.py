"""Several seeds side by side: each is the run that it would be alone, and ends alone.

All runs here play one game of points, float64, by the command as it is typed, in this process;
it is compiled once for the group and once for a single seed.
"""

import contextlib
import io
import json
import shutil
from typing import ClassVar

import jax
import numpy as np
import pytest
import tiny
from PIL import Image

from jaxgan import (
    benchmark,
    checkpoint,
    commandline,
    fields,
    main,
    pictures,
    plots,
    records,
    train,
    trained,
)
from jaxgan.checkpoint import Checkpoints
from jaxgan.data import points as worlds
from jaxgan.errors import UserError
from jaxgan.tasks import TASKS, points
from jaxgan.tasks.task import sampler

CONFIG = f"--config={tiny.CONFIG.with_name('toy.py')}:smoke"
SEEDS, STEPS = (3, 4, 5), 10
FIELDS = {
    "seed": SEEDS[0],
    "train.seeds": len(SEEDS),
    "precision": "float64",
    "awake": "off",
    "train.steps": STEPS,
    "train.log_every": 3,
    "train.sample_every": 5,
    "checkpoint.every": 2,
    "checkpoint.keep": 100,
    "evaluate.every": 5,
    "ema.half_life": 20.0,
    # All that a step can be made of: rounds, more of them in the first steps, a lazy phase.
    "train.critic_rounds": 2,
    "train.warmup.rounds": 4,
    "train.warmup.steps": 2,
    "train.warmup.every": 5,
    "penalty.r1.weight": 0.5,
    "penalty.r1.every": 2,
    "model.latent.size": 2,
    "model.generator.widths": "4",
    "model.discriminator.widths": "4",
}
FIRST_BATCH = (0, 2, 4, 5, 6, 7, 9, 10, 11, 12)  # of each step: the first two have one more
ALONE = {"train.seeds": 1}


def arguments(given=(), folder=None):
    words = [f"--config.{name}={value}" for name, value in (FIELDS | dict(given)).items()]
    return [CONFIG, *words, *([] if folder is None else [f"--workdir={folder}"])]


def run(folder, given=()):
    """The command's exit code and what it said."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = main.main(arguments(given, folder))
    return code, out.getvalue()


class Quickly:
    """A program that is compiled once for each shape that it takes, and in no time."""

    made: ClassVar = {}

    def __init__(self, update, mesh, more=0):
        self.jitted, self.name = compile_update(update, mesh, more), update.__qualname__

    def lower(self, *args):
        self.args = args
        self.key = self.name, args[1]["image"].shape
        return self

    def compile(self):
        if self.key not in self.made:
            traced = self.jitted.trace(*self.args)
            program = traced.lower().compile(compiler_options=tiny.QUICKLY)
            self.made[self.key] = program, traced.jaxpr
        return self.made[self.key][0]


compile_update = train.compile_update


@pytest.fixture(autouse=True, scope="module")
def compiled_once():
    made = {}

    def sampler_once(game):
        return made.setdefault("sampler", sampler(game))

    with pytest.MonkeyPatch.context() as patch:
        for module in (train, benchmark):
            patch.setattr(module, "compile_update", Quickly)
        patch.setattr(points, "sampler", sampler_once)
        yield
    Quickly.made.clear()
    jax.config.update("jax_enable_x64", False)  # as `machine.prepare` left it


@pytest.fixture(scope="module")
def group(tmp_path_factory, compiled_once):
    """A finished group, and what it said."""
    folder = tmp_path_factory.mktemp("group") / "run"
    code, said = run(folder)
    assert code == 0, said
    return folder, said


@pytest.fixture
def stopped(group, tmp_path):
    """step -> a copy of the group as a kill leaves it after the save of that step."""

    def copy(step):
        folder = tmp_path / "stopped"
        shutil.copytree(group[0], folder)
        shutil.rmtree(folder / "seeds")
        for path in (folder / "checkpoints").iterdir():
            if int(path.name) > step:
                shutil.rmtree(path)
        return folder

    return copy


def arrays(folder, step=STEPS):
    return Checkpoints(folder, read_only=True).arrays(step)


def lines(path):
    """Of a log, without timings."""
    return [
        {name: value for name, value in line.items() if not records.is_timing(name)}
        for line in records.read(path)
    ]


def everything(folder):
    return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}


# Each is the run that it would be alone


@pytest.fixture(scope="module", params=SEEDS[1:])
def single(request, tmp_path_factory, compiled_once):
    folder = tmp_path_factory.mktemp("single") / "run"
    code, said = run(folder, ALONE | {"seed": request.param})
    assert code == 0, said
    return request.param, folder


def test_a_seed_of_a_group_is_the_run_of_that_seed(group, single):
    """Weights, moments, averages, keys and metrics; so it saw the same data, too."""
    seed, alone = single
    theirs, mine = arrays(group[0] / f"seeds/seed{seed}"), arrays(alone)
    assert theirs.keys() == mine.keys()
    assert any(name.startswith("ema/generator/params") for name in mine)
    for name in mine:
        assert theirs[name].dtype == mine[name].dtype
        np.testing.assert_allclose(theirs[name], mine[name], rtol=0, atol=1e-9, err_msg=name)
    for name in ("metrics.jsonl", "scores.jsonl"):
        for both, one in zip(lines(group[0] / name), lines(alone / name), strict=True):
            assert both["step"] == one["step"]
            own = {n: v for n, v in one.items() if f"seed{seed}/{n}" in both}
            assert own.keys() >= ({"modes"} if name == "scores.jsonl" else {"r1", "generator"})
            for n, value in own.items():
                assert both[f"seed{seed}/{n}"] == pytest.approx(value, abs=1e-9)


def test_seeds_differ_and_their_mean_is_logged(group):
    state = arrays(group[0])
    kernels = [name for name in state if name.startswith("params/") and "kernel" in name]
    assert len(kernels) >= 4
    for name in kernels:
        assert len(np.unique(state[name].reshape(3, -1), axis=0)) == 3
    for line in lines(group[0] / "metrics.jsonl"):
        each = [line[f"seed{seed}/generator"] for seed in SEEDS]
        assert len(set(each)) == 3
        assert line["generator"] == pytest.approx(np.mean(each))
    for line in lines(group[0] / "scores.jsonl"):
        each = [line[f"seed{seed}/high_quality"] for seed in SEEDS]
        assert line["high_quality"] == pytest.approx(np.mean(each))
        assert line["high_quality_least"] == min(each)


def test_a_lazy_phase_stays_a_branch(group):
    """Under `vmap` a condition that differs from seed to seed would play both sides."""
    _, jaxpr = Quickly.made["make_update.<locals>.update", (3, 2, 1, 8, 2)]
    assert "cond[" in str(jaxpr)


def test_what_people_read(group):
    folder, said = group
    assert "10 steps of 8 points for 3 seeds" in said
    steps = [line for line in said.splitlines() if line.startswith(f"step {STEPS}/")]
    assert len(steps) == 1
    assert "generator" in steps[0]
    assert "seed" not in steps[0]
    for seed in SEEDS:
        assert f"step {STEPS}: seed {seed}: " in said
    pictures = sorted(path.name for path in (folder / "samples").iterdir())
    assert pictures == ["step_000005.png", "step_000010.png"]


# Killed


def test_killed_and_killed_again_while_it_is_split_it_goes_on_bit_for_bit(group, stopped):
    """After step 4, in a log interval; and when one seed had its folder and another half of it."""
    folder = stopped(4)
    save, half = Checkpoints.save, folder / "seeds/seed4/checkpoints"

    def dies(checkpoints, *args, **kwargs):
        if checkpoints._directory != half:
            return save(checkpoints, *args, **kwargs)
        (half / f"{STEPS}.orbax-checkpoint-tmp").mkdir(parents=True)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "save", dies)
        with pytest.raises(KeyboardInterrupt):
            run(folder)
    assert sorted(path.name for path in (folder / "seeds").iterdir()) == ["seed3", "seed4"]
    assert Checkpoints(folder, read_only=True).latest() == 8  # so that it isn't finished
    code, said = run(folder)
    assert code == 0, said
    assert "resumed at step 8\n" in said
    for part in ("", *(f"seeds/seed{seed}" for seed in SEEDS)):
        assert checkpoint.compare(folder / part, group[0] / part) == []
        here, there = (Checkpoints(f / part, read_only=True) for f in (folder, group[0]))
        assert here.read(STEPS)[:2] == there.read(STEPS)[:2]
    assert [path.name for path in half.iterdir()] == [str(STEPS)]
    for name in ("metrics.jsonl", "scores.jsonl"):
        assert lines(folder / name) == lines(group[0] / name)
    for path in (folder / "samples").iterdir():
        assert path.read_bytes() == (group[0] / "samples" / path.name).read_bytes()


def test_finished(group):
    before = everything(group[0])
    code, said = run(group[0])
    assert code == 0
    assert f"is finished: step {STEPS} of {STEPS}; nothing to do" in said
    assert everything(group[0]) == before


# A bad seed


def poison(monkeypatch, first):
    """Infinite points for a seed (`first`: seed -> step, from 1) from a step on."""

    class Poisoned:
        def __init__(self, stream, step):
            self.stream, self.step = stream, step

        def __next__(self):
            index = self.stream.get_state()["next_index"]
            batch = next(self.stream)
            if index < FIRST_BATCH[self.step - 1]:
                return batch
            return batch | {"image": np.full_like(batch["image"], np.inf)}

        def __getattr__(self, name):
            return getattr(self.stream, name)

    def stream(config, data, leading, **placement):
        made = points.stream(config, data, leading, **placement)
        return Poisoned(made, first[config.seed]) if config.seed in first else made

    monkeypatch.setitem(TASKS, "points", points.TASK._replace(stream=stream))


def test_a_bad_seed_stops_alone(group, stopped, monkeypatch, caplog):
    poison(monkeypatch, {4: 7})
    folder = stopped(2)
    code, said = run(folder)
    assert code == 0, said
    assert said.count("seed 4 stopped at step 7: ") == 1
    assert "the others go on" in said
    before = arrays(group[0], 6)
    for step in (8, STEPS):
        clean, found = arrays(group[0], step), arrays(folder, step)
        for name, value in found.items():
            assert np.all(np.isfinite(value)), name
            if name in ("step", "images"):
                assert np.array_equal(value, clean[name])
                continue
            assert np.array_equal(value[[0, 2]], clean[name][[0, 2]]), name
            if name.startswith(("params/", "opt/", "ema/", "stats/", "rng")):
                assert np.array_equal(value[1], before[name][1]), name
        assert found["first_bad"][:, 0].tolist() == [-1, 6, -1]
    # What is said of a group is said of those that go on.
    for name, word in (("metrics.jsonl", "generator"), ("scores.jsonl", "modes")):
        for line in lines(folder / name):
            going = SEEDS if line["step"] < 7 else (3, 5)
            assert [s for s in range(9) if f"seed{s}/{word}" in line] == list(going)
            each = [line[f"seed{s}/{word}"] for s in going]
            assert line[word] == pytest.approx(np.mean(each))
    assert sorted(path.name for path in (folder / "seeds").iterdir()) == ["seed3", "seed5"]
    for name in ("seeds/seed3", "seeds/seed5"):
        assert checkpoint.compare(folder / name, group[0] / name) == []
    panel = pictures.grid([[np.zeros((256, 256, 3), np.uint8)]], [""])
    for step, count in ((5, 3), (STEPS, 2)):
        data = (folder / f"samples/step_{step:06d}.png").read_bytes()
        width = plots.panels([("", panel)] * count).shape[1]
        assert Image.open(io.BytesIO(data)).size[0] == width


def test_when_all_are_bad_the_run_stops_and_nothing_poisoned_is_saved(stopped, monkeypatch, caplog):
    poison(monkeypatch, {3: 5, 4: 7, 5: 5})
    folder = stopped(2)
    code, said = run(folder)
    assert code == 3
    assert said.count("stopped at step 5") == 2
    assert said.count("; the others go on") == 2
    assert "infinite at step 7 of the last seed; checkpoint 6 is good and stays" in said
    assert "Traceback" not in said + caplog.text
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["2", "4", "6"]
    for name, value in arrays(folder, 6).items():
        assert np.all(np.isfinite(value)), name
    assert not (folder / "seeds").exists()


# Commands that use one run


def test_a_seeds_folder_is_a_run(group):
    state = arrays(group[0])
    for i, seed in enumerate(SEEDS):
        found = trained.open_run(str(group[0] / f"seeds/seed{seed}"), weights="raw")
        assert (found.step, found.config.seed, found.config.train.seeds) == (STEPS, seed, 1)
        for net, variables in found.weights.items():
            for path, leaf in jax.tree_util.tree_leaves_with_path(variables["params"]):
                name = jax.tree_util.keystr(path, simple=True, separator="/")
                assert np.array_equal(leaf, state[f"params/{net}/{name}"][i])


def test_a_groups_folder_is_refused_and_names_a_seeds(group, stopped):
    with pytest.raises(UserError, match=f"name the folder .*, such as {group[0]}/seeds/seed3$"):
        trained.open_run(str(group[0]))
    with pytest.raises(UserError, match="seeds/seed3, when the run is finished"):
        trained.open_run(str(stopped(4)))


def test_a_seeds_folder_is_not_the_run_of_that_seed(group):
    folder = group[0] / "seeds/seed4"
    before = everything(folder)
    code, said = run(folder, ALONE | {"seed": 4})
    assert code == 2
    assert "holds a run with another config:\n  group.seed: 3 -> absent" in said
    assert everything(folder) == before


# Mistakes


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"train.seeds": 0}, "train.seeds=0 doesn't fit: it takes 1 or more"),
        ({"devices": 2}, "train.seeds=3 train side by side on one device"),
        ({"init.workdir": "runs/other"}, "train.seeds=3 would all start from the networks of init"),
        ({"model.generator.kind": "dcgan"}, "model.generator.kind=dcgan is for images"),
        ({"model.discriminator.kind": "resnet"}, "model.discriminator.kind=resnet is for images"),
        (
            {"model.conditioning": "projection", "data.name": "swiss_roll"},
            "model.conditioning=projection needs classes, and data.name=swiss_roll has none",
        ),
        ({"data.classes": 7}, "data.classes=7, but data.name=ring has 8; leave it at 0"),
        ({"data.name": "rign"}, "did you mean 'ring'?"),
        ({"checkpoint.best": "mode"}, "checkpoint.best='mode' is no score: did you mean 'modes'?"),
    ],
)
def test_mistakes(given, message, tmp_path):
    code, said = run(tmp_path / "run", given)
    assert code == 2
    assert said.startswith("error: ")
    assert message in said
    assert not (tmp_path / "run").exists()


def test_another_number_of_seeds_is_another_run(group):
    before = everything(group[0])
    code, said = run(group[0], {"train.seeds": 2})
    assert code == 2
    assert "another config:\n  train.seeds: 3 -> 2\n" in said
    assert everything(group[0]) == before


# Speed


def test_the_benchmark_counts_the_images_of_all_seeds(capsys):
    assert benchmark.main([*arguments(), "--steps=4", "--warmup=1"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert (line["seeds"], line["batch_size"]) == (3, 8)
    assert line["images_per_second"] == pytest.approx(3 * 8 / line["seconds_per_step"])


# Points


def batches(config, count, first=0):
    stream = points.stream(config, points.open_world(config.data), (2, 1))
    stream.set_state({"next_index": first})
    made = [next(stream) for _ in range(count)]
    stream.close()
    return made


def settled(given=()):
    command = commandline.parse(arguments(given), {}, "test")
    return fields.resolve(command.config, command.overrides)


def test_points_are_a_function_of_seed_and_batch():
    config, other = settled(), settled({"seed": 4})
    five = batches(config, 5)
    assert np.array_equal(five[3]["image"], batches(config, 1, first=3)[0]["image"])
    rows = np.stack([batch["image"] for batch in (*five, *batches(other, 5))]).reshape(-1, 2)
    assert len(np.unique(rows, axis=0)) == len(rows) == 10 * 2 * 8
    shapes = points.shapes(config, (2, 1, 8))
    assert {name: (x.shape, x.dtype) for name, x in shapes.items()} == {
        name: (x.shape, x.dtype) for name, x in five[0].items()
    }
    world = worlds.WORLDS["ring"]
    centres = world.centres[five[0]["label"]]
    assert np.all(np.linalg.norm(five[0]["image"] - centres, axis=-1) < 6 * world.deviation)


def test_several_processes_are_refused():
    config = settled()
    with pytest.raises(UserError, match="by one process"):
        points.stream(config, points.open_world(config.data), (1, 1), process_count=2)


def test_points_scores_have_the_names_that_can_be_the_best(group):
    (line,) = (line for line in lines(group[0] / "scores.jsonl") if line["step"] == STEPS)
    for name in points.SCORES:
        assert name in line
        assert points.TASK.best_mode(name) == ("min" if name == "reverse_kl" else "max")
