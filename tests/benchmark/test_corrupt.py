"""Heads trained on clean clips are scored on corrupted ones: the right head, the right clip."""

import dataclasses
import importlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from benchmark import evaluate as evaluation
from benchmark.data import corrupt as names
from benchmark.data.clip import Clip, Source, SplitPolicy, Task
from benchmark.data.corrupt import CorruptedClips, parse
from benchmark.data.registry import TaskClips
from benchmark.data.split import make_folds
from benchmark.embed.embed import EmbeddedTask, embed_task
from benchmark.evaluate import Settings, embed, embed_corrupted, score_classes
from benchmark.finetune.protocol import no_head
from benchmark.probes.protocols import PROTOCOLS
from benchmark.probes.rows import Examples, ProbeResult, Selection
from benchmark.results.score import Probed, Subject, rescore
from tests.synth import noisy_tone
from wavebyol_hear.audio import read_audio
from wavebyol_hear.files.hear_module import load
from wavebyol_hear.files.read_ahead import Reader

RATES = (16_000, 22_050)
CLIPS = 9
RANDOM = "baselines.content_random"


def the_task(policy: SplitPolicy = "folds") -> Task:
    return Task(
        name="tones",
        title="Tones",
        classes=("low", "high"),
        split_policy=policy,
        n_clips=CLIPS,
        clip_seconds=0.1,
        licence="none",
        citation="none",
        sources=(Source("http://example.org"),),
        layout="<name>.wav",
        index=lambda root: [],
    )


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    (tmp_path / "tones").mkdir()
    listed = []
    for i in range(CLIPS):
        rate = RATES[i % 2]
        soundfile.write(tmp_path / "tones" / f"{i}.wav", noisy_tone(0.1, i, rate), rate)
        split = f"fold{i % 3 + 1}"
        listed.append(Clip(f"clip{i}", f"{i}.wav", ("low", "high")[i % 2], split, f"g{i}"))
    return listed


def embedded_clips(tmp_path: Path, clips: list[Clip], workers: int = 0, **options) -> EmbeddedTask:
    return embed_task(
        TaskClips(the_task(), clips, tmp_path / "tones"),
        load(RANDOM),
        cache_dir=tmp_path / f"cache{workers}",
        workers=workers,
        **options,
    )


def embed_clips_corrupted(
    tmp_path: Path,
    clips: list[Clip],
    embedded: EmbeddedTask,
    *names: str,
    policy: SplitPolicy = "folds",
) -> dict[str, EmbeddedTask]:
    source = TaskClips(the_task(policy), clips, tmp_path / "tones")
    settings = Settings(
        tmp_path,
        cache_dir=tmp_path / "cache0",
        workers=0,
        corruptions=tuple(parse(name) for name in names),
    )
    return embed_corrupted(source, embedded, load(RANDOM), settings)


def test_a_file_is_corrupted_at_its_own_rate_before_any_resampling(
    tmp_path: Path, clips: list[Clip]
) -> None:
    paths = [str(tmp_path / "tones" / clip.path) for clip in clips]
    ids = [clip.clip_id for clip in clips]
    corruption = parse("noise:0")
    own = corruption(read_audio(paths[1], 22_050), 22_050, "clip1")
    for rate in (16_000, 22_050, 48_000):
        actual = Reader(paths, rate, CorruptedClips(corruption, ids)).read(1)
        expected = soxr.resample(own, 22_050, rate, quality="HQ") if rate != 22_050 else own
        np.testing.assert_array_equal(actual, expected)
    absent = Reader(["/no/such.wav"], 16_000, CorruptedClips(corruption, ["x"])).read(0)
    assert "no such file" in absent


def test_workers_change_nothing_and_the_cache_is_kept_apart(
    tmp_path: Path, clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    clean = embedded_clips(tmp_path, clips)
    loud, louder = (
        embedded_clips(tmp_path, clips, corruption=parse(n)) for n in ("noise:0", "noise:-5")
    )
    assert len({tuple(e.embeddings[0]) for e in (clean, loud, louder)}) == 3
    beside = embedded_clips(tmp_path, clips, workers=1, corruption=parse("noise:0"))
    np.testing.assert_array_equal(beside.embeddings, loud.embeddings)
    again = embedded_clips(tmp_path, clips, corruption=parse("noise:0"))
    assert again.encoder_calls == 0
    assert embedded_clips(tmp_path, clips).encoder_calls == 0
    # Other ids are other seeds; other code may corrupt otherwise.
    renamed = [Clip(f"x{c.clip_id}", c.path, c.label, c.split, c.group) for c in clips]
    other = embedded_clips(tmp_path, renamed, corruption=parse("noise:0"))
    assert other.encoder_calls > 0
    assert (other.embeddings[0] != loud.embeddings[0]).any()
    changed = tmp_path / "code"
    changed.mkdir()
    (changed / "corrupt.py").write_text("# another version")
    monkeypatch.setattr(names, "__file__", str(changed / "corrupt.py"))
    assert embedded_clips(tmp_path, clips, corruption=parse("noise:0")).encoder_calls > 0


def test_only_test_clips_with_a_clean_embedding_are_corrupted(
    tmp_path: Path, clips: list[Clip]
) -> None:
    fixed = [
        Clip(c.clip_id, c.path, c.label, ("train", "valid", "test")[i % 3], c.group)
        for i, c in enumerate(clips)
    ]
    embedded = embedded_clips(tmp_path, fixed[:-1])
    output = embed_clips_corrupted(tmp_path, fixed, embedded, "clip", "reverb", policy="fixed")
    assert list(output) == ["clip:10", "reverb:0.8"]
    assert output["clip:10"].clip_ids.tolist() == ["clip2", "clip5"]
    assert set(embed_clips_corrupted(tmp_path, clips, embedded, "clip")["clip:10"].clip_ids) == {
        f"clip{i}" for i in range(8)
    }


def test_each_clip_gets_the_head_of_the_fold_that_tests_it(
    tmp_path: Path, clips: list[Clip]
) -> None:
    embedded = embedded_clips(tmp_path, clips)
    folds = make_folds("folds", embedded.splits, embedded.groups)
    asked: dict[int, np.ndarray] = {}

    def predict(number: int, embeddings: np.ndarray) -> np.ndarray:
        asked[number] = embeddings
        return np.full(len(embeddings), number % 2)

    rows = np.arange(CLIPS)
    right = ProbeResult(rows, embedded.labels, (Selection(1.0, ()),) * 3, True, predict)
    data = Examples(embedded.embeddings, embedded.labels, folds, 2)
    probed = Probed(embedded, data, PROTOCOLS["linear"], right, (right.predicted,), 0.0)
    others = clips[::-1][:-1]  # another order, clip0 left out
    corrupted = embed_clips_corrupted(tmp_path, others, embedded, "clip")
    output = rescore(probed, corrupted)["clip:10"]
    by_id = dict(zip(corrupted["clip:10"].clip_ids, corrupted["clip:10"].embeddings, strict=True))
    for number, fold in enumerate(folds):
        wanted = [by_id[c] for c in embedded.clip_ids[fold.test] if c != "clip0"]
        np.testing.assert_array_equal(asked[number], np.stack(wanted))
    given = np.array([i % 3 % 2 for i in range(1, CLIPS)])
    accuracy = 100 * np.mean(given == embedded.labels[1:])
    assert output["n_clips"] == CLIPS - 1
    assert output["metrics"]["accuracy"]["value"] == pytest.approx(accuracy)
    difference = output["difference"]
    assert difference["value"] == pytest.approx(accuracy - 100)  # clean, all were right
    assert difference["low"] <= difference["value"] <= difference["high"]
    assert difference["high"] <= 0 < difference["p"] <= 1


def test_heads_of_real_protocols_lose_nothing_where_nothing_is_spoilt(
    tmp_path: Path, clips: list[Clip]
) -> None:
    embedded = embedded_clips(tmp_path, clips)
    folds = make_folds("folds", embedded.splits, embedded.groups)
    for name in ("linear", "knn", "mlp"):
        protocol = PROTOCOLS[name]
        data = Examples(embedded.embeddings, embedded.labels, folds, 2)
        outcome = protocol.evaluate(data)
        probed = Probed(embedded, data, protocol, outcome, (outcome.predicted,), 0.0)
        output = rescore(probed, {"same": embedded})["same"]
        assert output["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0, "p": 1.0}


def test_a_protocol_without_heads_for_embeddings_says_so_and_keeps_its_score(
    tmp_path: Path, clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded = embedded_clips(tmp_path, clips)
    corrupted = embed_clips_corrupted(tmp_path, clips, embedded, "clip")
    linear = PROTOCOLS["linear"]

    def evaluate(*given, **more) -> ProbeResult:
        return dataclasses.replace(linear.evaluate(*given, **more), predict=no_head)

    headless = dataclasses.replace(PROTOCOLS["finetune"], evaluate=evaluate, random=False)
    monkeypatch.setattr(evaluation, "Finetune", lambda *given: evaluate)
    settings = Settings(tmp_path / "out", cache_dir=tmp_path / "cache0", device="cpu")
    source = TaskClips(the_task(), clips, tmp_path / "tones")
    subject = Subject(source, RANDOM, embedded, corrupted=corrupted)
    results = [score_classes(one, settings, subject) for one in (linear, headless)]
    assert [list(result.corrupted) for result in results] == [["clip:10"], []]
    assert [note for note in results[0].notes if "intervals are rough" not in note] == []
    assert any("no corrupted clips" in note for note in results[1].notes)


def test_clean_and_spoilt_clips_are_embedded_by_one_loaded_model(
    tmp_path: Path, clips: list[Clip], write_module
) -> None:
    counting = (
        "loads = 0\nplain = load_model\ndef load_model():\n    global loads\n    loads += 1\n"
    )
    spec = write_module("counting", f"{counting}    return plain()")
    both = (parse("clip"), parse("noise:0"))
    settings = Settings(tmp_path, cache_dir=tmp_path / "cache", device="cpu", corruptions=both)
    subject = embed(TaskClips(the_task(), clips, tmp_path / "tones"), spec, settings)
    assert list(subject.corrupted) == ["clip:10", "noise:0"]
    assert importlib.import_module(spec).loads == 1
