"""The configuration of fine-tuning: differences only, and every mistake named with its remedy."""

from pathlib import Path

import pytest

from benchmark.finetune.config import FinetuneConfig, FinetuneConfigError, read_finetune_config


def test_a_file_holds_differences_only(tmp_path: Path) -> None:
    assert read_finetune_config(None) == FinetuneConfig()
    path = tmp_path / "a.yaml"
    path.write_text("learning_rates: 3e-5\nepochs: 4\nnoise_snr_db: null\nbatch_norm: train\n")
    assert read_finetune_config(path) == FinetuneConfig(
        learning_rates=(3e-5,), epochs=4, noise_snr_db=None, batch_norm="train"
    )
    path.write_text("")
    assert read_finetune_config(path) == FinetuneConfig()
    path.write_text("learning_rates: [1e-5, 0.1]\n")
    assert read_finetune_config(path).learning_rates == (1e-5, 0.1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch: 3", "epoch is no setting: the nearest is epochs"),
        ("learning_rate: 3", "learning_rate is no setting: the nearest is learning_rates"),
        ("epochs: many", "epochs is 'many': it takes a number"),
        ("epochs: 2.5", "epochs is 2.5: it takes a whole number"),
        ("epochs: true", "epochs is True: it takes a number"),
        ("epochs: null", "epochs is None: it takes a number"),
        ("epochs: -1", "epochs is -1: it must be 0 or more"),
        ("learning_rates: []", "learning_rates is (): it must be above 0"),
        ("learning_rates: [1e-3, -1]", "it must be above 0"),
        ("batch_size: 0", "batch_size is 0: it must be 1 or more"),
        ("warm_up: 2", "warm_up is 2.0: it must be from 0 to 1"),
        ("batch_norm: some", "batch_norm is some: it must be frozen or train"),
        ("head: random", "head is random: it must be probe or zero"),
        ("crop_seconds: 0", "crop_seconds is 0.0: it must be above 0"),
        ("weight_decay: .inf", "weight_decay is inf: it takes a number"),
        ("- 1", "is no mapping"),
        ("a: [", "is no YAML"),
    ],
)
def test_a_mistake_is_one_line_with_file_and_remedy(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(FinetuneConfigError) as caught:
        read_finetune_config(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FinetuneConfigError, match=r"absent\.yaml: cannot be read"):
        read_finetune_config(tmp_path / "absent.yaml")


@pytest.mark.parametrize(
    ("crop", "usual", "samples"), [(None, 5.0, 80000), (None, None, 64000), (0.5, 5.0, 8000)]
)
def test_the_length_of_a_training_clip(
    crop: float | None, usual: float | None, samples: int
) -> None:
    assert FinetuneConfig(crop_seconds=crop).samples(16000, usual) == samples
