"""Every command in the documents is one that its program takes: flags, fields, presets, values."""

import ast
import re
import shlex
from pathlib import Path

import pytest

from jaxgan import (
    ablate,
    benchmark,
    commandline,
    convert,
    cost,
    evaluate,
    fields,
    report,
    sample,
    translate,
)
from jaxgan.data import prepare

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
CONFIGS = sorted([*(ROOT / "configs").glob("*.py"), *(ROOT / "studies").glob("*.py")])
PROGRAM = re.compile(
    r"python -m jaxgan\.([\w.]+)|launch/(local|slurm|tpu_vm)\.sh(?! NAME ZONE --commands)"
)


def commands(path: Path) -> list[str]:
    """Of code blocks, of inline code, and of a config's docstring."""
    text = path.read_text()
    if path.suffix == ".py":
        text = ast.get_docstring(ast.parse(text), clean=False)
        blocks = re.findall(r"^ {4}(.*(?:\n {8}.*)*)", text, re.M)
    else:
        blocks = re.findall(r"```\w*\n(.*?)```", text, re.S)
        rest = re.sub(r"```.*?```", "", text, flags=re.S)
        blocks += [code.replace("\n", " ") for code in re.findall(r"`([^`]+)`", rest)]
    joined = [block.replace("\\\n", " ") for block in blocks]
    lines = [line for block in joined for line in block.splitlines()]
    return [line for line in lines if PROGRAM.search(line)]


ALL = [(path, line) for path in (*PAGES, *CONFIGS) for line in commands(path)]


@pytest.mark.parametrize(
    ("path", "line"), ALL, ids=[f"{path.name}-{i}" for i, (path, _) in enumerate(ALL)]
)
def test_a_command_is_taken(path, line, monkeypatch):
    monkeypatch.chdir(ROOT)
    found = PROGRAM.search(line)
    program = found[1] or f"launch/{found[2]}"
    text = re.sub(r"\s(?:#|2?>|\|\||&&|\|).*", "", line[found.end() :].split(";")[0])
    words = shlex.split(text.replace("$seed", "1").replace("...", ""))
    if not words or "--help" in words:  # a name in a sentence
        return
    if program.startswith("launch"):
        before = {"launch/local": 1, "launch": 1, "launch/tpu_vm": 2}.get(program, 0)
        counted = before == 1 and words[0] != "N"
        assert not counted or words[0].isdecimal()
        program, words = "main", words[before:]
    if program == "translate":
        commandline.parse_flags(words, translate.FLAGS)
    elif program == "evaluate":
        evaluate.parsed(words)
    elif program == "ablate":
        commandline.parse_flags(words, ablate.FLAGS)
    elif program == "cost":
        command = commandline.parse(words, cost.FLAGS, "test")
        fields.resolve(command.config, command.overrides)
    elif program == "report":
        report.parsed(words)
    elif program == "sample":
        commandline.parse_flags(words, sample.FLAGS)
    elif program == "data.prepare":
        assert commandline.parse_flags(words, prepare.FLAGS, "name")["name"]
    elif program == "convert":
        config = f"--config={convert.CONFIG}"
        given = [] if any(word.startswith("--config=") for word in words) else [config]
        commandline.parse([*given, *words], convert.FLAGS, "test")
    else:
        flags = {"workdir": "", "distributed": False}
        flags |= benchmark.FLAGS if program == "benchmark" else {}
        if not any(word.startswith("--config=") for word in words):
            return  # a part of a command, in a sentence
        command = commandline.parse(words, flags, "test")
        fields.resolve(command.config, command.overrides)


def test_there_are_commands():
    assert len(ALL) > 40
    assert {path.name for path, _ in ALL} >= {"README.md", "questions.md", "devices.md", "data.md"}
