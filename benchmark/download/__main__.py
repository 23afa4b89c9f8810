"""Download data sets from their official sources: `python -m benchmark.download esc50 nsynth ...`.

The sets go where `benchmark.run` looks for them. An interrupted download resumes, archives are
verified, and a set gets its name only once all of it is unpacked; until then its folder is
`<name>.download`. VoxCeleb1 and VoxForge cannot be downloaded by a command: it prints instructions.

Exit code: 0 all sets are there; 1 some are not; 2 wrong command line; 130 or 143 interrupted.
"""

if __name__ == "__main__":  # before imports that take seconds
    from wavebyol_hear.files.command import run_command, start_command

    start_command()

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmark.data.clip import BenchmarkError, Corpus, Source, Task
from benchmark.data.listing import presence
from benchmark.data.registry import load_tasks, task_root, unknown
from benchmark.download.extract import ExtractError, archives, unpack
from benchmark.download.transfer import DownloadError, fetch
from wavebyol_hear.files.atomic import LockedError, lock

RECORD = "https://zenodo.org/records/4060432/files"
# FSD50K: name, MD5 and size as on the Zenodo record (soundata has the same checksums). The
# evaluation set is left out: it is the test set of a benchmark, and pretraining never reads it.
FILES = (
    ("FSD50K.ground_truth.zip", "ca27382c195e37d2269c4c866dd73485", 334_701),
    ("FSD50K.metadata.zip", "b9ea0c829a411c1d42adb9da539ed237", 6_700_838),
    ("FSD50K.dev_audio.z01", "faa7cf4cc076fc34a44a479a5ed862a3", 3_221_225_472),
    ("FSD50K.dev_audio.z02", "8f9b66153e68571164fb1315d00bc7bc", 3_221_225_472),
    ("FSD50K.dev_audio.z03", "1196ef47d267a993d30fa98af54b7159", 3_221_225_472),
    ("FSD50K.dev_audio.z04", "d088ac4e11ba53daf9f7574c11cccac9", 3_221_225_472),
    ("FSD50K.dev_audio.z05", "81356521aa159accd3c35de22da28c7f", 3_221_225_472),
    ("FSD50K.dev_audio.zip", "c480d119b8f7a7e32fdb58f3ea4d6c5a", 2_306_663_327),
)

FSD50K = Corpus(
    name="fsd50k",
    title="FSD50K, development set (40,966 clips)",
    licence="CC0, CC BY, CC BY-NC and CC Sampling+ clip by clip; the collection CC BY 4.0",
    citation="E. Fonseca et al., FSD50K: an Open Dataset of Human-Labeled Sound Events, "
    "IEEE/ACM TASLP 30, 2022",
    sources=tuple(Source(f"{RECORD}/{name}", f"md5:{md5}", size) for name, md5, size in FILES),
    layout="FSD50K.dev_audio/, FSD50K.ground_truth/ and FSD50K.metadata/",
)

DAY = 24 * 3600.0
DONE = ".downloaded.json"
"""Stands in a folder that this command filled, with the sources and what was remarked."""


def is_there(data: Corpus, root: Path) -> bool:
    """Say whether a set is complete, however it came there; raise where something else is."""
    if (root / DONE).is_file():
        return True
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    state = "it was not put there by this command"
    if isinstance(data, Task) and (state := presence(data, root)).startswith("there"):
        return True
    raise DownloadError(
        f"{data.name}: {root} holds something already ({state}); move it away or choose another "
        "folder with --data-dir"
    )


def bring(data: Corpus, data_dir: Path | None = None) -> list[str]:
    """Bring a set to where it belongs, or find it there; return lines on it and its archives."""
    root = task_root(data, data_dir)
    work = root.with_name(f"{root.name}.download")
    remarks: list[str] = []
    if not is_there(data, root):
        work.mkdir(parents=True, exist_ok=True)
        try:
            with lock(work / "in-use.lock", data.name, "choose another --data-dir", timeout=DAY):
                if not is_there(data, root):  # brought by another command meanwhile
                    remarks = _fill(data, work, root)
        except LockedError as error:
            raise DownloadError(str(error)) from error
    shutil.rmtree(work, ignore_errors=True)
    state = presence(data, root) if isinstance(data, Task) else f"there: in {root}"
    return [*remarks, f"{data.name}: {state}", f"  licence: {data.licence}"]


def _fill(data: Corpus, work: Path, root: Path) -> list[str]:
    """Fetch and unpack a set, rename its folder, and return what was remarked."""
    fetched = [fetch(source, work / "archives") for source in data.sources]
    remarks = [remark for _, remark in fetched if remark]
    tree = work / "tree"
    shutil.rmtree(tree, ignore_errors=True)  # half unpacked
    for parts in archives([path for path, _ in fetched]):
        try:
            unpack(parts, tree)
        except ExtractError:
            for path in parts:  # the publisher may replace it: the next command fetches it again
                path.unlink(missing_ok=True)
            raise
    kept = {"sources": [source.url for source in data.sources], "remarks": remarks}
    (tree / DONE).write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    tree.replace(root)
    return remarks


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmark.download", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("sets", nargs="+", metavar="SET", help="name of a task, or fsd50k")
    where = "folder of the data sets (default: $WAVEBYOL_DATA or ~/.cache/wavebyol_hear)"
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help=where)
    args = parser.parse_args(arguments)
    known: dict[str, Corpus] = {**load_tasks(), FSD50K.name: FSD50K}
    for name in args.sets:
        if name not in known:
            parser.error(unknown("set", name, known))
    status = 0
    for name in dict.fromkeys(args.sets):
        data = known[name]
        try:
            if isinstance(data, Task) and data.by_hand:
                root = task_root(data, args.data_dir)
                sys.stdout.write(f"{name}: {data.by_hand}; into {root}: {data.layout}\n")
                status = 1 if not presence(data, root).startswith("there") else status
                continue
            sizes = [source.size for source in data.sources]
            total = f"{sum(sizes) / 1e9:.2f} GB" if all(sizes) else "of unpublished size"
            sys.stdout.write(f"{name}: {total} in {len(sizes)} archive(s)\n")
            sys.stdout.write("\n".join(bring(data, args.data_dir)) + "\n")
        except (BenchmarkError, OSError) as error:
            sys.stderr.write(f"error: {error}\n")
            status = 1
    return status


if __name__ == "__main__":
    run_command(main)
