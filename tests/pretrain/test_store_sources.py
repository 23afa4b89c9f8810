"""FSD50K, tar shards and their index become clips with what is known of them."""

import csv
import http.server
import threading
from functools import partial
from pathlib import Path

import pytest
import torch

from pretrain.data.store_build import decode_part
from pretrain.data.store_sources import Meta, SourceError, parts_of
from pretrain.store import main
from tests.pretrain.synthetic_sources import build_here, sound, wav, write_tar


def test_fsd50k_keeps_labels_and_licence_and_leaves_the_test_set_alone(tmp_path: Path) -> None:
    root = tmp_path / "FSD50K"
    for part in ("dev_audio", "eval_audio", "ground_truth", "metadata"):
        (root / f"FSD50K.{part}").mkdir(parents=True)
    for name in ("64760", "16399"):
        (root / "FSD50K.dev_audio" / f"{name}.wav").write_bytes(wav(sound(1, 500), 44_100))
    (root / "FSD50K.eval_audio" / "37199.wav").write_bytes(wav(sound(2, 500), 44_100))
    (root / "FSD50K.ground_truth" / "dev.csv").write_text(
        'fname,labels,mids,split\n64760,"Bark,Dog","/m/05tny_,/m/0bt9lr",train\n16399,Rain,/m/06mb1,val\n'
    )
    (root / "FSD50K.ground_truth" / "eval.csv").write_text(
        "fname,labels,mids\n37199,Rain,/m/06mb1\n"
    )
    (root / "FSD50K.metadata" / "dev_clips_info_FSD50K.json").write_text(
        '{"64760": {"license": "CC0"}, "16399": {"license": "CC BY 4.0"}}'
    )
    store = build_here([str(root)], tmp_path / "store")
    assert store.clip_ids == ("16399", "64760")
    assert store.labels == ("Rain", "Bark,Dog")
    assert store.licences == ("CC BY 4.0", "CC0")
    assert store.sources == ("FSD50K dev (val)", "FSD50K dev (train)")


def test_tar_shards_by_url_hold_what_the_local_ones_hold(tmp_path: Path) -> None:
    served = tmp_path / "served"
    served.mkdir()
    write_tar(
        served / "x-00.tar",
        {"k1.wav": wav(sound(1, 700)), "k1.cls": b"3", "k2.wav": wav(sound(2, 900))},
    )
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(served))
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/x-00.tar"
        far = build_here([url], tmp_path / "far")
        server.shutdown()
    near = build_here([str(served)], tmp_path / "near")
    assert far.clip_ids == near.clip_ids == ("k1", "k2")
    assert far.labels == near.labels == ("3", "")
    assert torch.equal(far.samples, near.samples)
    assert near.lengths.tolist() == [700, 900]


def test_the_index_beside_shards_describes_their_clips(tmp_path: Path) -> None:
    header = ("id", "seconds", "kind", "source", "licence")
    rows = [
        (f"c{i}", f"{0.1 * (i + 1):.3f}", ("speech", "music")[i % 2], f"archive {i}", "CC0")
        for i in range(4)
    ]
    members = {f"{row[0]}.wav": wav(sound(i, 1600 * (i + 1))) for i, row in enumerate(rows)}
    write_tar(tmp_path / "corpus-00.tar", members)
    with (tmp_path / "index.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows, ("of another shard", "9", "x", "y", "z")])
    store = build_here([str(tmp_path / "corpus-00.tar")], tmp_path / "store")
    assert len(store) == 4
    for number, clip_id in enumerate(store.clip_ids):
        row = dict(zip(header, rows[int(clip_id[1:])], strict=True))
        assert store.lengths[number] / 16_000 == pytest.approx(float(row["seconds"]), abs=1e-3)
        assert store.kinds[number] == row["kind"]
        assert store.sources[number] == row["source"]
        assert store.licences[number] == row["licence"]
        assert store.clip(number).float().std() > 10


def test_missing_sources_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "absent"), "--out", str(tmp_path / "store")]) == 1
    assert "absent: no folder, tar shard or URL" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no audio"):
        parts_of(str(tmp_path / "empty"))


def test_a_cut_off_shard_stops_the_build_and_is_named(tmp_path: Path) -> None:
    write_tar(tmp_path / "x.tar", {f"{i}.wav": wav(sound(i, 4000)) for i in range(5)})
    data = (tmp_path / "x.tar").read_bytes()
    (tmp_path / "x.tar").write_bytes(data[:20_000])
    (part,) = parts_of(str(tmp_path / "x.tar"))
    with pytest.raises(Exception, match=r"end of data|x\.tar"):
        decode_part(part, tmp_path / "000000.json")
    assert not (tmp_path / "000000.json").exists()


def test_large_folders_are_cut_into_parts(tmp_path: Path) -> None:
    for i in range(501):
        (tmp_path / f"{i:04d}.wav").touch()
    parts = parts_of(str(tmp_path))
    assert [len(part.files) for part in parts] == [500, 1]
    assert parts[0].default == Meta(source=tmp_path.name)
