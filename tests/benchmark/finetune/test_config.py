"""The settings of fine-tuning: differences only, ranges checked, the length of a clip."""

from pathlib import Path

import pytest

from benchmark.finetune.config import FinetuneConfig
from wavebyol_hear.files.settings import SettingsError, load_settings


def test_a_file_holds_differences_only(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("learning_rates: 3e-5\nepochs: 4\nnoise_snr_db: null\nbatch_norm: train\n")
    assert load_settings(FinetuneConfig(), path) == FinetuneConfig(
        learning_rates=(3e-5,), epochs=4, noise_snr_db=None, batch_norm="train"
    )
    path.write_text("")
    assert load_settings(FinetuneConfig(), path) == FinetuneConfig()
    path.write_text("learning_rates: [1e-5, 0.1]\n")
    assert load_settings(FinetuneConfig(), path).learning_rates == (1e-5, 0.1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rate: 3", "learning_rate is not a setting: the nearest is learning_rates"),
        ("epochs: -1", "epochs is -1: give 0 or more"),
        ("learning_rates: []", "learning_rates is empty"),
        ("learning_rates: [1e-3, -1]", "learning_rates is (0.001, -1.0): give more than 0"),
        ("head_learning_rate: 0", "head_learning_rate is 0.0: give more than 0"),
        ("batch_size: 0", "batch_size is 0: give 1 or more"),
        ("patience: 0", "patience is 0: give 1 or more"),
        ("warm_up: 2", "warm_up is 2.0: give 0 to 1"),
        ("warm_up: -1", "warm_up is -1.0: give 0 to 1"),
        ("batch_norm: some", "it is one of frozen, train"),
        ("head: random", "it is one of probe, zero"),
        ("crop_seconds: 0", "crop_seconds is 0.0: give more than 0"),
        ("weight_decay: -1", "weight_decay is -1.0: give 0 or more"),
        ("gain_db: -1", "gain_db is -1.0: give 0 or more"),
        ("mixup: -1", "mixup is -1.0: give 0 or more"),
    ],
)
def test_a_mistake_is_one_line_with_file_and_remedy(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_settings(FinetuneConfig(), path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("crop", "usual", "samples"), [(None, 5.0, 80000), (None, None, 64000), (0.5, 5.0, 8000)]
)
def test_the_length_of_a_training_clip(
    crop: float | None, usual: float | None, samples: int
) -> None:
    assert FinetuneConfig(crop_seconds=crop).samples(16000, usual) == samples
