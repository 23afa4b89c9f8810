"""Shards read while training: a step has the same clips whenever it is asked for, and all come."""

import subprocess
import sys
import threading
from collections import Counter
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

import pretrain.data.stream
import pretrain.distributed
from pretrain.config import read_config
from pretrain.data.store import Store
from pretrain.data.store_sources import SourceError
from pretrain.data.stream import ShardStream
from pretrain.train import train
from pretrain.views import open_stream
from tests.pretrain.processes import both_done
from tests.pretrain.synthetic_sources import sound, wav, write_tar
from wavebyol_hear.checkpoint import load_weights

CPU = torch.device("cpu")
SHARDS, CLIPS = 6, 10
SHORT = ("optim.batch=4", "optim.warmup=0", "encoder.crop_samples=2560", "run.log_every=2")
STREAM = ("stream.shard_clips=8", "stream.held_shards=2", "stream.crops_per_clip=2")


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six shards of ten clips, whose names say where they are from."""
    root = tmp_path_factory.mktemp("shards")
    for shard in range(SHARDS):
        clips = {
            f"s{shard}c{clip}.wav": wav(sound(100 * shard + clip, 3000 + 100 * clip))
            for clip in range(CLIPS)
        }
        write_tar(root / f"shard-{shard}.tar", clips)
    return root


def config(*sets: str):
    return read_config("tiny", None, [*SHORT, *STREAM, *sets])


def drawn(stream: ShardStream, step: int) -> list[str]:
    """Return the names of the clips of a step."""
    store, clips = stream.at(step)
    return [store.clip_ids[i] for i in clips.tolist()]


def test_a_step_draws_the_same_clips_whenever_it_is_asked(shards: Path) -> None:
    once, later = (open_stream([str(shards)], config()) for _ in range(2))
    steps = [drawn(once, step) for step in range(12)]
    assert once.round_steps == 4
    assert drawn(later, 9) == steps[9]
    assert drawn(later, 2) == steps[2]
    other = open_stream([str(shards)], config("seed=1"))
    assert [drawn(other, step) for step in range(4)] != steps[:4]


def test_clips_of_a_batch_are_different_and_each_gets_its_share_of_crops(shards: Path) -> None:
    stream = open_stream([str(shards)], config())
    batches = [drawn(stream, step) for step in range(4 * SHARDS)]
    assert all(len(set(batch)) == 4 for batch in batches)
    counts = Counter(name for batch in batches for name in batch)
    assert len({name[:2] for name in counts}) == SHARDS
    # Two crops per clip and time around, of eight in ten clips a shard.
    assert sum(counts.values()) == 4 * 4 * SHARDS
    assert max(counts.values()) <= 4


def test_processes_hold_different_shards_and_together_all(
    shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrain.distributed, "world", lambda: 2)
    held: dict[int, list[set[str]]] = {}
    for rank in range(2):
        for module in (pretrain.data.stream, pretrain.distributed):
            monkeypatch.setattr(module, "rank", lambda rank=rank: rank)
        monkeypatch.setattr(pretrain.data.stream, "world", lambda: 2)
        stream = open_stream([str(shards)], config("stream.held_shards=1"))
        rounds = range(0, 3 * stream.round_steps, stream.round_steps)
        held[rank] = [{name[:2] for name in stream.at(step)[0].clip_ids} for step in rounds]
        assert len(stream.at(0)[1]) == 2  # of a batch of four
    assert all(not one & two for one, two in zip(held[0], held[1], strict=True))
    assert len(set.union(*held[0], *held[1])) == SHARDS


def test_a_shard_that_cannot_be_read_is_left_out_with_a_warning(
    shards: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cut = tmp_path / "cut.tar"
    cut.write_bytes((shards / "shard-0.tar").read_bytes()[:9000])
    sets = config("stream.retry_seconds=0")
    stream = open_stream([str(cut), str(shards / "shard-1.tar")], sets)
    assert {name[:2] for name in stream.at(0)[0].clip_ids} == {"s1"}
    assert f"{cut}: try 3 of 3" in caplog.text
    with pytest.raises(SourceError, match="no clip of the shards"):
        open_stream([str(cut)], sets).at(0)


def test_a_damaged_clip_costs_itself(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clips = {f"c{i}.wav": wav(sound(i, 3000)) for i in range(6)}
    write_tar(tmp_path / "a.tar", {**clips, "c9.wav": b"RIFF of nothing"})
    stream = open_stream([str(tmp_path / "a.tar")], config())
    assert stream.at(0)[0].clip_ids == tuple(sorted(f"c{i}" for i in range(6)))
    assert "c9" in caplog.text


def test_shards_by_url_with_braces_and_loose_files(shards: Path, tmp_path: Path) -> None:
    handler = partial(SimpleHTTPRequestHandler, directory=str(shards))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/shard-{{0..2}}.tar"
        stream = open_stream([url], config())
        local = open_stream([str(shards / "shard-{0..2}.tar")], config())
        assert len(stream.shards) == 3
        assert [drawn(stream, i) for i in range(4)] == [drawn(local, i) for i in range(4)]
        server.shutdown()
    (tmp_path / "a.wav").write_bytes(wav(sound(0, 100)))
    with pytest.raises(SourceError, match="make a store of loose files"):
        open_stream([str(tmp_path)], config())


def test_training_stopped_and_resumed_equals_training_in_one_go(
    shards: Path, tmp_path: Path
) -> None:
    constant = "optim.schedule=constant", "byol.tau=0.99", "byol.tau_final=0.99"

    def run(steps: int, out: str) -> Path:
        settings = config(f"optim.steps={steps}", *constant)
        return train(settings, open_stream([str(shards)], settings), tmp_path / out, CPU)

    whole = load_weights(run(10, "whole"))
    run(6, "parts")
    parts = load_weights(run(10, "parts"))
    for name, one in whole.encoder.state_dict().items():
        assert torch.equal(one, parts.encoder.state_dict()[name]), name
    assert whole.whitenings.keys() == parts.whitenings.keys() != set()
    assert whole.provenance["data_shards"] == SHARDS


def test_the_command_trains_from_shards(shards: Path, tmp_path: Path) -> None:
    sets = [word for each in (*SHORT, *STREAM, "optim.steps=2") for word in ("--set", each)]
    words = [sys.executable, "-m", "pretrain", str(shards), "--stream", "--out", str(tmp_path)]
    done = subprocess.run(
        [*words, "--preset", "tiny", *sets], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "weights.safetensors").is_file()


def test_two_processes_resume_from_what_the_first_one_sees(store: Path, tmp_path: Path) -> None:
    sets = [*SHORT, "optim.schedule=constant", "byol.loss=infonce"]
    train(config(*sets[len(SHORT) :], "optim.steps=2"), Store.open(store), tmp_path / "0", CPU)
    arguments = [tmp_path / "meet", store, tmp_path, *sets, *STREAM, "optim.steps=4"]
    assert both_done("process_of_two_resume.py", *arguments, timeout=120)
    for number in range(2):
        seen = torch.load(tmp_path / str(number) / "seen.pt", weights_only=True)
        assert seen == {"step": 4, "error": "only the first process saw this"}
