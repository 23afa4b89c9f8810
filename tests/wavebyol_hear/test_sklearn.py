"""The transformer in pipelines, and the checks of scikit-learn that do not feed it numbers."""

import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils import estimator_checks

from wavebyol_hear import load_model
from wavebyol_hear.files.extras import MissingExtraError
from wavebyol_hear.sklearn import Embedding

RATE = 16_000


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], list[str]]:
    """Files of noise and of tones at three rates, with their labels."""
    folder = tmp_path_factory.mktemp("sounds")
    generator = np.random.default_rng(0)
    paths, labels = [], []
    for index in range(12):
        rate = (8_000, 16_000, 44_100)[index % 3]
        time = np.arange(rate // 2) / rate
        noise = generator.standard_normal(len(time))
        tone = np.sin(2 * np.pi * (200 + 50 * index) * time) + 0.01 * noise
        paths.append(str(folder / f"{index}.wav"))
        labels.append("noise" if index % 2 else "tone")
        soundfile.write(paths[-1], 0.1 * (noise if index % 2 else tone), rate)
    return paths, labels


def small() -> Embedding:
    return Embedding(preset="slim", workers=0)


def test_a_pipeline_learns_from_paths(data: tuple[list[str], list[str]]) -> None:
    paths, labels = data
    model = make_pipeline(Embedding(), LogisticRegression()).fit(paths[:8], labels[:8])
    assert model.predict(paths[8:]).tolist() == labels[8:]


def test_it_is_the_model_s_embedding(data: tuple[list[str], list[str]]) -> None:
    paths, _ = data
    wanted = load_model(preset="slim").embed(paths)
    for same in (
        paths,
        tuple(paths),
        np.array(paths),
        np.array(paths, object)[:, None],
        map(Path, paths),
    ):
        np.testing.assert_allclose(small().transform(same), wanted, atol=1e-4)


def test_arrays_have_a_rate(data: tuple[list[str], list[str]]) -> None:
    waves = [soundfile.read(path)[0] for path in data[0][:1]]
    rate = soundfile.info(data[0][0]).samplerate
    wanted = small().transform(data[0][:1])
    result = Embedding(preset="slim", sample_rate=rate).transform(np.stack(waves))
    np.testing.assert_allclose(result, wanted, atol=1e-3)
    with pytest.raises(ValueError, match="sample_rate"):
        small().transform(waves)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ("a.wav", "a list of paths"),
        (np.zeros(100), "a list of arrays"),
        (["none.wav"], "no such file"),
    ],
)
def test_what_it_cannot_embed_is_one_line(inputs: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        small().transform(inputs)


def test_cross_validation_and_a_grid_clone_it(data: tuple[list[str], list[str]]) -> None:
    paths, labels = data
    pipeline = Pipeline([("embed", small()), ("classify", LogisticRegression())])
    assert cross_val_score(pipeline, paths, labels, cv=3).mean() > 0.8
    grid = GridSearchCV(pipeline, {"embed__normalize": [False, True]}, cv=2).fit(paths, labels)
    assert set(grid.cv_results_["param_embed__normalize"]) == {False, True}


def test_changed_arguments_load_another_model(data: tuple[list[str], list[str]]) -> None:
    embedding = small().fit(data[0])
    plain = embedding.transform(data[0][:1])
    embedding.set_params(normalize=True)
    assert np.linalg.norm(embedding.transform(data[0][:1])) == pytest.approx(1, abs=1e-3)
    assert np.linalg.norm(plain) > 2


def test_a_pickle_holds_no_network(data: tuple[list[str], list[str]]) -> None:
    embedding = small().fit(data[0])
    text = pickle.dumps(embedding)
    assert len(text) < 10_000
    again = pickle.loads(text).transform(data[0][:1])
    assert np.array_equal(again, embedding.transform(data[0][:1]))


def test_numbers_have_names() -> None:
    names = small().get_feature_names_out()
    assert len(names) == 4800
    assert names[1] == "embedding1"


def test_arguments_are_those_of_load_model(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="preset 'slimm' is unknown"):
        Embedding(preset="slimm").fit([])
    with pytest.raises(ValueError, match="pooling"):
        Embedding(pooling="none").fit([])
    assert clone(Embedding("a.safetensors", device="cuda")).device == "cuda"
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.delitem(sys.modules, "wavebyol_hear.sklearn")
    with pytest.raises(MissingExtraError, match=r"'.\[sklearn\]"):
        __import__("wavebyol_hear.sklearn")


CHECKS = (
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_get_params_invariance",
    "check_set_params",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_valid_tag_types",
    "check_mixin_order",
    "check_estimator_tags_renamed",
)


@pytest.mark.parametrize("name", CHECKS)
def test_it_passes_the_check(name: str) -> None:
    """Those that apply: the others of `check_estimator` feed numbers where this takes files."""
    check: Callable[[str, Embedding], None] = getattr(estimator_checks, name)
    check("Embedding", Embedding())


def test_it_computes_on_the_device_that_it_is_given() -> None:
    model = Embedding(preset="slim", device="cpu").fit(None)._load()
    assert next(model.parameters()).device == torch.device("cpu")
