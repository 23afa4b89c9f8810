"""The embedded task: the same sound at every rendering, programs kept apart, never half done."""

import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmark.data.clip import TaskDataError
from benchmark.data.tasks import notes


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "notes"
    notes.index(root)
    return root


def test_every_note_is_sound_and_none_is_clipped(rendered: Path) -> None:
    clips = notes.index(rendered)
    assert len(clips) == notes.TASK.n_clips == 576
    for clip in clips:
        wave, rate = soundfile.read(rendered / clip.path)
        assert (len(wave), rate) == (rate, 32000)
        assert 0.01 < np.abs(wave).max() < 0.99


def test_folds_are_balanced_and_keep_programs_apart(rendered: Path) -> None:
    clips = notes.index(rendered)
    assert set(Counter((c.label, c.split) for c in clips).values()) == {12}
    homes = defaultdict(set)
    for clip in clips:
        homes[clip.group].add(clip.split)
    assert len(homes) == 48  # near-copies come in pairs
    assert all(len(splits) == 1 for splits in homes.values())


def test_rendering_again_gives_the_same_bytes(rendered: Path, tmp_path: Path) -> None:
    for clip in notes.index(tmp_path / "again"):
        again = (tmp_path / "again" / clip.path).read_bytes()
        assert again == (rendered / clip.path).read_bytes()


def test_it_is_rendered_once(rendered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path) -> None:
        raise AssertionError("rendered again")

    monkeypatch.setattr(notes, "render", fail)
    assert len(notes.index(rendered)) == 576


def test_an_interrupted_rendering_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(folder: Path) -> None:
        (folder / "piano").mkdir(parents=True)
        raise KeyboardInterrupt

    monkeypatch.setattr(notes, "render", interrupted)
    with pytest.raises(KeyboardInterrupt):
        notes.index(tmp_path / "notes")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.lock"]


def test_of_two_first_runs_one_renders_and_both_list_what_is_there(tmp_path: Path) -> None:
    root = tmp_path / "data" / "notes"
    code = (
        "import sys; from pathlib import Path; from benchmark.data.tasks import notes\n"
        "notes.PITCHES, notes.VELOCITIES = (60,), (110,)\n"
        f"root = Path({str(root)!r})\n"
        "print(sum((root / clip.path).is_file() for clip in notes.index(root)))"
    )
    runs = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for _ in range(2)
    ]
    assert [int(run.communicate()[0]) for run in runs] == [96, 96]
    assert sorted(path.name for path in root.parent.iterdir()) == ["notes", "notes.lock"]


def test_what_lies_in_the_folder_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "diary.txt").write_text("mine")
    (tmp_path / "notes" / "version0").mkdir()
    monkeypatch.setattr(notes, "PITCHES", (60,))
    notes.index(tmp_path / "notes")
    assert (tmp_path / "notes" / "diary.txt").read_text() == "mine"
    assert sorted(path.name for path in (tmp_path / "notes").iterdir()) == [
        "diary.txt",
        "version0",
        notes.RENDERED,
    ]


def test_without_the_font_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notes.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TaskDataError, match="pip install --no-deps pretty_midi tinysoundfont"):
        notes.index(tmp_path / "notes")
