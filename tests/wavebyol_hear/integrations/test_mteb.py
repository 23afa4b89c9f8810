"""`mteb.evaluate` on tasks of local sounds; the parts that need no `mteb` are tested without it."""

import sys
from typing import Any

import numpy as np
import pytest
import torch

from wavebyol_hear import load_model
from wavebyol_hear.embed import Embedder
from wavebyol_hear.files.extras import MissingExtraError
from wavebyol_hear.integrations.mteb import MtebEncoder, load_encoder

RATE = 22_050
CLASSES = ("low tone", "high tone", "noise")


@pytest.fixture(scope="module")
def model() -> Embedder:
    return load_model(preset="slim")


def clip(kind: int, index: int, samples: int = RATE // 2) -> np.ndarray:
    """Half a second of one of the three classes, each a little different."""
    generator = np.random.default_rng(10 * index + kind)
    noise = generator.normal(size=samples)
    hertz = (220, 2_500)[kind % 2] * (1 + 0.02 * index)
    tone = np.sin(2 * np.pi * hertz * np.arange(samples) / RATE)
    return (0.3 * tone + 0.02 * noise if kind < 2 else 0.1 * noise).astype(np.float32)


def as_column(waves: list[np.ndarray]) -> list[dict[str, Any]]:
    return [{"array": wave, "sampling_rate": RATE} for wave in waves]


def test_clips_of_any_rate_shape_and_length_keep_their_order(model: Embedder) -> None:
    waves = [clip(kind, index, 3_000 + 500 * index) for index in range(2) for kind in range(3)]
    clips = as_column(waves)
    clips[2] = {"array": np.stack([waves[2], waves[2]]), "sampling_rate": RATE}  # two channels
    clips[4] = {"array": waves[4], "sampling_rate": 48_000}
    result = MtebEncoder(model).encode(
        [{"audio": clips[:4]}, {"audio": clips[4:]}], task_metadata=0
    )
    wanted = [model.embed(wave, 48_000 if i == 4 else RATE) for i, wave in enumerate(waves)]
    np.testing.assert_allclose(result, np.stack(wanted), atol=0.05)
    assert MtebEncoder(model).encode([]).shape == (0, model.scene_embedding_size)


def test_similarities_are_cosines(model: Embedder) -> None:
    encoder = MtebEncoder(model)
    first, second = torch.randn(3, 5), torch.randn(3, 5)
    matrix = encoder.similarity(first.numpy(), second)
    for i in range(3):
        for j in range(3):
            cosine = first[i] @ second[j] / (first[i].norm() * second[j].norm())
            torch.testing.assert_close(matrix[i, j], cosine)
    torch.testing.assert_close(encoder.similarity_pairwise(first, second), matrix.diagonal())
    assert encoder.similarity(first[0], second).shape == (1, 3)


def test_without_mteb_one_line_says_what_is_missing(
    model: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mteb", None)
    monkeypatch.setitem(sys.modules, "mteb.models", None)
    with pytest.raises(MissingExtraError, match=r"needs mteb.*'\.\[mteb\]"):
        _ = MtebEncoder(model).mteb_model_meta


def metadata(kind: str, score: str) -> Any:
    abstasks = pytest.importorskip("mteb.abstasks.task_metadata")

    return abstasks.TaskMetadata(
        name=f"Made{kind}",
        description="Tones and noise, made on the spot.",
        dataset={"path": "none/none", "revision": "1"},
        type=f"Audio{kind}",
        category="a2a" if kind == "PairClassification" else "a2c",
        modalities=["audio"],
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score=score,
        date=None,
        domains=None,
        task_subtypes=None,
        license=None,
        annotations_creators=None,
        dialect=None,
        sample_creation=None,
        bibtex_citation="",
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["Classification", "Clustering", "PairClassification"])
def test_mteb_evaluates_the_model(
    model: Embedder, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Skipped where `mteb` (the extra `mteb`, a gigabyte) is not installed."""
    mteb = pytest.importorskip("mteb", reason="needs the extra mteb")
    datasets = pytest.importorskip("datasets", reason="needs the extra mteb")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")

    def rows(first: int, last: int) -> Any:
        pairs = [(kind, index) for index in range(first, last) for kind in range(len(CLASSES))]
        return datasets.Dataset.from_dict(
            {"audio": as_column([clip(*pair) for pair in pairs]), "label": [k for k, _ in pairs]}
        )

    def pairs() -> Any:
        members = [(kind, i, other) for i in range(6) for kind in range(3) for other in range(3)]
        first = [clip(kind, i) for kind, i, _ in members]
        second = [clip(other, i + 9) for _, i, other in members]
        columns = {"audio1": as_column(first), "audio2": as_column(second)}
        return datasets.Dataset.from_dict(
            {**columns, "label": [int(kind == other) for kind, _, other in members]}
        )

    score = {
        "Classification": "accuracy",
        "Clustering": "v_measure",
        "PairClassification": "max_ap",
    }

    class Made(getattr(mteb.abstasks, f"AbsTask{kind}")):  # type: ignore[misc]
        metadata = metadata(kind, score[kind])
        input_column_name = "audio"
        input1_column_name, input2_column_name = "audio1", "audio2"
        label_column_name = "label"
        max_fraction_of_documents_to_embed = None
        max_document_to_embed = None

        def load_data(self, **settings: object) -> None:
            if kind == "PairClassification":
                self.dataset = datasets.DatasetDict(test=pairs())
            else:
                self.dataset = datasets.DatasetDict(train=rows(0, 10), test=rows(10, 16))
            self.data_loaded = True

    result = mteb.evaluate(
        MtebEncoder(model), [Made()], cache=None, encode_kwargs={"batch_size": 8}
    )
    assert result.model_name == "wavebyol-hear/slim"
    main = result.task_results[0].scores["test"][0]["main_score"]
    assert main > 0.9


@pytest.mark.slow
def test_the_meta_loads_the_model() -> None:
    pytest.importorskip("mteb", reason="needs the extra mteb")
    meta = MtebEncoder(preset="slim", revision="abc").mteb_model_meta
    assert (meta.name, meta.revision) == ("wavebyol-hear/slim", "abc")
    assert meta.embed_dim == 4_800
    loaded = load_encoder("wavebyol-hear/slim", "abc", device="cpu", preset="slim")
    assert loaded.mteb_model_meta.name == meta.name
