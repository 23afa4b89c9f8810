"""What one step passes to the next: keys, flags, notes, seeds, devices, and who fails alone."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from benchmark import evaluate as module
from benchmark import run
from benchmark.data.clip import Clip, Task
from benchmark.data.corrupt import parse
from benchmark.data.hear_folder import hear_source, read_task
from benchmark.data.registry import TaskClips
from benchmark.embed import events as frames
from benchmark.embed.embed import EmbeddedTask, embed_task
from benchmark.embed.events import embed_events
from benchmark.evaluate import Settings, embed, embed_corrupted, evaluate, scorers
from benchmark.heareval import frames as hear_frames
from benchmark.heareval import heareval_format
from benchmark.heareval import multilabel as hear_multilabel
from benchmark.heareval.heareval_format import heareval_folder
from benchmark.heareval.predict import Predicted
from benchmark.probes.protocols import PROTOCOLS
from benchmark.probes.rows import Examples, ProbeResult
from benchmark.results.failures import read_failures
from benchmark.results.schema import Result, ResultKey, read_results
from tests.benchmark.data.test_hear_folder import EVENTS, small, write
from tests.benchmark.tones import RANDOM, TASK, write_tones
from wavebyol_hear.files.hear_module import HearModel, load

KEYS = [
    ("precision", "precision", "bf16"),
    ("sample_rate", "rate", 22050),
    ("device", "device", SimpleNamespace(type="cuda")),
    ("weights_hash", "weights", "other"),
    ("spec", "model", "other.module"),
]
"""Of a model: an attribute that embeddings depend on, what it is, and another value of it."""


def listed(folder: Path, labels: str = "single") -> TaskClips:
    """The tones as a task that lists them, one of which is absent."""
    clips = write_tones(folder)
    task = dataclasses.replace(TASK, index=lambda root: clips, folder=folder.name)
    return TaskClips(task, clips, folder)


def settings(tmp_path: Path, **more: Any) -> Settings:
    defaults: dict[str, Any] = {"data_dir": tmp_path, "cache_dir": tmp_path / "cache", "workers": 0}
    return Settings(tmp_path / "out", **(defaults | more))


def changed(model: HearModel, name: str, value: object) -> Any:
    """A loaded model that says another value of one attribute."""
    names = "spec model device weights_hash sample_rate size timestamp_size precision timestamps"
    kept = {each: getattr(model, each) for each in names.split()}
    return SimpleNamespace(**(kept | {name: value}), pads_scenes_to=0)


@pytest.mark.parametrize(("attribute", "what", "value"), KEYS)
def test_heareval_works_in_a_folder_of_its_own_for_all_its_scores_depend_on(
    tmp_path: Path, write_module: Callable[..., str], attribute: str, what: str, value: object
) -> None:
    hear = read_task(write(tmp_path / "beeps-1.0-small", small(), rate=16000))
    model = load(write_module("tiny"))
    made: Any = SimpleNamespace(data_hash="d", embeddings=np.zeros((3, 2), np.float32))
    first = heareval_folder(hear, model, made, tmp_path)
    other = changed(model, attribute, value)
    assert heareval_folder(hear, model, made, tmp_path) == first
    assert heareval_folder(hear, other, made, tmp_path) != first
    for changes in ({"data_hash": "other"}, {"embeddings": np.ones((3, 2), np.float32)}):
        made_otherwise: Any = SimpleNamespace(**vars(made) | changes)
        assert heareval_folder(hear, model, made_otherwise, tmp_path) != first
    metadata = hear.folder / "task_metadata.json"
    metadata.write_text(metadata.read_text().replace("top1_acc", "mAP"))
    assert heareval_folder(hear, model, made, tmp_path) != first


@pytest.mark.parametrize(("attribute", "what", "value"), KEYS)
def test_frames_are_kept_apart_by_all_they_depend_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    write_module: Callable[..., str],
    attribute: str,
    what: str,
    value: object,
) -> None:
    monkeypatch.setattr(frames, "check_spacing", lambda *given: [])  # of 16 kHz
    event = {"label": "low", "start": 1, "end": 200}
    clips = {key: {"a.wav": [event]} for key in ("train", "valid", "test")}
    folder = write(tmp_path / "beeps-1.0-small", clips, rate=16000, **EVENTS)
    task = dataclasses.replace(hear_source(read_task(folder)), name="beeps")
    source = TaskClips(task, task.index(folder), folder / "16000")
    model = load(write_module("tiny"))

    def made(which: Any) -> Path:
        return embed_events(source, which, cache_dir=tmp_path / "c", workers=0).folder

    first = made(model)
    assert made(model) == first
    assert made(changed(model, attribute, value)) != first


def test_corrupted_clips_have_their_own_embeddings_and_those_are_scored(
    tmp_path: Path, write_module: Callable[..., str]
) -> None:
    source, model = listed(tmp_path / "tones"), load(write_module("tiny"))
    options = settings(tmp_path, corruptions=(parse("clip:90"), parse("noise:0")))
    subject = embed(source, "tiny", options)
    clean = subject.embedded
    assert isinstance(clean, EmbeddedTask)
    for name, corrupted in subject.corrupted.items():
        wanted = embed_task(
            *(source, model),
            cache_dir=tmp_path / "other",
            workers=0,
            corruption=parse(name),
        )
        assert isinstance(corrupted, EmbeddedTask)
        np.testing.assert_allclose(corrupted.embeddings, wanted.embeddings, rtol=1e-6)
        assert np.abs(corrupted.embeddings - clean.embeddings).max() > 1e-3
    # Where every corrupted clip looks like one of class 1, so it is scored.
    like = clean.embeddings[clean.labels == 1][:1].repeat(len(clean.labels), axis=0)
    fake = dataclasses.replace(subject.corrupted["clip:90"], embeddings=like)
    subject = dataclasses.replace(subject, corrupted={"clip:90": fake})
    (score,) = scorers(source.task, options).values()
    result = score(subject)
    share = result.corrupted["clip:90"]["metrics"]["accuracy"]["value"]
    assert share == pytest.approx(50.0, abs=17.0)
    assert result.corrupted["clip:90"]["n_clips"] == 12


def test_only_tested_clips_are_corrupted(tmp_path: Path) -> None:
    source, model = listed(tmp_path / "tones"), load(RANDOM)
    parts = ("train", "valid", "test")
    clips = [dataclasses.replace(c, split=parts[i % 3]) for i, c in enumerate(source.clips)]
    fixed = dataclasses.replace(source.task, split_policy="fixed")
    source = dataclasses.replace(source, task=fixed, clips=clips)
    options = settings(tmp_path, corruptions=(parse("clip"),))
    some = TaskClips(fixed, clips[:-1], source.root)
    clean = embed_task(some, model, cache_dir=tmp_path / "cache", workers=0)
    (corrupted,) = embed_corrupted(source, clean, model, options).values()
    assert corrupted.clip_ids.tolist() == [f"clip{i}" for i in (2, 5, 8)]


def test_flags_notes_seeds_and_device_reach_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_module: Callable[..., str]
) -> None:
    more = "import warnings\nplain = load_model\n"
    more += "def load_model():\n    warnings.warn('this is UNTRAINED')\n    return plain()\n"
    spec = write_module("raw", more)
    source = listed(tmp_path / "tones")
    absent = Clip("gone", "gone.wav", "low", "fold01", "g9")
    task = dataclasses.replace(
        source.task,
        index=lambda root: [*source.clips, absent],
        n_clips=100,
        note="a note",
        convention=lambda root: f"a convention of {root.name}",
    )
    seen: list[tuple[str, int]] = []
    real = PROTOCOLS["mlp"]

    def watched(data: Examples, *, device: str = "cpu", seed: int = 0) -> ProbeResult:
        seen.append((device, seed))
        return real.evaluate(data, device="cpu", seed=seed)

    monkeypatch.setitem(PROTOCOLS, "mlp", dataclasses.replace(real, evaluate=watched))
    options = settings(tmp_path, device="cpu:0", protocols=("mlp",), seeds=2, allow_partial=True)
    (result,), failures = evaluate([task], [spec], options)
    assert failures == {}
    assert seen == [("cpu:0", 0), ("cpu:0", 1)]
    assert result.seeds is not None
    assert result.seeds["count"] == 2
    assert result.provenance["machine"]["device"] == "cpu:0"
    assert result.partial is not None
    assert "13 of 100 clips are listed" in result.partial
    assert "1 of 13 listed files are absent" in result.partial
    assert (result.n_listed, result.n_clips) == (13, 12)
    assert [bad["clip"] for bad in result.bad_clips] == ["gone"]
    assert result.untrained
    assert result.notes[:2] == ["tones: a note", "tones: a convention of tones"]
    assert "this is UNTRAINED" in result.notes
    assert read_results(options.out) == [result]
    refused, failures = evaluate([task], [spec], dataclasses.replace(options, allow_partial=False))
    assert refused == []
    assert "--allow-partial" in failures["tones", spec, "mlp-1"]
    assert read_failures(options.out) == failures
    evaluate([task], [spec], options)
    assert read_failures(options.out) == {}


def test_the_command_hands_on_what_was_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, ...]] = []

    def record(*args: Any) -> tuple[list[Result], dict[ResultKey, str]]:
        asked.append(args)
        return [], {}

    monkeypatch.setattr(module, "evaluate", record)
    words = ["--tasks", "esc50", "--models", f"{RANDOM},wavebyol_hear?whiten=false"]
    words += ["--protocol", "knn,mlp", "--seeds", "3", "--corrupt", "noise:5", "--device", "cpu:0"]
    words += ["--workers", "0", "--allow-partial", "--hear-grid", "fast", "--hear-linear"]
    words += ["--precision", "bf16", "--data-dir", "~/d", "--cache-dir", "~/c", "--out", "~/o"]
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run.main(words) == 0
    ((tasks, models, given, absent, _),) = asked
    assert [task.name for task in tasks] == ["esc50"]
    assert models == [RANDOM, "wavebyol_hear?whiten=false"]
    assert absent == {}
    wanted = Settings(
        out=tmp_path / "o",
        data_dir=tmp_path / "d",
        cache_dir=tmp_path / "c",
        device="cpu:0",
        workers=0,
        allow_partial=True,
        protocols=("knn", "mlp"),
        seeds=3,
        corruptions=(parse("noise:5"),),
        precision="bf16",
        hear_grid="fast",
        hear_linear=True,
    )
    for each in dataclasses.fields(Settings):
        if each.name != "corruptions":
            assert getattr(given, each.name) == getattr(wanted, each.name), each.name
    assert [corruption.name for corruption in given.corruptions] == ["noise:5"]


def test_protocol_names_are_those_there_are() -> None:
    assert tuple(PROTOCOLS) == run.PROTOCOL_NAMES


def test_precision_is_fp32_unless_asked_and_another_is_noted(
    tmp_path: Path, write_module: Callable[..., str]
) -> None:
    more = "plain = load_model\ndef load_model(path='', precision='auto'):\n"
    more += "    model = plain(path)\n    model.precision = precision\n    return model\n"
    spec = write_module("exact", more)
    source = listed(tmp_path / "tones")
    subject = embed(source, spec, settings(tmp_path))
    assert subject.embedded.precision == "fp32"
    assert not any("computed in" in note for note in subject.notes)
    other = embed(source, spec, settings(tmp_path, precision="bf16"))
    assert other.embedded.precision == "bf16"
    assert other.embedded.encoder_calls > 0
    assert f"tones, {spec}: computed in bf16" in other.notes


@pytest.mark.parametrize(
    ("kind", "protocol"),
    [("multilabel", "multilabel-2"), ("event", "frames-1"), ("multiclass", "linear-1")],
)
def test_device_notes_grid_and_folder_reach_every_protocol_of_a_hear_task(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    write_module: Callable[..., str],
    kind: str,
    protocol: str,
) -> None:
    event = {"label": "low", "start": 1, "end": 200}
    contents = {
        "multilabel": {
            f"{i}.wav": [["low"], ["low", "high"], [], ["high"]][i % 4] for i in range(24)
        },
        "event": {"a.wav": [event], "b.wav": [event | {"label": "high"}]},
        "multiclass": {"a.wav": ["low"], "b.wav": ["high"]},
    }
    changes: dict[str, Any] = EVENTS if kind == "event" else {"prediction_type": kind}
    if kind == "event":
        changes = changes | {"evaluation": ["event_onset_200ms_fms"]}
    if kind == "multilabel":
        changes = changes | {"evaluation": ["mAP"]}
    clips = dict.fromkeys(("train", "valid", "test"), contents[kind])
    folder = write(tmp_path / "beeps-1.0-full", clips, rate=16000, **changes)
    asked: list[tuple[Any, ...]] = []

    def predict(*given: Any) -> Predicted:
        asked.append(given)
        metric = read_task(folder).metrics[0]
        return Predicted({"test": {metric: 0.5}}, {"lr": 0.1}, 7.0)

    devices: list[str] = []
    place = {
        "multilabel": (hear_multilabel, "select_and_predict"),
        "event": (hear_frames, "probe_frames"),
        "multiclass": (module, "probe"),
    }[kind]
    real = getattr(*place)

    def watched(*given: Any, device: str, **more: Any) -> Any:
        devices.append(device)
        return real(*given, device="cpu", **more)

    monkeypatch.setattr(*place, watched)
    padded: list[bool] = []

    def embedded(*given: Any, pad_short: bool, **more: Any) -> Any:
        padded.append(pad_short)
        return embed_task(*given, pad_short=pad_short, **more)

    monkeypatch.setattr(module, "embed_task", embedded)
    monkeypatch.setattr(heareval_format, "predict", predict)
    more = "import warnings\nplain = load_model\n"
    more += "def load_model():\n    warnings.warn('this is UNTRAINED')\n    return plain()\n"
    spec = write_module("raw", more)
    options = settings(tmp_path, device="cpu:0", hear_grid="fast", hear_points=3, hear_linear=True)
    results, failures = evaluate([folder], [spec], options)
    assert failures == {}
    assert [result.protocol for result in results] == [protocol, "heareval-2021.1.3-fast-3-points"]
    ((where, *rest),) = asked
    assert rest == ["fast", 3, "cpu:0"]
    assert (where / "train.embeddings.npy").is_file()
    assert set(devices) == {"cpu:0"}
    assert padded == ([] if kind == "event" else [True])  # short clips share batches
    for result in results:
        assert result.untrained
        assert "this is UNTRAINED" in result.notes
        assert result.task == "beeps-1.0-full"
    assert results[1].provenance["settings"] == {"lr": 0.1}


FOREIGN = {
    "exits": "import sys\nsys.exit(0)",
    "exits_late": "def load_model(path=''):\n    raise SystemExit('no checkpoint')",
    "dtype": "torch.set_default_dtype(torch.float64)",
    "gradients": "torch.set_grad_enabled(False)",
    "deterministic": "torch.use_deterministic_algorithms(True)",
}


@pytest.mark.parametrize("fault", FOREIGN)
def test_a_foreign_model_costs_itself_only(
    tmp_path: Path, write_module: Callable[..., str], fault: str
) -> None:
    spec, good = write_module("foreign", FOREIGN[fault]), write_module("good")
    source = listed(tmp_path / "tones")
    task: Task = dataclasses.replace(source.task, n_clips=12)
    options = settings(tmp_path, protocols=("linear", "mlp"))
    results, failures = evaluate([task], [spec, good], options)
    assert {(r.model, r.protocol) for r in results} >= {(good, "linear-1"), (good, "mlp-1")}
    assert {model for _, model, _ in failures} <= {spec}
    assert bool(failures) == fault.startswith("exits")
    assert all("SystemExit" in why for why in failures.values())
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_task_whose_listing_breaks_costs_itself_only(tmp_path: Path) -> None:
    def broken(root: Path) -> list[Clip]:
        raise UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "invalid")

    good = dataclasses.replace(listed(tmp_path / "tones").task, n_clips=12)
    bad = dataclasses.replace(good, name="broken", index=broken)
    results, failures = evaluate([bad, good], [RANDOM], settings(tmp_path))
    assert [result.task for result in results] == ["tones"]
    ((task, _, _),) = failures
    assert task == "broken"
    assert "UnicodeDecodeError" in next(iter(failures.values()))


def test_clips_that_cannot_be_used_make_a_task_partial(tmp_path: Path) -> None:
    task = dataclasses.replace(listed(tmp_path / "tones").task, n_clips=12)
    for number in (3, 7):  # there, so that no listing shows it
        (tmp_path / "tones" / f"{number}.wav").write_bytes(b"no audio")
    options = settings(tmp_path)
    results, failures = evaluate([task], [RANDOM], options)
    assert results == []
    why = failures["tones", RANDOM, "linear-1"]
    assert "2 of 12 clips cannot be used, the first: " in why
    assert "3.wav" in why
    assert "--allow-partial" in why
    (result,), failures = evaluate(
        [task], [RANDOM], dataclasses.replace(options, allow_partial=True)
    )
    assert failures == {}
    assert result.partial is not None
    assert result.partial.startswith("2 of 12 clips cannot be used")
    assert (result.n_listed, result.n_clips) == (12, 10)
    lacking = dataclasses.replace(task, n_clips=13)
    more = dataclasses.replace(options, allow_partial=True, out=tmp_path / "more")
    (result,), _ = evaluate([lacking], [RANDOM], more)
    assert result.partial is not None
    assert result.partial.startswith("12 of 13 clips are listed; 2 of 12 clips cannot be used")


def test_one_clip_in_a_hundred_may_be_unusable(tmp_path: Path) -> None:
    source, options = listed(tmp_path / "tones"), settings(tmp_path, allow_partial=True)
    embedded = embed(source, RANDOM, options).embedded
    assert isinstance(embedded, EmbeddedTask)
    source = dataclasses.replace(source, clips=source.clips[:10] * 20)
    for lost, partial in ((2, None), (3, "3 of 200 clips cannot be used, the first: why")):
        with_errors = dataclasses.replace(embedded, errors=(("a", "why"),) * lost)
        assert module._with_loss(source, with_errors, options) == partial
