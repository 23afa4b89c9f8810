"""The examples of the pages on using the model run as they stand, in a folder with a few files."""

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from wavebyol_hear import load_model
from wavebyol_hear.__main__ import main

DOCS = Path(__file__).resolve().parents[1] / "docs"
BLOCK = re.compile(r"^```(python|bash)([^\n]*)\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
NAMES = ("dog.wav", "rain.flac", "word.ogg")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder that the pages suppose: three files and an array of their embeddings."""
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(NAMES):
        wave = 0.1 * np.random.default_rng(seed).standard_normal(30_000)
        soundfile.write(name, wave, 16_000)
    np.save("vectors.npy", load_model().embed(list(NAMES)))
    for label, hertz in (("dog", 300), ("rain", 3_000)):
        Path("sounds", label).mkdir(parents=True)
        for index in range(4):
            wave = 0.3 * np.sin(np.arange(16_000) * 2 * np.pi * hertz * (1 + index / 20) / 16_000)
            soundfile.write(f"sounds/{label}/{index}.wav", wave, 16_000)
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("page", ["python.md", "search-map.md", "classify.md"])
def test_a_page_s_examples_run(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    namespace: dict[str, Any] = {}
    ran = 0
    for language, note, code in BLOCK.findall((DOCS / page).read_text(encoding="utf-8")):
        if "no-run" in note:
            continue
        if language == "python":
            exec(compile(code, page, "exec"), namespace)
            ran += 1
        for line in code.replace("\\\n", " ").splitlines() if language == "bash" else ():
            words = shlex.split(line, comments=True)
            if words[:1] == ["wavebyol"]:
                assert main(words[1:]) == 0, line
                ran += 1
    assert ran >= 3
    if page == "search-map.md":
        first = next(line for line in capsys.readouterr().out.splitlines() if "+1.0000" in line)
        assert first.split()[2] == "dog.wav"
        assert Path("map.html").is_file()
        assert namespace["rows"][0] == 2
    elif page == "classify.md":
        assert "cross-validated accuracy: 100.0 %" in capsys.readouterr().out
        assert next(iter(namespace["model"].predict("sounds/rain/1.wav"))) == "rain"
        assert len(Path("predictions.csv").read_text(encoding="utf-8").splitlines()) == 9
    else:
        assert namespace["vectors"].shape == (2, 7104)
        assert namespace["classifier"].predict(["rain.flac"]) == ["weather"]
