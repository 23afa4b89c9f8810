"""Building a store: decode every part once, in parallel, then join the parts into one file.

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
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from pretrain.data.store_sources import Part, SourceError, parts_of
from wavebyol_hear.audio import read_audio

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
    source = io.BytesIO(audio) if isinstance(audio, bytes) else audio
    mono = read_audio(source, SAMPLE_RATE)
    # 32767 on both sides: a symmetric scale keeps silence at 0 and full scale unclipped
    samples: NDArray[np.int16] = np.rint(np.clip(mono, -1.0, 1.0) * 32767.0).astype(np.int16)
    return samples


def build(sources: list[str], out: Path, workers: int) -> dict[str, Any]:
    """Decode the sources into a store and return the store's own description.

    Args:
        sources: see `parts_of`.
        out: the store's folder, made if need be.
        workers: decoding processes, at least 1.

    Raises:
        SourceError: if a source is missing, a part could not be read to its end, no clip could be
            decoded, or `out` holds a store of other sources.
    """
    parts = [part for source in sources for part in parts_of(source)]
    plan = hashlib.sha256(
        json.dumps([(part.name, part.files, part.tar) for part in parts]).encode()
    ).hexdigest()
    work = out / "parts"
    plan_file = out / "plan.txt"
    out.mkdir(parents=True, exist_ok=True)
    if plan_file.is_file() and plan_file.read_text() != plan:
        raise SourceError(
            f"{out}: holds a store of other sources (or they have changed); "
            f"choose another --out, or delete it"
        )
    plan_file.write_text(plan)
    if (out / "store.json").is_file():
        return dict(json.loads((out / "store.json").read_text()))
    work.mkdir(exist_ok=True)
    _decode_parts(parts, work, workers)
    return _join(len(parts), out, work)


def _decode_parts(parts: list[Part], work: Path, workers: int) -> None:
    """Decode the parts that have no record yet."""
    left = [(i, part) for i, part in enumerate(parts) if not _record(work, i).is_file()]
    if not left:
        return
    context = multiprocessing.get_context("spawn")
    seen = context.Value("q", 0)
    known = [len(part.files) or len(part.meta) for _, part in left]
    failed: list[str] = []
    with (
        tqdm(total=sum(known) if all(known) else None, unit="clip", desc="decode") as bar,
        ProcessPoolExecutor(workers, context, _start_worker, (seen,)) as pool,
    ):
        waiting: dict[Future[None], Part] = {
            pool.submit(decode_part, part, _record(work, i)): part for i, part in left
        }
        while waiting:
            done, _ = wait(waiting, timeout=0.3, return_when=FIRST_COMPLETED)
            bar.update(seen.value - bar.n)
            for future in done:
                part = waiting.pop(future)
                error = future.exception()
                if error is not None:
                    failed.append(f"{part.name}: {type(error).__name__}: {error}")
    if failed:
        raise SourceError(
            f"{len(failed)} of {len(parts)} parts could not be read to their end; run the same "
            f"command again to go on, or leave them out: " + "; ".join(failed[:5])
        )


def _start_worker(seen: Any) -> None:  # noqa: ANN401  (a multiprocessing.Value has no public type)
    """Take the shared counter, and die with the parent: an orphan would write beside its heir."""
    global _seen
    _seen = seen
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_die_with, args=(parent,), daemon=True).start()


def _die_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def _record(work: Path, number: int) -> Path:
    return work / f"{number:06d}.json"


def decode_part(part: Part, record: Path) -> None:
    """Decode one part to raw int16 samples beside its record; the record is written last."""
    rows: list[list[Any]] = []
    bad: list[tuple[str, str]] = []
    digest = hashlib.sha256()
    half = record.with_suffix(".half")
    with half.open("wb") as samples:
        for raw in part.clips():
            try:
                wave = decode(raw.audio)
            except ValueError as error:
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
    _write_beside(
        record, json.dumps({"rows": rows, "bad": bad, "samples_sha256": digest.hexdigest()})
    )


def _join(n_parts: int, out: Path, work: Path) -> dict[str, Any]:
    """Append the parts to samples.i16 in order, then write index, list of bad files, and seal."""
    records = [json.loads(_record(work, i).read_text()) for i in range(n_parts)]
    sizes = [2 * sum(row[1] for row in record["rows"]) for record in records]
    if not sum(sizes):
        raise SourceError(f"no clip could be decoded; first reason: {records[0]['bad'][:1]}")
    joined = out / "samples.i16"
    with joined.open("r+b" if joined.is_file() else "w+b") as whole:
        there, end = whole.seek(0, os.SEEK_END), 0
        for i, size in enumerate(sizes):
            end += size
            samples = work / f"{i:06d}.i16"
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
    return _seal(records, out, work)


def _seal(records: list[dict[str, Any]], out: Path, work: Path) -> dict[str, Any]:
    """Write index.csv, bad.tsv and, last, store.json; then drop the records."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(COLUMNS)
    start = clips = 0
    for clip_id, length, *meta in (row for record in records for row in record["rows"]):
        writer.writerow([clip_id, start, length, *meta])
        start, clips = start + length, clips + 1
    bad = [entry for record in records for entry in record["bad"]]
    _write_beside(out / "index.csv", table.getvalue())
    _write_beside(out / "bad.tsv", "".join(f"{name}\t{reason}\n" for name, reason in bad))
    digest = hashlib.sha256(table.getvalue().encode())
    for record in records:
        digest.update(record["samples_sha256"].encode())
    sealed = {
        "format": FORMAT,
        "sample_rate": SAMPLE_RATE,
        "clips": clips,
        "samples": start,
        "bad": len(bad),
        "hash": digest.hexdigest(),
    }
    _write_beside(out / "store.json", json.dumps(sealed, indent=1) + "\n")
    for record_file in work.glob("*"):
        record_file.unlink()
    work.rmdir()
    return sealed


def _write_beside(path: Path, text: str) -> None:
    """Write a text file so that it is whole or absent."""
    half = path.with_name(path.name + ".half")
    half.write_text(text, encoding="utf-8")
    half.replace(path)
