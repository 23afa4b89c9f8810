"""One call embeds files and arrays, the same as decoding, resampling and embedding by hand."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch

from wavebyol_hear import get_scene_embeddings, load_model
from wavebyol_hear.audio import AudioError, read_audio
from wavebyol_hear.embed import Embedder

RATE = 16_000


@pytest.fixture(scope="module")
def model() -> Embedder:
    return load_model(preset="slim", precision="fp32")


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def assert_same(result: np.ndarray, wanted: np.ndarray, atol: float = 1e-4) -> None:
    """Of values to 9: products are rounded otherwise in a batch of another size."""
    np.testing.assert_allclose(result, wanted, rtol=0, atol=atol)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Files of several lengths, rates, numbers of channels and formats."""
    folder = tmp_path_factory.mktemp("files")
    paths = []
    for index, (samples, rate, channels, ending) in enumerate(
        [
            (30_000, 16_000, 1, "wav"),
            (44_100, 44_100, 2, "flac"),
            (9_000, 8_000, 1, "wav"),
            (30_000, 16_000, 1, "wav"),
            (48_000, 48_000, 6, "wav"),
            (500, 16_000, 1, "wav"),
            (22_050, 22_050, 1, "ogg"),
        ]
    ):
        paths.append(folder / f"{index} ü#.{ending}")
        waves = [noise(samples, 10 * index + channel) for channel in range(channels)]
        soundfile.write(paths[-1], np.stack(waves, 1), rate)
    return paths


def by_hand(path: Path, model: Embedder) -> np.ndarray:
    wave = torch.from_numpy(read_audio(path, RATE))[None]
    return get_scene_embeddings(wave, model)[0].numpy()


def test_files_are_decoded_resampled_and_embedded_in_their_order(
    files: list[Path], model: Embedder
) -> None:
    wanted = np.stack([by_hand(path, model) for path in files])
    result = model.embed([*files[:3], *map(str, files[3:])])
    assert result.dtype == np.float32
    assert_same(result, wanted)
    assert np.ptp(wanted, axis=0).max() > 1, "the files differ"


def test_one_file_is_one_vector(files: list[Path], model: Embedder) -> None:
    result = model.embed(str(files[1]))
    assert result.shape == (model.scene_embedding_size,)
    assert_same(result, by_hand(files[1], model))


def test_company_order_and_workers_do_not_change_a_vector(
    files: list[Path], model: Embedder
) -> None:
    first = model.embed(files, batch_seconds=1e-3, workers=0)
    again = model.embed(files[::-1], batch_seconds=1e3, workers=3)[::-1]
    assert_same(first, again)


def test_an_array_equals_the_file_that_holds_it(files: list[Path], model: Embedder) -> None:
    wave, rate = soundfile.read(files[2], dtype="float32")
    wanted = by_hand(files[2], model)
    for same in (wave, wave.astype(np.float64), torch.from_numpy(wave), [wave]):
        result = model.embed(same, rate)
        assert_same(np.squeeze(result), wanted)
    assert model.embed(wave, rate).ndim == 1
    assert model.embed([wave], rate).ndim == 2


def test_arrays_of_many_lengths_keep_their_order(model: Embedder) -> None:
    waves = [noise(samples, samples) for samples in (700, 50_000, 20_480, 1, 50_000, 300)]
    wanted = np.stack([model.embed(wave, 22_050) for wave in waves])
    assert_same(model.embed(waves, 22_050), wanted)


def test_a_batch_array_is_its_rows(model: Embedder) -> None:
    waves = np.stack([noise(20_480, seed) for seed in range(3)])
    wanted = get_scene_embeddings(torch.from_numpy(waves), model).numpy()
    for same in (waves, torch.from_numpy(waves), waves.tolist()):
        same = [np.array(row) for row in same] if isinstance(same, list) else same
        assert_same(model.embed(same, RATE), wanted)


def test_whole_numbers_are_at_full_scale(model: Embedder) -> None:
    wave = np.round(noise(20_480) * 2**15).astype(np.int16)
    wanted = model.embed(soxr.resample(wave / 2**15, 8_000, RATE, quality="HQ"), RATE)
    assert_same(model.embed(wave, 8_000), wanted, atol=1e-3)


def test_nothing_gives_no_rows(model: Embedder) -> None:
    assert model.embed([]).shape == (0, model.scene_embedding_size)


def test_the_mode_of_the_model_stays(files: list[Path], model: Embedder) -> None:
    model.train()
    try:
        result = model.embed(files[0])
        assert model.training
    finally:
        model.eval()
    assert_same(result, by_hand(files[0], model))


@pytest.mark.parametrize(
    ("source", "rate", "words"),
    [
        (noise(100), None, "without its rate"),
        (noise(100), 0, "sample_rate is 0"),
        (noise(100), 10, "62.5 Hz or more"),
        (noise(0), RATE, "0 samples"),
        (noise(1), 96_000, "leave none"),
        (np.zeros((100, 2)), RATE, "mean of the channels"),
        (np.zeros((2, 3, 4)), RATE, r"\[2, 3, 4\]"),
        (np.array(0.0), RATE, r"is \[\]"),
        (np.zeros(100, complex), RATE, "complex"),
        (np.zeros(100, np.uint8), RATE, "uint8"),
        ([np.zeros((100, 2))], RATE, r"array 0 is float64 \[100, 2\]"),
        (np.array([0.0, np.nan]), RATE, "NaN"),
        ([0.0, 1.0], RATE, "array 0 is float64"),
        (7, RATE, "a int cannot be embedded"),
        (b"a.wav", None, "a bytes cannot be embedded"),
        (["a.wav", np.zeros(100)], RATE, "two calls"),
        ("a.wav", RATE, "drop it"),
    ],
)
def test_what_cannot_be_embedded_is_one_line(
    source: object, rate: int | None, words: str, model: Embedder
) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        model.embed(source, rate)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_bad_file_is_named(files: list[Path], tmp_path: Path, model: Embedder) -> None:
    empty = tmp_path / "empty.wav"
    empty.touch()
    for workers in (0, 2):
        with pytest.raises(AudioError, match=r"empty\.wav"):
            model.embed([*files, empty], workers=workers)
    with pytest.raises(AudioError, match="no such file"):
        model.embed(tmp_path / "absent.wav")
    with pytest.raises(ValueError, match="batch_seconds is 0"):
        model.embed(files, batch_seconds=0)
