"""The worked example of docs/architecture.md, run as it stands there."""

import re
import shlex
import sys
from pathlib import Path

from jaxgan import records
from jaxgan.main import main

ROOT = Path(__file__).parent.parent
DOCUMENT = (ROOT / "docs" / "architecture.md").read_text()


def test_worked_example(tmp_path, monkeypatch, capsys):
    file, code = re.search(r"<!-- file: (\S+) -->\n```python\n(.*?)```", DOCUMENT, re.S).groups()
    (command,) = re.findall(r"<!-- command -->\n```\n(.*?)```", DOCUMENT, re.S)
    (tmp_path / file).write_text(code)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    words = shlex.split(command.replace("\\\n", " "))
    assert words[:3] == ["python", "-m", "jaxgan.main"]
    assert main(words[3:]) == 0, capsys.readouterr().err
    sys.modules.pop("my_gan")
    last = records.read(tmp_path / "runs" / "my_gan" / "metrics.jsonl")[-1]
    assert last["step"] == 4
    assert {"discriminator", "generator"} <= set(last)
    assert list((tmp_path / "runs" / "my_gan" / "samples").glob("*.png"))
