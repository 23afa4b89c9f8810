"""Building a store: decode every part once, in parallel, then join the parts into few files.

A build may be killed at any moment. A part is done when its record (a JSON file, renamed into
place last) lies in `parts/`; a joined part's samples are deleted at once, so the build needs
little more room than the store itself. The same command goes on where it was.
"""

import csv
import hashlib
import io
import json
import multiprocessing
import os
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from pretrain.data.store_sources import Part, SourceError, parts_of
from pretrain.data.workers import blocked_signals, die_with_parent, stopping
from wavebyol_hear.audio import read_audio
from wavebyol_hear.files.atomic import lock, write_text
from wavebyol_hear.files.command import readable

FORMAT = "wavebyol-store/1"
SAMPLE_RATE = 16_000
COLUMNS = ("clip_id", "start", "length", "kind", "source", "licence", "labels")
_seen: Any = None  # in a worker: how many clips all workers have seen, for the progress bar


def decode(audio: Path | bytes) -> NDArray[np.int16]:
    """Decode one clip to 16 kHz mono int16.

    Args:
        audio: an audio file or its bytes.

    Shape:
        returns [n], int16, n >= 1.

    Raises:
        AudioError: if it cannot be decoded, is cut off, is empty or holds a non-finite sample.
    """
    if isinstance(audio, Path) and readable(str(audio)) != str(audio):
        audio = audio.read_bytes()  # libsndfile takes no name that is no UTF-8
    source = io.BytesIO(audio) if isinstance(audio, bytes) else audio
    mono = read_audio(source, SAMPLE_RATE)
    # 32767 on both sides: a symmetric scale keeps silence at 0 and full scale unclipped
    samples: NDArray[np.int16] = np.rint(np.clip(mono, -1.0, 1.0) * 32767.0).astype(np.int16)
    return samples


def build(
    sources: list[str],
    out: Path,
    workers: int,
    part: tuple[int, int] = (0, 1),
    max_bytes: float = 4e9,
) -> dict[str, Any]:
    """Decode the sources into a store and return the store's own description.

    Args:
        sources: as of `parts_of`.
        out: the store's folder, made if need be.
        workers: decoding processes, at least 1.
        part: i and n: the store holds every n-th part of the sources from the i-th on.
        max_bytes: of a file of samples; a part of the sources that is larger is a file of its own.

    Raises:
        SourceError: if a source is missing, a part could not be read to its end, no clip could be
            decoded, or `out` holds a store of other sources.
        LockedError: another process is building there.
    """
    whole = [each for source in sources for each in parts_of(source)]
    number, count = part
    parts = whole[number::count]
    if not parts:
        raise SourceError(f"part {number}/{count}: the sources have {len(whole)} parts only")
    plan = hashlib.sha256(
        json.dumps([(each.name, each.files, each.tar, each.stamp) for each in parts]).encode()
    ).hexdigest()
    plan_file, seal, work = out / "plan.txt", out / "store.json", out / "parts"
    if plan_file.is_file() and plan_file.read_text() != plan:
        raise SourceError(
            f"{out}: holds a store of other sources (or they have changed); "
            f"choose another --out, or delete it"
        )
    if seal.is_file():
        if not plan_file.is_file():
            raise SourceError(
                f"{out}: plan.txt is gone, which says of what sources this store is; choose "
                "another --out, or delete it"
            )
        return dict(json.loads(seal.read_text()))
    out.mkdir(parents=True, exist_ok=True)
    with lock(out / "store.lock", "the store", "choose another --out"):
        write_text(plan_file, plan)
        work.mkdir(exist_ok=True)
        _decode_parts(parts, work, workers)
        return _join(len(parts), out, work, max_bytes)


def _decode_parts(parts: list[Part], work: Path, workers: int) -> None:
    """Decode the parts that have no record yet."""
    left = [(i, part) for i, part in enumerate(parts) if not _record(work, i).is_file()]
    if not left:
        return
    context = multiprocessing.get_context("spawn")
    seen = context.Value("q", 0)
    known = [len(part.files) or len(part.meta) for _, part in left]
    total = sum(known) if all(known) else None
    failed: list[str] = []
    pool = ProcessPoolExecutor(workers, context, _start_worker, (seen,))
    with tqdm(total=total, unit="clip", desc="decode") as bar, stopping(pool):
        with blocked_signals():  # inherited by the workers, which the first job starts
            waiting: dict[Future[str], Part] = {
                pool.submit(_try_part, part, _record(work, i)): part for i, part in left
            }
        while waiting:
            done, _ = wait(waiting, timeout=0.3, return_when=FIRST_COMPLETED)
            bar.update(seen.value - bar.n)
            for future in done:
                part = waiting.pop(future)
                error = future.exception()
                reason = future.result() if error is None else f"{type(error).__name__}: {error}"
                if reason:
                    failed.append(f"{part.name}: {reason}")
    if failed:
        raise SourceError(
            f"{len(failed)} of {len(parts)} parts could not be read to their end; run the same "
            f"command again to go on, or leave them out: " + "; ".join(failed[:5])
        )


def _start_worker(seen: Any) -> None:  # noqa: ANN401  (a multiprocessing.Value has no public type)
    """Take the shared counter."""
    global _seen
    _seen = seen
    die_with_parent()


def _record(work: Path, number: int) -> Path:
    return work / f"{number:06d}.json"


def _try_part(part: Part, record: Path) -> str:
    """Decode one part; return why it failed, as text: not every error can leave a process."""
    try:
        decode_part(part, record)
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return ""


def decode_part(part: Part, record: Path) -> None:
    """Decode one part to raw int16 samples beside its record; the record is written last.

    Raises:
        OSError: the part, or a clip's file, cannot be read now; a clip that is read and is no
            audio is noted in the record instead.
    """
    rows: list[list[Any]] = []
    bad: list[tuple[str, str]] = []
    digest = hashlib.sha256()
    half = record.with_suffix(".half")
    half.unlink(missing_ok=True)
    with half.open("xb") as samples:
        for raw in part.clips():
            try:
                wave = decode(raw.audio)
            except ValueError as error:
                _check_readable(raw.audio)
                bad.append((f"{part.tar or part.name}:{raw.clip_id}", str(error)))
            else:
                data = wave.tobytes()
                samples.write(data)
                digest.update(data)
                rows.append([raw.clip_id, len(wave), *asdict(raw.meta).values()])
            if _seen is not None:
                with _seen.get_lock():
                    _seen.value += 1
        samples.flush()
        os.fsync(samples.fileno())
    half.replace(record.with_suffix(".i16"))
    write_text(record, json.dumps({"rows": rows, "bad": bad, "samples_sha256": digest.hexdigest()}))


def _check_readable(audio: Path | bytes) -> None:
    """Raise the OSError that keeps a file from being read, such as EIO, where it may pass.

    What a decoder says of such a file is no verdict about its content. A file that is gone or
    closed to us stays so and is left to the decoder's message.
    """
    if isinstance(audio, Path):
        with suppress(FileNotFoundError, PermissionError), audio.open("rb") as file:
            while file.read(1 << 20):
                pass


def _join(n_parts: int, out: Path, work: Path, max_bytes: float) -> dict[str, Any]:
    """Append the parts to files in order, then write index, list of bad files, and seal."""
    records = [json.loads(_record(work, i).read_text()) for i in range(n_parts)]
    sizes = [2 * sum(row[1] for row in record["rows"]) for record in records]
    if not sum(sizes):
        reasons = [f"{name}: {reason}" for record in records for name, reason in record["bad"]]
        raise SourceError(f"no clip could be decoded; {(reasons or ['the sources are empty'])[0]}")
    plan = work / "files.txt"
    if not plan.is_file():  # a join that goes on keeps to the files it began with
        write_text(plan, json.dumps(_parts_of_files(sizes, max_bytes)))
    files = []
    for number, parts in enumerate(json.loads(plan.read_text())):
        name = f"samples-{number:03}.i16" if number else "samples.i16"
        _join_file(out / name, {work / f"{i:06d}.i16": sizes[i] for i in parts})
        files.append([name, sum(sizes[i] for i in parts) // 2])
    return _seal(records, files, out, work)


def _parts_of_files(sizes: list[int], max_bytes: float) -> list[list[int]]:
    """Return the parts of each file: as many as fit, one at least."""
    files, room = list[list[int]](), 0.0
    for number, size in enumerate(sizes):
        if not files or size > room:
            files.append([])
            room = max_bytes
        files[-1].append(number)
        room -= size
    return files


def _join_file(joined: Path, parts: dict[Path, int]) -> None:
    """Append parts, of so many bytes each, to a file, and delete each as soon as it is there."""
    with joined.open("r+b" if joined.is_file() else "w+b") as whole:
        there, end = whole.seek(0, os.SEEK_END), 0
        for samples, size in parts.items():
            end += size
            # A part that is wholly in the joined file is passed over, a half-joined one is redone
            if there < end:
                whole.seek(end - size)
                whole.truncate()
                with samples.open("rb") as part:
                    while block := part.read(1 << 24):
                        whole.write(block)
                whole.flush()
                os.fsync(whole.fileno())
            samples.unlink(missing_ok=True)


def _seal(
    records: list[dict[str, Any]], files: list[list[Any]], out: Path, work: Path
) -> dict[str, Any]:
    """Write index.csv, bad.tsv and, last, store.json; then drop the records."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(COLUMNS)
    start = clips = 0
    for clip_id, length, *meta in (row for record in records for row in record["rows"]):
        writer.writerow([clip_id, start, length, *meta])
        start, clips = start + length, clips + 1
    bad = [entry for record in records for entry in record["bad"]]
    write_text(out / "index.csv", table.getvalue())
    lines = "".join(f"{name}\t{' '.join(reason.split())}\n" for name, reason in bad)
    write_text(out / "bad.tsv", lines.encode("utf-8", "backslashreplace").decode())
    digest = hashlib.sha256(table.getvalue().encode())
    for record in records:
        digest.update(record["samples_sha256"].encode())
    sealed = {
        "format": FORMAT,
        "sample_rate": SAMPLE_RATE,
        "clips": clips,
        "samples": start,
        "files": files,
        "bad": len(bad),
        "hash": digest.hexdigest(),
        "parts": [[sum(r[1] for r in rec["rows"]), rec["samples_sha256"]] for rec in records],
    }
    write_text(out / "store.json", json.dumps(sealed, indent=1) + "\n")
    for record_file in work.glob("*"):
        record_file.unlink()
    work.rmdir()
    return sealed
