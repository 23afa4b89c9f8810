"""Copies planted in a store are found, whatever was done to them; other sounds are not."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmark.data.clip import Clip
from benchmark.leaks import __main__ as leaks
from benchmark.leaks import fingerprint as prints
from benchmark.leaks.fingerprint import HOP, LAG, Fingerprint, FingerprintIndex, fingerprint
from benchmark.leaks.search import EXACT, FORMAT, MIN_SCORE, StoreError, StoreReader, align, find
from pretrain.data.store import Store
from tests.synth import TREES

RATE = 16000


def sound(seed: int, seconds: float) -> np.ndarray:
    """Noise whose spectrum wanders: no two seeds alike, and something to hear in every band."""
    random = np.random.default_rng(seed)
    count = round(seconds * RATE)
    spectrum = np.fft.rfft(random.standard_normal(count))
    out = np.zeros(count)
    for edge in np.geomspace(100, 7000, 12):
        band = np.exp(-(np.log(np.fft.rfftfreq(count, 1 / RATE).clip(1) / edge) ** 2) * 18)
        steps = np.exp(random.standard_normal(int(seconds * 12) + 2))
        envelope = np.interp(np.arange(count), np.arange(len(steps)) * RATE / 12, steps)
        out += envelope * np.fft.irfft(spectrum * band, count)
    return (0.3 * out / np.abs(out).max()).astype(np.float32)


def low_pass(wave: np.ndarray, hertz: float) -> np.ndarray:
    time = np.arange(-128, 129)
    taps = np.sinc(2 * hertz / RATE * time) * np.hamming(257)
    return np.convolve(wave, taps / taps.sum(), "same").astype(np.float32)


def mu_law(wave: np.ndarray) -> np.ndarray:
    """Eight bits a sample, as on a telephone line."""
    squeezed = np.sign(wave) * np.log1p(255 * np.abs(wave)) / np.log(256)
    back = np.round(squeezed * 127) / 127
    return (np.sign(back) * np.expm1(np.abs(back) * np.log(256)) / 255).astype(np.float32)


def noisy(wave: np.ndarray, decibel: float) -> np.ndarray:
    noise = np.random.default_rng(1).standard_normal(len(wave))
    scale = np.sqrt((wave**2).mean() / (noise**2).mean() / 10 ** (decibel / 10))
    return (wave + scale * noise).astype(np.float32)


COPIES = {
    "gain": lambda wave: 0.05 * wave,
    "offset": lambda wave: np.concatenate([sound(900, 0.7313), wave]),
    "low_pass": lambda wave: low_pass(wave, 3000),
    "mu_law": mu_law,
    "noise": lambda wave: noisy(wave, 20),
    "excerpt": lambda wave: wave[7777 : 7777 + round(1.1 * RATE)],
    "within": lambda wave: np.concatenate([sound(901, 3), wave[8000:32000], sound(902, 2)]),
    "all": lambda wave: 0.3 * low_pass(noisy(mu_law(wave[5000:]), 20), 3400),
}


def made_store(folder: Path, waves: dict[str, np.ndarray]) -> Path:
    folder.mkdir(exist_ok=True)
    samples = [np.round(32767 * wave).astype("<i2") for wave in waves.values()]
    np.concatenate(samples).tofile(folder / "samples.i16")
    ends = np.cumsum([len(part) for part in samples])
    with open(folder / "index.csv", "w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["clip_id", "start", "length", "kind", "source", "licence", "labels"])
        for name, part, end in zip(waves, samples, ends, strict=True):
            lines.writerow([name, end - len(part), len(part), "", "made here", "", ""])
    about = {"format": FORMAT, "sample_rate": RATE, "clips": len(waves), "samples": int(ends[-1])}
    (folder / "store.json").write_text(json.dumps(about | {"bad": 0, "hash": "0"}))
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> StoreReader:
    """A store of one copy of sound 1 each way, and of 40 other sounds."""
    folder = tmp_path_factory.mktemp("store")
    waves = {name: copy(sound(1, 4)) for name, copy in COPIES.items()}
    waves |= {f"other{seed}": sound(100 + seed, 1 + seed % 5) for seed in range(40)}
    waves |= {"silence": np.zeros(RATE, np.float32), "short": sound(3, 0.1)}
    return StoreReader(made_store(folder, waves))


def clip(root: Path, name: str, wave: np.ndarray) -> Clip:
    soundfile.write(root / f"{name}.wav", wave, RATE, subtype="PCM_16")
    return Clip(name, f"{name}.wav", "dog", "fold01", name)


def test_the_store_is_read_as_pretrain_reads_it(store: StoreReader) -> None:
    own = Store.open(store.folder)
    assert tuple(store.clip_ids) == own.clip_ids
    for number in range(len(store)):
        assert np.array_equal(store.read(number) * 32768, own.clip(number).numpy())


def test_every_copy_is_found_and_nothing_else(store: StoreReader, tmp_path: Path) -> None:
    clips = [clip(tmp_path, "leaked", sound(1, 4)), clip(tmp_path, "clean", sound(2, 4))]
    result, skipped = find(store, clips, tmp_path)
    assert skipped == []
    assert {leak.clip.clip_id for leak in result} == {"leaked"}
    by_name = {leak.store_clip: leak for leak in result}
    assert set(by_name) == set(COPIES)
    # The beginning of the clip in the copy, to the sample where the waveform is kept.
    begins = {"offset": 0.7313, "excerpt": -7777 / RATE, "within": 2.5, "all": -5000 / RATE}
    for name, leak in by_name.items():
        assert leak.offset == pytest.approx(begins.get(name, 0), abs=1.5 / RATE)
        assert leak.similarity > 0.7
    exact = {name for name, leak in by_name.items() if leak.kind == "exact"}
    assert exact == {"gain", "offset", "excerpt", "within", "mu_law"}


def test_played_backwards_nothing_is_found(store: StoreReader, tmp_path: Path) -> None:
    assert find(store, [clip(tmp_path, "a", sound(1, 4))], tmp_path, backwards=True)[0] == []


def test_silence_and_snippets_are_not_judged(store: StoreReader, tmp_path: Path) -> None:
    clips = [
        clip(tmp_path, "silent", np.zeros(4 * RATE, np.float32)),
        clip(tmp_path, "snippet", sound(1, 0.2)),
        Clip("gone", "gone.wav", "dog", "fold01", "gone"),
    ]
    result, skipped = find(store, clips, tmp_path)
    assert result == []
    assert ["silent" in skipped[0], "snippet" in skipped[1], "no such file" in skipped[2]] == [
        True
    ] * 3


def test_slabs_and_batches_change_nothing(
    store: StoreReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waves = {"1": sound(1, 4), "2": sound(2, 2), "102": sound(102, 3), "104": sound(104, 5)[8000:]}
    clips = [clip(tmp_path, name, wave) for name, wave in waves.items()]
    whole = find(store, clips, tmp_path)
    monkeypatch.setattr("benchmark.leaks.search.SLAB_SECONDS", 10)
    monkeypatch.setattr(prints, "SUBFINGERPRINTS_AT_ONCE", 200)
    assert find(store, clips, tmp_path) == whole
    assert {leak.clip.clip_id for leak in whole[0]} == {"1", "102", "104"}


def test_a_print_is_the_same_after_gain_and_filter() -> None:
    wave = sound(5, 3)
    first, quiet = fingerprint(wave), fingerprint(0.001 * wave)
    assert len(first.subfingerprints) == -(-len(wave) // HOP) - LAG
    assert np.array_equal(first.subfingerprints, quiet.subfingerprints)
    assert first.active.all()
    tilted = np.convolve(wave, [1, -0.9], "same").astype(np.float32)
    wrong = (
        np.bitwise_count(first.subfingerprints ^ fingerprint(tilted).subfingerprints).mean() / 32
    )
    assert wrong < 0.05
    other = (
        np.bitwise_count(first.subfingerprints ^ fingerprint(sound(6, 3)).subfingerprints).mean()
        / 32
    )
    assert 0.4 < other < 0.6


def test_the_index_finds_what_brute_force_finds() -> None:
    random = np.random.default_rng(0)

    def bits(count: int) -> Fingerprint:
        subfingerprints = random.integers(0, 1 << 32, count, dtype=np.uint32)
        return Fingerprint(subfingerprints, random.random(count) > 0.1)

    entries = [bits(int(n)) for n in random.integers(35, 60, 12)]
    query = bits(40)
    copy = entries[7].subfingerprints[5:35].copy()
    copy[::3] ^= np.uint32(1 << 5)
    query.subfingerprints[4:34] = copy
    query.active[4:34] = entries[7].active[5:35] = True
    best = (0.0, 0, 0, 0)
    for number, entry in enumerate(entries):
        for offset in range(-40, len(entry.subfingerprints)):
            for first in range(40):
                right = subfingerprints = 0
                for i in range(first, 40):
                    j = i + offset
                    if 0 <= j < len(entry.subfingerprints) and query.active[i] and entry.active[j]:
                        right += (
                            32
                            - int(query.subfingerprints[i] ^ entry.subfingerprints[j]).bit_count()
                        )
                        subfingerprints += 1
                    if i - first + 1 in (*prints.STRETCHES, 40) and subfingerprints >= 16:
                        score = 2 * (right / 32 / subfingerprints - 0.5) * subfingerprints**0.5
                        best = max(best, (score, number, offset, first))
    (result,) = FingerprintIndex(entries).search([query], MIN_SCORE)
    assert (result.entry, result.offset, result.first) == best[1:]
    assert result.score == pytest.approx(best[0])
    assert result.offset == 1


def test_waves_are_aligned_to_the_sample() -> None:
    wave = sound(8, 3)
    for true, rough in ((0, 300), (1234, 1000), (-4321, -4000)):
        entry = np.concatenate([sound(9, 2)[:true], wave]) if true >= 0 else wave[-true:]
        begin = max(0, -true) + HOP
        best, correlation, _ = align(wave, -0.5 * entry, rough, begin, begin + RATE)
        assert best == true
        assert correlation > EXACT


def test_the_command_lists_the_leaks(
    store: StoreReader, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    TREES["esc50"](tmp_path / "esc50")
    audio = tmp_path / "esc50/ESC-50-master/audio"
    soundfile.write(audio / "2-2000-A-0.wav", sound(1, 4), RATE, subtype="PCM_16")
    asked = [str(store.folder), "esc50", "--data-dir", str(tmp_path)]
    assert leaks.main([*asked, "--out", str(tmp_path / "leaks.csv")]) == 1
    said = capsys.readouterr().out
    assert "1 of 1 clips are in the store (fold02 1)" in said
    assert "29 clips were not looked for" in said  # the tree's tones last 0.1 s
    with open(tmp_path / "leaks.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(COPIES)
    assert {line["kind"] for line in rows} == {"exact", "near"}
    assert {line["clip"] for line in rows} == {"2-2000-A-0.wav"}
    assert leaks.main([*asked, "--reversed"]) == 0
    assert "0 of 1 clips are in the store\n" in capsys.readouterr().out
    (audio / "2-2000-A-0.wav").unlink()  # all that are left are too short
    assert leaks.main(asked) == 2
    assert "no clip of esc50 was there to look for" in capsys.readouterr().err


def test_what_is_no_store_is_told(
    store: StoreReader, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    TREES["esc50"](tmp_path / "esc50")
    assert leaks.main([str(tmp_path), "esc50", "--data-dir", str(tmp_path)]) == 2
    assert "pretrain.store" in capsys.readouterr().err
    for name in ("index.csv", "samples.i16"):
        (tmp_path / name).write_bytes((store.folder / name).read_bytes())
    about = json.loads((store.folder / "store.json").read_text())
    (tmp_path / "store.json").write_text(json.dumps(about | {"clips": 3}))
    with pytest.raises(StoreError, match="rebuild"):
        StoreReader(tmp_path)
    assert leaks.main([str(store.folder), "esc50", "--data-dir", str(tmp_path / "x")]) == 2


@pytest.mark.parametrize("seconds", [0.7, 1.0, 2.0])
@pytest.mark.parametrize("place", [0.0, 0.4, 1.0])
def test_a_store_of_excerpts_only_is_a_leak_and_no_traceback(
    tmp_path: Path, seconds: float, place: float
) -> None:
    """Clips of the task are longer than the store's, which hold their beginning, middle or end."""
    waves = [sound(20 + number, 5) for number in range(6)]
    size = round(seconds * RATE)
    begin = round(place * (5 * RATE - size))
    cuts = {f"cut{i}": wave[begin : begin + size] for i, wave in enumerate(waves)}
    folder = made_store(tmp_path / "s", cuts)
    clips = [clip(tmp_path, f"whole{i}", wave) for i, wave in enumerate(waves)]
    leaks_found, skipped = find(StoreReader(folder), clips, tmp_path)
    assert skipped == []
    right = {(f"whole{i}", f"cut{i}") for i in range(6)}
    pairs = {(leak.clip.clip_id, leak.store_clip) for leak in leaks_found}
    assert pairs <= right
    assert len(pairs) >= (6 if seconds > 1 else 4)
    for leak in leaks_found:
        assert leak.offset == pytest.approx(-begin / RATE, abs=1.5 / RATE)
        assert leak.correlation > EXACT
        assert 0 < leak.seconds <= seconds + 1e-9


def test_a_stretch_that_only_one_clip_has_is_not_compared() -> None:
    wave = sound(30, 4)
    cut = wave[RATE : 2 * RATE]
    best, correlation, _ = align(wave, cut, -RATE + 100, 0, 4 * RATE)
    assert best == -RATE
    assert correlation > EXACT
    assert align(wave, cut, 5 * RATE, 0, RATE) == (5 * RATE, 0.0, 0)


@pytest.mark.parametrize("seal", ["[]", "7", "[" * 100_000])
def test_a_seal_of_another_shape_is_one_line(
    seal: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "store.json").write_text(seal)
    (tmp_path / "index.csv").write_text("clip_id,start,length,source\n")
    (tmp_path / "samples.i16").touch()
    assert leaks.main([str(tmp_path), "notes", "--data-dir", str(tmp_path / "x")]) == 2
    error = capsys.readouterr().err
    assert str(tmp_path) in error
    assert error.count("\n") == 1
