"""python -m benchmark.check: good modules pass, every kind of fault is one line and exit code 1."""

import pytest

from benchmark.check import check, main

SCENES = "def get_scene_embeddings(audio, model):\n    return "
STAMPS = """
def get_timestamp_embeddings(audio, model):
    stamps = {stamps}
    stamps = stamps.repeat(len(audio), 1)
    return torch.zeros(*stamps.shape, {size}, dtype=torch.{dtype}), stamps
"""


def stamps(expression: str, size: int = 3, dtype: str = "float32") -> str:
    return STAMPS.format(stamps=expression, size=size, dtype=dtype)


@pytest.mark.parametrize("name", ["baselines.log_mel", "baselines.content_random"])
def test_our_models_pass_without_a_warning(name: str) -> None:
    assert check(name) == ([], [])


def test_the_module_of_the_tests_passes(write_module, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([write_module("good")]) == 0
    assert "good implements the HEAR API" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (SCENES + "torch.zeros(len(audio), 2)", "shape"),
        (SCENES + "torch.zeros(len(audio), 3).double()", "float64"),
        (SCENES + "torch.full((len(audio), 3), float('nan'))", "NaN"),
        (SCENES + "audio[:, :3] - audio[:, :3].mean()", "with the other clips of its batch"),
        (SCENES + "1 / 0", "ZeroDivisionError"),
        (stamps("torch.arange(0, audio.shape[1] / 16, 25.0)", size=2), "shape"),
        (stamps("torch.arange(0, audio.shape[1] / 16, 25.0)", dtype="float64"), "float64"),
        (stamps("torch.arange(0, audio.shape[1] / 16, 25.0) ** 1.1"), "spacing varies"),
        (stamps("torch.arange(0, audio.shape[1] / 16 + 60, 25.0)"), "end within the clip"),
        (stamps("torch.arange(0, audio.shape[1] / 32, 25.0)"), "reach its end"),
        (stamps("torch.arange(0, audio.shape[1] / 16, 25.0).long()"), "int64"),
        ("def get_timestamp_embeddings(audio, model):\n    return audio", "return a pair"),
    ],
)
def test_a_fault_is_one_line(
    write_module, capsys: pytest.CaptureFixture[str], more: str, reason: str
) -> None:
    assert main([write_module("faulty", more)]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("error: faulty")
    assert reason in line


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (stamps("torch.arange(0, audio.shape[1] / 16, 80.0)"), "hop is 80.0 ms"),
        (SCENES + "(audio[:, :3] if audio.shape[1] > 999 else 1 / 0)", "0.01 s cannot be embedded"),
        (SCENES + "audio[:, :3] / audio.abs().amax(1, keepdim=True)", "silence cannot be embedded"),
    ],
)
def test_a_weakness_is_a_warning_and_no_failure(
    write_module, capsys: pytest.CaptureFixture[str], more: str, reason: str
) -> None:
    assert main([write_module("weak", more)]) == 0
    assert any(
        line.startswith("warning: ") and reason in line
        for line in capsys.readouterr().out.splitlines()
    )
