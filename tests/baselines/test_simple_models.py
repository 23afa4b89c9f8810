"""log_mel against its definition, content_random against its promise."""

import numpy as np
import pytest
import torch

from baselines import content_random, log_mel


def sound(clips: int, samples: int) -> torch.Tensor:
    return torch.randn(clips, samples, generator=torch.Generator().manual_seed(1)) * 0.1


def test_the_spectrogram_is_its_definition_in_numpy() -> None:
    wave = sound(1, 3200)[0].double().numpy()
    padded = np.pad(wave, 512)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024)
    frames = np.stack([padded[i : i + 1024] * window for i in range(0, 3201, 160)])
    power = np.abs(np.fft.rfft(frames)) ** 2
    low, high = (2595 * np.log10(1 + hertz / 700) for hertz in (60, 7800))
    corners = 700 * (10 ** (np.linspace(low, high, 66) / 2595) - 1)
    hertz = np.arange(513) * 16000 / 1024
    filters = [np.interp(hertz, corners[k : k + 3], [0, 1, 0]) for k in range(64)]
    expected = np.log(np.array(filters) @ power.T + np.finfo(np.float32).eps)
    got = log_mel.load_model()(sound(1, 3200))[0].numpy()
    np.testing.assert_allclose(got, expected, atol=2e-3)


def test_scene_statistics_are_those_of_the_spectrogram() -> None:
    model, wave = log_mel.load_model(), sound(2, 8000)
    bands = model(wave).numpy()
    expected = np.concatenate(
        [bands.mean(2), bands.std(2), bands.max(2), np.diff(bands, axis=2).std(2)], axis=1
    )
    np.testing.assert_allclose(log_mel.get_scene_embeddings(wave, model), expected, atol=1e-4)


@pytest.mark.parametrize("samples", [1, 100, 159, 160, 512])
def test_very_short_and_silent_clips_have_finite_statistics(samples: int) -> None:
    model = log_mel.load_model()
    for wave in (sound(1, samples), torch.zeros(1, samples)):
        assert log_mel.get_scene_embeddings(wave, model).isfinite().all()


def test_the_same_sound_gets_the_same_vector_in_any_batch() -> None:
    model, wave = content_random.load_model(), sound(5, 1000)
    together = content_random.get_scene_embeddings(wave, model)
    alone = content_random.get_scene_embeddings(wave[3:4], model)
    assert torch.equal(together[3:4], alone)
    changed = wave[3:4].clone()
    changed[0, 500] += 1e-4
    assert not torch.equal(content_random.get_scene_embeddings(changed, model), alone)


def test_the_vectors_are_standard_normal() -> None:
    vectors = content_random.get_scene_embeddings(sound(2000, 10), content_random.load_model())
    # 128,000 draws: the mean's deviation is 0.003, that of the deviation 0.002.
    assert abs(float(vectors.mean())) < 0.012
    assert abs(float(vectors.std()) - 1) < 0.01


@pytest.mark.parametrize("module", [log_mel, content_random])
def test_there_are_no_weights_to_load(module) -> None:
    with pytest.raises(ValueError, match=r"w\.pt was given"):
        module.load_model("w.pt")
