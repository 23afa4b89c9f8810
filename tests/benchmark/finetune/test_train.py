"""Fine-tuning: it learns, from training clips alone, chooses on validation, and survives a kill."""

import dataclasses
import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import soundfile
import torch

from benchmark.data.split import Fold
from benchmark.finetune.config import FinetuneConfig
from benchmark.finetune.model import (
    ClipScores,
    FinetuneError,
    NoGradientError,
    Setup,
    check_trainable,
    copy_state,
)
from benchmark.finetune.protocol import tune_fold
from benchmark.finetune.train import FoldState, Trainer
from benchmark.probes.protocols import select_c
from benchmark.probes.rows import Rows
from wavebyol_hear.files.hear_module import HearModel, load
from wavebyol_hear.files.read_ahead import Reader

NETWORK = """
class Network(Model):
    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = torch.nn.Sequential(
                torch.nn.Linear(65, 16), torch.nn.BatchNorm1d(16), torch.nn.ReLU(),
                torch.nn.Dropout(0.2), torch.nn.Linear(16, 3),
            )

def load_model(model_file_path=""):
    return Network().eval()

def get_scene_embeddings(audio, model):
    with torch.set_grad_enabled(model.training and torch.is_grad_enabled()):
        window = torch.hann_window(128)
        spectrum = torch.stft(audio, 128, window=window, return_complex=True).abs().mean(2)
        bands = spectrum.log()
        return model.layers(bands - bands.mean(1, keepdim=True))
"""
PITCHES = (500.0, 1000.0, 1500.0, 2000.0, 2500.0, 3000.0)
CONFIG = FinetuneConfig(
    learning_rates=(1e-3, 3e-3), head_learning_rate=1e-2, epochs=8, batch_size=16, crop_seconds=0.1
)
FOLD = Fold("test", np.arange(0, 96), np.arange(96, 144), np.arange(144, 192))


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Paths of 192 tones in noise of six pitches and three lengths; row i is of class i % 6."""
    folder = tmp_path_factory.mktemp("tones")
    random = np.random.default_rng(0)
    paths = []
    for i in range(192):
        time = np.arange(1600 + 400 * (i % 3)) / 16000
        tone = 0.03 * np.sin(2 * np.pi * (PITCHES[i % 6] * time + random.uniform()))
        paths.append(str(folder / f"{i}.wav"))
        soundfile.write(paths[-1], tone + 0.1 * random.standard_normal(len(time)), 16000)
    return paths


@pytest.fixture
def setup(tones: list[str], write_module: Callable[..., str]) -> Setup:
    hear = load(write_module("network", NETWORK))
    labels = np.arange(192) % 6
    return Setup(hear, copy_state(hear.model), tones, labels, 6, 0, "tones", CONFIG, 1600, 0)


def accuracy(state: FoldState, setup: Setup) -> float:
    return 100 * float(np.mean(np.array(state.predicted) == setup.labels[FOLD.test]))


def tune(setup: Setup, path: Path) -> FoldState:
    """Fine-tune from the module's embeddings; those of test clips are NaN, as none may be read."""
    setup.hear.model.eval().load_state_dict(setup.initial)
    embeddings = np.full((192, 3), np.nan, dtype=np.float32)
    reader = Reader(setup.paths, 16000)
    for row in FOLD.development.tolist():
        wave = reader.read(row)
        assert isinstance(wave, np.ndarray), wave
        embeddings[row] = setup.hear.scenes(wave[None])
    return tune_fold(setup, embeddings, FOLD, path)


def untouched(setup: Setup) -> Setup:
    return dataclasses.replace(setup, config=dataclasses.replace(setup.config, epochs=0))


@pytest.mark.parametrize(("head", "head_rate"), [("probe", 1e-2), ("zero", 0.1)])
def test_training_beats_the_initial_state(
    setup: Setup, tmp_path: Path, head: Literal["probe", "zero"], head_rate: float
) -> None:
    config = dataclasses.replace(CONFIG, head=head, head_learning_rate=head_rate)
    setup = dataclasses.replace(setup, config=config)
    initial = tune(untouched(setup), tmp_path / "0.pt")
    state = tune(setup, tmp_path / "1.pt")
    assert len(state.predicted) == len(FOLD.test)
    assert accuracy(state, setup) > accuracy(initial, setup) + 15
    assert [each.rate for each in state.attempts] == [1e-3, 3e-3]
    points = [point for each in state.attempts for point in each.curve]
    assert state.best.accuracy == max(point["accuracy"] for point in points)


def test_every_rate_begins_at_the_initial_state(setup: Setup, tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, epochs=2)
    both = tune(dataclasses.replace(setup, config=config), tmp_path / "0.pt")
    config = dataclasses.replace(config, learning_rates=CONFIG.learning_rates[1:])
    one = tune(dataclasses.replace(setup, config=config), tmp_path / "1.pt")
    assert one.attempts == both.attempts[1:]


def test_shuffled_training_labels_score_at_chance(setup: Setup, tmp_path: Path) -> None:
    labels = setup.labels.copy()
    labels[:144] = np.random.default_rng(1).permutation(labels[:144])
    wrong = dataclasses.replace(setup, labels=labels)
    state = tune(wrong, tmp_path / "0.pt")
    assert accuracy(state, wrong) < 100 / 6 + 3 * 100 * np.sqrt(1 / 6 * 5 / 6 / 48)


def test_no_test_clip_is_read_before_the_choice(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Reader.read

    def refuse(reader: Reader, row: int) -> np.ndarray | str:
        assert row not in FOLD.test, "a test clip was read"
        return read(reader, row)

    monkeypatch.setattr(Reader, "read", refuse)
    with pytest.raises(AssertionError, match="a test clip was read"):
        tune(setup, tmp_path / "0.pt")
    kept = FoldState.load(tmp_path / "0.pt")
    assert kept is not None
    assert [each.over for each in kept.attempts] == [True, True]


@pytest.mark.parametrize(
    ("save_seconds", "batch_norm", "kills"),
    [(0.0, "frozen", range(4, 99, 4)), (0.0, "train", (5,)), (60.0, "train", (3, 20))],
)
def test_a_run_that_is_killed_and_started_again_gives_the_same_numbers(
    setup: Setup,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    save_seconds: float,
    batch_norm: Literal["frozen", "train"],
    kills: Sequence[int],
) -> None:
    config = dataclasses.replace(CONFIG, epochs=2, batch_norm=batch_norm)
    setup = dataclasses.replace(setup, config=config)
    whole = tune(setup, tmp_path / "whole.pt")
    monkeypatch.setattr("benchmark.finetune.train.SAVE_SECONDS", save_seconds)
    step = Trainer._step
    steps = killed = 0

    def interrupted(trainer: Trainer, *arguments: Any) -> None:
        nonlocal steps
        steps += 1
        if steps in kills:
            raise KeyboardInterrupt
        step(trainer, *arguments)

    monkeypatch.setattr(Trainer, "_step", interrupted)
    again = None
    while again is None:
        torch.manual_seed(killed)
        try:
            again = tune(setup, tmp_path / "killed.pt")
        except KeyboardInterrupt:
            killed += 1
    assert killed == (7 if len(kills) > 2 else len(kills))
    assert again.predicted == whole.predicted
    assert again.attempts == whole.attempts
    assert again.best == whole.best


def test_a_finished_fold_reads_nothing_again(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tune(untouched(setup), tmp_path / "0.pt")
    monkeypatch.setattr(Reader, "read", lambda self, row: pytest.fail("read again"))
    nothing = np.full((192, 3), np.nan)
    again = tune_fold(untouched(setup), nothing, FOLD, tmp_path / "0.pt")
    assert again.predicted == first.predicted


def test_a_damaged_state_is_begun_again(setup: Setup, tmp_path: Path) -> None:
    first = tune(untouched(setup), tmp_path / "0.pt")
    kept = (tmp_path / "0.pt").read_bytes()
    (tmp_path / "0.pt").write_bytes(kept[: len(kept) // 2])
    assert tune(untouched(setup), tmp_path / "0.pt").predicted == first.predicted


def test_a_clip_that_goes_away_is_named(setup: Setup, tmp_path: Path) -> None:
    first = tune(untouched(setup), tmp_path / "0.pt")
    first.predicted = []
    first.save(tmp_path / "0.pt")
    paths = [str(tmp_path / "gone.wav")] * 192
    gone = dataclasses.replace(setup, paths=paths)
    with pytest.raises(FinetuneError, match=r"can no longer be read .*gone\.wav"):
        tune_fold(gone, np.zeros((192, 3)), FOLD, tmp_path / "0.pt")


def test_a_rate_that_diverges_is_given_up_and_the_initial_state_kept(
    setup: Setup, tmp_path: Path
) -> None:
    config = dataclasses.replace(CONFIG, learning_rates=(1e30,), head_learning_rate=1e30)
    state = tune(dataclasses.replace(setup, config=config), tmp_path / "0.pt")
    assert state.attempts[0].diverged
    assert state.best.epoch == 0
    assert len(state.predicted) == 48


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            "def load_model(path=''):\n    m = Model()\n    del m.scale\n    return m",
            "no parameters",
        ),
        ("get_scene_embeddings = torch.no_grad()(get_scene_embeddings)", "gives no gradient"),
        (
            "get_scene_embeddings = torch.inference_mode()(get_scene_embeddings)",
            "gives no gradient",
        ),
    ],
)
def test_a_module_that_cannot_be_trained_is_named_with_the_remedy(
    write_module: Callable[..., str], more: str, message: str
) -> None:
    with pytest.raises(NoGradientError, match=f"stiff.*{message}"):
        check_trainable(load(write_module("stiff", more)), 1600)


@pytest.mark.parametrize("name", ["wavebyol_hear", "byol_a", "cola"])
def test_our_modules_give_gradients_in_training_mode_alone(name: str) -> None:
    if name == "wavebyol_hear":
        hear = load(name)
    else:  # no weights may ship for them
        module = importlib.import_module(f"baselines.{name}")
        model = (
            module.ByolAModel(module.AudioNtt2020(64), 0.0, 1.0)
            if name == "byol_a"
            else module.ColaModel(module.EfficientNetB0())
        )
        hear = HearModel(name, module, model.eval(), torch.device("cpu"), "")
    check_trainable(hear, 8000)
    assert not hear.model.training
    assert not hear.embed(torch.zeros(1, 8000)).requires_grad


def test_the_rates_rise_over_the_warm_up_and_fall_to_nothing_by_half_a_cosine(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dataclasses.replace(
        CONFIG, learning_rates=(1e-3,), head_learning_rate=0.02, epochs=5, warm_up=0.2, patience=9
    )
    rates: list[list[float]] = []
    step = torch.optim.AdamW.step

    def record(optimizer: torch.optim.AdamW, *more: object) -> object:
        rates.append([group["lr"] for group in optimizer.param_groups])
        return step(optimizer, *more)

    monkeypatch.setattr(torch.optim.AdamW, "step", record)
    state = tune(dataclasses.replace(setup, config=config), tmp_path / "0.pt")
    assert len(rates) == 5 * 6  # 96 clips in batches of 16
    encoder, head = np.array(rates)[:, 0], np.array(rates)[:, -1]
    np.testing.assert_allclose(head, 20 * encoder)
    np.testing.assert_allclose(encoder[:6], 1e-3 * np.arange(1, 7) / 7)
    np.testing.assert_allclose(encoder[6:], 5e-4 * (1 + np.cos(np.pi * np.arange(24) / 24)))
    assert state.attempts[0].epoch == 5


def test_a_rate_is_given_up_after_so_many_epochs_without_a_better_score(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([50.0, 60.0, 55.0, 60.0, 60.0, 70.0])

    def score(classifier: object, setup: Setup, rows: np.ndarray) -> ClipScores:
        return ClipScores(setup.labels[rows], next(scores), 1.0)

    monkeypatch.setattr("benchmark.finetune.train.score_clips", score)
    monkeypatch.setattr("benchmark.finetune.protocol.score_clips", score)
    config = dataclasses.replace(CONFIG, learning_rates=(1e-3,), patience=3)
    state = tune(dataclasses.replace(setup, config=config), tmp_path / "0.pt")
    # 50 before training, 60 after the first epoch, then three that are no better.
    assert [point["accuracy"] for point in state.attempts[0].curve] == [50, 60, 55, 60, 60]
    assert (state.best.epoch, state.best.accuracy) == (1, 60)


def test_the_weights_kept_are_those_of_the_best_epoch(setup: Setup, tmp_path: Path) -> None:
    """The predictions are those of a run that ends at the epoch that was kept."""
    config = dataclasses.replace(CONFIG, learning_rates=(3e-3,), patience=99, warm_up=0.0)
    state = tune(dataclasses.replace(setup, config=config), tmp_path / "0.pt")
    curve = [(point["accuracy"], -point["loss"]) for point in state.attempts[0].curve]
    assert state.best.epoch == curve.index(max(curve))
    assert state.best.accuracy == max(curve)[0]


@pytest.mark.parametrize("batch_norm", ["frozen", "train"])
def test_batch_norm_is_trained_only_where_it_is_asked_for(
    setup: Setup,
    tmp_path: Path,
    batch_norm: Literal["frozen", "train"],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = dataclasses.replace(CONFIG, learning_rates=(1e-3,), epochs=1, batch_norm=batch_norm)
    run, state = Trainer.run, {}

    def recorded(trainer: Trainer) -> None:
        run(trainer)
        state.update(copy_state(trainer.classifier.encoder))

    monkeypatch.setattr(Trainer, "run", recorded)
    tune(dataclasses.replace(setup, config=config), tmp_path / "0.pt")
    moved = [name for name, x in state.items() if not torch.equal(x, setup.initial[name])]
    assert any("running_mean" in name for name in moved) == (batch_norm == "train")
    assert any("layers.0.weight" in name for name in moved)


def test_the_first_head_is_the_probe_of_training_clips_selected_on_validation_clips(
    setup: Setup, tmp_path: Path
) -> None:
    embeddings = np.random.default_rng(0).normal(size=(192, 3)).astype(np.float32)
    state = tune_fold(untouched(setup), embeddings, FOLD, tmp_path / "0.pt")
    np.testing.assert_allclose(state.head["mean"], embeddings[FOLD.train].mean(0), atol=1e-6)
    train, valid = (Rows(embeddings, setup.labels, rows) for rows in (FOLD.train, FOLD.valid))
    (selection,), _ = select_c([train], [valid], 6)
    assert state.c == selection.value
