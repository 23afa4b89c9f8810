"""Loading a HEAR module: what is wrong with it is one line with its name."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from benchmark.data.clip import Clip
from benchmark.embed.cache import cache_folder
from benchmark.embed.fingerprint import content_hashes
from tests.benchmark.made_results import bare
from wavebyol_hear.files.hear_module import HearModel, import_module, load
from wavebyol_hear.files.model_spec import HearError, parse_spec
from wavebyol_hear.files.weights_hash import source_files


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ("del get_scene_embeddings", "lacks the function get_scene_embeddings"),
        ("raise OSError('a library is\\nabsent')", "cannot be imported"),
        ("def load_model(path=''):\n    return 3", "returned int"),
        ("def load_model(path=''):\n    raise KeyError('w')", "load_model failed"),
        ("def load_model(path=''):\n    raise SystemExit(0)", r"load_model failed \(SystemExit: 0"),
        ("Model.sample_rate = 8000", "sample_rate is 8000"),
        ("del Model.sample_rate", "sample_rate is None"),
        ("Model.scene_embedding_size = 3.0", r"scene_embedding_size is 3\.0"),
        ("Model.timestamp_embedding_size = 0", "timestamp_embedding_size is 0"),
    ],
)
def test_a_module_without_the_api_is_named(write_module, more: str, reason: str) -> None:
    name = write_module("broken", more)
    with pytest.raises(HearError, match=reason) as caught:
        load(name)
    assert str(caught.value).startswith(name)
    assert "\n" not in str(caught.value)


def test_absent_modules_weights_and_devices_are_named(write_module) -> None:
    with pytest.raises(HearError, match=r"no\.such\.module: cannot be imported"):
        load("no.such.module")
    with pytest.raises(HearError, match=r"give wavebyol_hear:runs/x/weights\.safetensors"):
        load("runs/x/weights.safetensors")
    name = write_module("whole")
    with pytest.raises(HearError, match=r"no weights file absent\.pt"):
        load(f"{name}:absent.pt")
    named = write_module(
        "named", "WEIGHTS_ARE_NAMES = True\ndef load_model(path=''): return Model()"
    )
    assert load(f"{named}:a/name").weights_hash != load(f"{named}:another").weights_hash
    with pytest.raises(HearError, match="device 'nowhere'"):
        load(name, "nowhere")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_model_without_parameters_needs_its_device_too() -> None:
    with pytest.raises(HearError, match="device 'cuda' cannot be used"):
        load("baselines.content_random", "cuda")


def test_a_loaded_model_is_in_evaluation_mode_and_answers(write_module) -> None:
    model = load(write_module("fine"))
    assert not model.model.training
    answer = model.scenes(np.full((2, 100), 0.5, dtype=np.float32))
    np.testing.assert_allclose(answer, [[0.5, 0.0, 0.5]] * 2)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda a: torch.zeros(len(a), 3, 4), "returned Tensor; return a pair"),
        (lambda a: (torch.zeros(len(a), 3, 5), torch.zeros(len(a), 3)), r"\(1, 3, 5\)"),
        (lambda a: (torch.zeros(len(a), 3, 4), torch.zeros(len(a), 3) / 0), "finite ms"),
        (lambda a: (torch.zeros(len(a), 3, 4), torch.zeros(3)), r"shape is \(3,\); make it"),
        (lambda a: a.nonsense, "AttributeError"),
    ],
)
def test_an_answer_that_is_no_timestamp_embedding_is_named(answer, message: str) -> None:
    network = torch.nn.Module()
    vars(network).update(timestamp_embedding_size=4)
    module = ModuleType("some.module")
    vars(module).update(get_timestamp_embeddings=lambda audio, model: answer(audio))
    model = HearModel("some.module", module, network, torch.device("cpu"), "")
    with pytest.raises(HearError, match=message) as caught:
        model.timestamps(np.zeros((1, 160), np.float32))
    assert "some.module" in str(caught.value)


def test_the_code_of_a_model_includes_what_it_takes_from_its_siblings() -> None:
    files = {f.name for f in source_files(import_module("baselines.log_mel"))}
    assert files == {"log_mel.py", "base.py", "byol_a.py"}  # refuse_weights and LogMel
    package = {f.name for f in source_files(import_module("wavebyol_hear"))}
    assert {"__init__.py", "encoder.py", "layers.py", "front_end.py"} <= package


def test_only_changed_files_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmark.embed import fingerprint

    clips = []
    for i in range(4):
        (tmp_path / f"{i}.wav").write_bytes(bytes([i]) * 10)
        clips.append(Clip(str(i), f"{i}.wav", "a", "fold01", "g"))
    clips.append(Clip("absent", "absent.wav", "a", "fold01", "g"))
    read: list[str] = []
    real = fingerprint.file_hash

    def recording(path: str) -> str:
        read.append(Path(path).name)
        return real(path)

    monkeypatch.setattr(fingerprint, "file_hash", recording)
    memory = tmp_path / "cache" / "memory.json"
    first = content_hashes(clips, tmp_path, memory)
    assert len(set(first)) == 5
    read.clear()
    assert content_hashes(clips, tmp_path, memory) == first
    assert read == []
    (tmp_path / "2.wav").write_bytes(bytes([9]) * 10)
    second = content_hashes(clips, tmp_path, memory)
    assert read == ["2.wav"]
    assert [a == b for a, b in zip(first, second, strict=True)] == [True, True, False, True, True]
    memory.write_text("{ damaged")
    assert content_hashes(clips, tmp_path, memory) == second


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("a.b", ("a.b", "", {})),
        ("a:w.pt", ("a", "w.pt", {})),
        ("a:C:/x/w.pt", ("a", "C:/x/w.pt", {})),
        ("a?x=1", ("a", "", {"x": 1})),
        ("a?x=b:c", ("a", "", {"x": "b:c"})),
        ("a:w.pt?x=-5.5&y=TRUE&z=false", ("a", "w.pt", {"x": -5.5, "y": True, "z": False})),
        ("a:odd?x=1.pt?", ("a", "odd?x=1.pt", {})),
        ("a:odd?x=1.pt?y=1e-3", ("a", "odd?x=1.pt", {"y": 1e-3})),
        ("a?x='1'&y=[1]&z=", ("a", "", {"x": "1", "y": "[1]", "z": ""})),
        ("a?x=" + "(" * 500, ("a", "", {"x": "(" * 500})),
    ],
)
def test_a_specification_has_a_module_weights_and_options(spec, expected) -> None:
    parsed = parse_spec(spec)
    assert (parsed.module, parsed.weights, parsed.options) == expected
    for name, value in expected[2].items():
        assert type(parsed.options[name]) is type(value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (":w.pt", "names no module"),
        ("?x=1", "names no module"),
        ("", "names no module"),
        ("a:odd?.pt", r"'\.pt' is not an option key=value; a path that has \?"),
        ("a?x", "'x' is not an option"),
        ("a?1x=1", "'1x=1' is not an option"),
        ("a?x=1&", "'' is not an option"),
    ],
)
def test_a_specification_that_cannot_be_read_is_named(spec: str, message: str) -> None:
    with pytest.raises(HearError, match=message) as caught:
        parse_spec(spec)
    assert "\n" not in str(caught.value)


def test_options_reach_load_model_and_wrong_ones_are_named() -> None:
    assert load("wavebyol_hear?pooling=global&normalize=true").size == 768
    with pytest.warns(UserWarning, match="UNTRAINED"):
        untrained = load("wavebyol_hear?untrained=true")
    hashes = {untrained.weights_hash, load("wavebyol_hear").weights_hash}
    assert len(hashes | {load("wavebyol_hear?whiten=false").weights_hash}) == 3
    with pytest.raises(HearError, match=r"no option 'whitn'; it has preset, pooling, whiten"):
        load("wavebyol_hear?whitn=false")
    with pytest.raises(HearError, match=r"'model_file_path'; it has"):
        load("wavebyol_hear?model_file_path=x")
    with pytest.raises(HearError, match="whiten is 'no'; give true or false"):
        load("wavebyol_hear?whiten=no")
    with pytest.raises(HearError, match=r"no option 'x'; it has none"):
        load("baselines.log_mel?x=1")
    with pytest.raises(HearError, match="load_model failed"):
        load("wavebyol_hear?pooling=median")


def test_specifications_that_differ_in_an_option_have_caches_and_result_files_of_their_own(
    tmp_path: Path,
) -> None:
    specs = ["wavebyol_hear", "wavebyol_hear?x=false", "wavebyol_hear?x=5", "wavebyol_hear?x=-5"]
    folders = {cache_folder(tmp_path, spec, "task") for spec in specs}
    assert len(folders) == 4
    names = {bare("esc50", spec).file_name for spec in specs}
    assert len(names) == 4
    for name in [*names, *(folder.name for folder in folders)]:
        assert not set(name) & set('?&=:*<>|"/\\')
