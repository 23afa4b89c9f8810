"""Bring data sets from their official sources: `python -m benchmark.download esc50 nsynth ...`.

A set lands where `benchmark.run` looks for it. An interrupted transfer goes on where it was, each
archive is verified, and a set appears under its name only when all of it is unpacked; until then
it is in `<name>.download` beside. VoxCeleb1 and VoxForge cannot be fetched by a command: they get
instructions.

Exit code: 0 when every set is there; 1 when one is not; 2 when the command line is wrong; 130 when
interrupted.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmark.data.clip import Corpus, Task, TaskDataError
from benchmark.data.registry import completeness, data_folder, load_tasks, task_root
from benchmark.download.extract import ExtractError, archives, unpack
from benchmark.download.fsd50k import FSD50K
from benchmark.download.transfer import DownloadError, fetch
from benchmark.listing import presence

DONE = ".downloaded.json"
"""Stands in a folder that this command filled, with the sources and what was remarked."""


def root_of(data: Task | Corpus, data_dir: Path | None) -> Path:
    """Return the folder a set belongs in."""
    return (
        task_root(data, data_dir) if isinstance(data, Task) else data_folder(data_dir) / data.name
    )


def is_there(data: Task | Corpus, root: Path) -> bool:
    """Say whether a set is complete, brought by this command or otherwise.

    Raises:
        DownloadError: the folder holds something else.
    """
    if (root / DONE).is_file():
        return True
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    lacks = "it was not put there by this command"
    if isinstance(data, Task):
        try:
            lack = completeness(data, data.index(root), root)
        except TaskDataError as error:
            lack = str(error)
        if lack is None:
            return True
        lacks = lack
    raise DownloadError(
        f"{data.name}: {root} holds something already ({lacks}); move it away or choose another "
        "folder with --data-dir"
    )


def bring(data: Task | Corpus, data_dir: Path | None = None) -> list[str]:
    """Bring a set to where it belongs, or find it there.

    Args:
        data: the set.
        data_dir: folder of the data sets; None takes the default.

    Returns:
        lines on what was found and remarked.

    Raises:
        DownloadError: a transfer failed, or the place is taken.
        ExtractError: an archive must not or cannot be unpacked.
        OSError: the disk is full or may not be written.
    """
    root = root_of(data, data_dir)
    work = root.with_name(f"{root.name}.download")
    remarks: list[str] = []
    if not is_there(data, root):
        files = []
        for source in data.sources:
            path, remark = fetch(source, work / "archives")
            files.append(path)
            remarks += [remark] if remark else []
        tree = work / "tree"
        shutil.rmtree(tree, ignore_errors=True)  # half unpacked
        for parts in archives(files):
            unpack(parts, tree)
        kept = {"sources": [source.url for source in data.sources], "remarks": remarks}
        (tree / DONE).write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        tree.replace(root)
    shutil.rmtree(work, ignore_errors=True)
    state = presence(data, root) if isinstance(data, Task) else f"complete in {root}"
    return [*remarks, f"{data.name}: {state}", f"  licence: {data.licence}"]


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="benchmark.download", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("sets", nargs="+", metavar="SET", help="a task, or fsd50k")
    parser.add_argument(
        "--data-dir",
        type=Path,
        help="folder of the data sets, as of benchmark.run (default: $WAVEBYOL_DATA or "
        "~/.cache/wavebyol_hear)",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    Args:
        arguments: of the command line; None takes the process's own.
    """
    parser = build_parser()
    given = parser.parse_args(arguments)
    known: dict[str, Task | Corpus] = {**load_tasks(), FSD50K.name: FSD50K}
    for name in given.sets:
        if name not in known:
            parser.error(f"unknown set {name!r}: the sets are {', '.join(known)}")
    status = 0
    for name in dict.fromkeys(given.sets):
        data = known[name]
        try:
            if isinstance(data, Task) and data.by_hand:
                root = root_of(data, given.data_dir)
                sys.stdout.write(f"{name}: {data.by_hand}; the place: {root}: {data.layout}\n")
                status = 1 if not presence(data, root).startswith("complete") else status
                continue
            sizes = [source.size for source in data.sources]
            total = f"{sum(sizes) / 1e9:.2f} GB" if all(sizes) else "of unpublished size"
            sys.stdout.write(f"{name}: {total} in {len(sizes)} archive(s)\n")
            sys.stdout.write("\n".join(bring(data, given.data_dir)) + "\n")
        except (DownloadError, ExtractError, OSError) as error:
            sys.stderr.write(f"error: {error}\n")
            status = 1
        except KeyboardInterrupt:
            sys.stderr.write("interrupted: the same command goes on where it was\n")
            return 130
    return status


if __name__ == "__main__":
    sys.exit(main())
