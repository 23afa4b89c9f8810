"""A cost is what was measured when the embeddings were made, or a reason; never a leftover."""

import dataclasses
import importlib
import json
from pathlib import Path

import pytest
import soundfile
import torch

from benchmark.data.clip import Clip
from benchmark.data.registry import TaskClips
from benchmark.embed.cache import Progress
from benchmark.embed.cost import Cost, note_run
from benchmark.embed.embed import EmbeddedTask, embed_task
from tests.benchmark import tones
from tests.synth import noisy_tone
from wavebyol_hear.files import memory
from wavebyol_hear.files.hear_module import load
from wavebyol_hear.files.memory import PeakMemory
from wavebyol_hear.files.threads import OtherLoad

SECONDS, CLIPS = 0.25, 6
TASK = dataclasses.replace(tones.TASK, classes=("tone",), n_clips=CLIPS, clip_seconds=SECONDS)
LINEAR = f"""{tones.COUNTED}
class Model(Model):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(40, 3)
        for values in self.parameters():
            torch.nn.init.ones_(values)

def get_scene_embeddings(audio, model):
    count_call()
    return model.layer(audio.reshape(len(audio), -1, 40)).mean(1)
"""


def run(folder: Path, spec: str) -> EmbeddedTask:
    (folder / "tones").mkdir(exist_ok=True)
    listed = []
    for i in range(CLIPS):
        path = folder / "tones" / f"{i}.wav"
        if not path.exists():
            soundfile.write(path, noisy_tone(SECONDS, i, 16_000), 16_000)
        listed.append(Clip(f"c{i}", path.name, "tone", f"fold{i}", f"g{i}"))
    source, cache = TaskClips(TASK, listed, folder / "tones"), folder / "cache"
    return embed_task(source, load(spec), cache_dir=cache, workers=0, batch_seconds=SECONDS)


def progress_file(folder: Path) -> Path:
    (result,) = (folder / "cache").rglob("progress.json")
    return result


def test_the_cache_keeps_the_cost_and_asks_the_encoder_nothing(
    tmp_path: Path, write_module
) -> None:
    name = write_module("counted", LINEAR)
    first = run(tmp_path, name)
    counted = importlib.import_module(name)

    calls = counted.calls
    second = run(tmp_path, name)
    # Two embed the fixed noise at every load, two more count the arithmetic once.
    assert (calls, counted.calls) == (2 + CLIPS + 2, 2 + CLIPS + 2 + 2)
    assert second.cost == first.cost
    assert first.cost.parameters == 1 + 3 * 40 + 3
    assert first.cost.gflop_per_second == pytest.approx(2 * 16_000 * 3 / 1e9)
    assert first.cost.real_time_factor == pytest.approx(CLIPS * SECONDS / first.seconds)
    assert first.cost.peak_bytes is not None
    assert first.cost.held_bytes is not None
    assert first.cost.peak_bytes >= first.cost.held_bytes > 50 << 20  # torch alone takes more
    assert first.cost.missing == {}


def test_a_resumed_run_counts_all_sound_and_the_larger_peak(
    tmp_path: Path, write_module, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = write_module("halting", LINEAR)
    monkeypatch.setenv("STOP_AFTER", "4")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, name)
    monkeypatch.delenv("STOP_AFTER")
    kept = json.loads(progress_file(tmp_path).read_text())
    kept["cost"]["peak_bytes"] = 1 << 50
    progress_file(tmp_path).write_text(json.dumps(kept))
    done = run(tmp_path, name)
    assert done.cost.real_time_factor == pytest.approx(CLIPS * SECONDS / done.seconds)
    assert done.cost.peak_bytes == 1 << 50


def test_a_cache_of_an_earlier_version_has_reasons_and_no_figures(
    tmp_path: Path, write_module
) -> None:
    name = write_module("earlier", LINEAR)
    run(tmp_path, name)
    kept = json.loads(progress_file(tmp_path).read_text())
    old = {name: kept[name] for name in ("seconds", "clips", "errors")}
    progress_file(tmp_path).write_text(json.dumps(old))
    cost = run(tmp_path, name).cost
    assert (cost.real_time_factor, cost.peak_bytes) == (None, None)
    assert set(cost.missing) == {"real_time_factor", "peak_bytes"}
    assert "earlier version" in cost.missing["peak_bytes"]
    assert cost.gflop_per_second is not None  # what the model computes can still be counted


def test_a_module_outside_torch_gets_reasons(tmp_path: Path) -> None:
    cost: Cost = run(tmp_path, "baselines.content_random").cost
    assert (cost.parameters, cost.gflop_per_second) == (None, None)
    assert "numpy" in cost.missing["gflop_per_second"]


def test_where_the_peak_cannot_be_set_back_only_a_rise_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "RESET", tmp_path / "no" / "such")
    status = tmp_path / "status"
    monkeypatch.setattr(memory, "STATUS", status)
    status.write_text("VmHWM:\t  204800 kB\n")
    peak, progress = PeakMemory(torch.device("cpu")), Progress()
    assert "hidden below 200 MiB" in str(peak.process_bytes())
    note_run(progress, peak, OtherLoad())
    assert "hidden" in progress.cost["peak_bytes"]
    status.write_text("VmHWM:\t  409600 kB\n")
    assert peak.process_bytes() == 400 << 20
    note_run(progress, peak, OtherLoad())
    assert "hidden" in progress.cost["peak_bytes"]  # a part that is not known makes none of the sum
    status.unlink()
    assert "states no peak" in str(peak.process_bytes())
