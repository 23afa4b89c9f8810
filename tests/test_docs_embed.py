"""The commands of docs/embed.md run as they stand, in a folder with a few files."""

import io
import re
import shlex
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from wavebyol_hear.__main__ import main

pa = pytest.importorskip("pyarrow")
import pyarrow.parquet as pq  # noqa: E402

PAGE = Path(__file__).resolve().parents[1] / "docs" / "embed.md"
BLOCK = re.compile(r"^```(python|bash)([^\n]*)\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
NAMES = ("dog.wav", "rain.flac", "word.ogg")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder that the page supposes: sounds, a table of them, shards, a dataset."""
    monkeypatch.chdir(tmp_path)
    Path("sounds").mkdir()
    Path("shards").mkdir()
    for seed, name in enumerate(NAMES):
        wave = 0.1 * np.random.default_rng(seed).standard_normal(24_000)
        soundfile.write(f"sounds/{name}", wave, 16_000)
    Path("files.csv").write_text("path,label\n" + "".join(f"sounds/{n},x\n" for n in NAMES))
    for number in range(2):
        with tarfile.open(f"shards/00{number}.tar", "w") as archive:
            archive.add("sounds/dog.wav", f"{number}.wav")
            archive.addfile(tarfile.TarInfo(f"{number}.json"), io.BytesIO())
    rows = [{"bytes": Path("sounds", name).read_bytes(), "path": name} for name in NAMES]
    pq.write_table(pa.table({"audio": rows}), "train.parquet")
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_the_pages_commands_run(capsys: pytest.CaptureFixture[str]) -> None:
    namespace: dict[str, Any] = {}
    for language, note, code in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        if "no-run" in note:
            continue
        if language == "python":
            exec(compile(code, str(PAGE), "exec"), namespace)
            continue
        for line in code.splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["wavebyol"]:
                assert main(words[1:]) == 0, line
            elif words[:1] != ["pip"]:
                subprocess.run(["bash", "-c", line], check=True)
    assert "sounds/dog.wav (3, 7104)" in capsys.readouterr().out
    load = namespace["load"]
    rows = {
        path.name: len(load(path)[1])
        for path in Path().iterdir()
        if (path / "manifest.json").exists()
    }
    expected = {"vectors": 3, "some": 2, "listed": 3, "sharded": 2, "tabled": 3, "windows": 6}
    assert {name: rows[name] for name in expected} == expected
    assert rows["instants"] == 3 * 37
