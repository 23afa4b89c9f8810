"""A page with a map of embedded files, whose points play: `wavebyol map DIR`.

The page is one HTML file that loads nothing but the audio that its points name. A name is text
there: the template escapes it, and what the script gets is JSON without markup.
"""

import argparse
import base64
import functools
import hashlib
import importlib.util
import itertools
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import torch

from wavebyol_hear.files.atomic import write_text
from wavebyol_hear.files.extras import require
from wavebyol_hear.files.stores import is_remote

FOLDER = Path(__file__).parent / "map_page"
GROUPS = 9  #: colors of the page; the clips of all further groups share one
COMPONENTS = 50  #: principal components that UMAP is given
DIGITS = 4
METHODS = ("auto", "umap", "pca")


class MapError(ValueError):
    """A map that cannot be drawn as asked for: one line with the remedy."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `wavebyol map` takes."""
    parser.add_argument("folder", metavar="DIR", help="output folder of `wavebyol embed`")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="HTML page to write (default: DIR/map.html, or ./map.html where DIR is a URL)",
    )
    parser.add_argument(
        "--color",
        default="folder",
        metavar="BY",
        help="color by `folder` (the top-level folder of each file), `parent` (the folder that "
        "holds it), or a column of the index (default: folder)",
    )
    parser.add_argument(
        "--method", choices=METHODS, default="auto", help="projection; auto: UMAP if installed"
    )
    parser.add_argument(
        "--points", type=int, default=20_000, metavar="N", help="maximum points (default: 20000)"
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: 0)")


def run(args: argparse.Namespace) -> int:
    """Write the page and say where it is; return the exit status.

    Raises:
        MapError: there is no such column, or UMAP is asked for and not installed.
        EmbeddingsError: the folder holds no embeddings.
        MissingExtraError: the extra `files` or `map` is not installed.
        OSError: the page cannot be written.
    """
    require("pyarrow", "files", "wavebyol map")
    require("jinja2", "map", "wavebyol map")
    from wavebyol_hear.files.parquet import load, read_metadata

    if args.seed < 0:
        raise MapError(f"--seed {args.seed}: give 0 or more")
    if args.points < 1:
        raise MapError(f"--points {args.points}: give 1 or more")
    if args.method == "umap":
        require("umap", "map", "wavebyol map --method umap")
    index, array = load(args.folder)
    if len(array) == 0:
        raise MapError(f"{args.folder}: holds no rows; embed some files first")
    rows = np.sort(np.random.default_rng(args.seed).permutation(len(array))[: args.points])
    table = index.take(rows).to_pydict()
    labels = groups_of(table, args.color)
    points, how = project(np.asarray(array[rows], dtype=np.float32), args.method, args.seed)
    out = args.out or Path("" if is_remote(args.folder) else args.folder, "map.html")
    drawn = "" if len(rows) == len(array) else f" of {len(array):,}"
    caption = f"{len(rows):,}{drawn} clips by {read_metadata(index.schema).get('model')}; {how}"
    uris = audio_uris(table["path"], out)
    write_text(out, page(table, points, labels, uris, caption, args.color))
    silent = uris.count("")
    if silent:
        sys.stderr.write(
            f"{silent:,} of {len(rows):,} points have no file to play: run the command in the "
            "folder where wavebyol embed ran\n"
        )
    sys.stdout.write(f"{out}\n")
    return 0


def groups_of(table: dict[str, list[Any]], color: str) -> list[str]:
    """Return the group of each row: a folder that it is in, or its value of a column.

    Numbers of many values are cut into five ranges that hold as many rows each.

    Args:
        table: columns of the index.
        color: `folder`, the first below the one that all share; `parent`, the last; or the name of
            a column.

    Raises:
        MapError: there is no such column.

    Example:
        >>> groups_of({"path": ["a/dog/1.wav", "a/dog/b/2.wav", "a/cat/3.wav"]}, "folder")
        ['dog', 'dog', 'cat']
    """
    if color == "folder":
        common = common_folder(table["path"])
        below = [path[len(common) :].split("/") for path in table["path"]]
        return [parts[0] if len(parts) > 1 else "." for parts in below]
    if color == "parent":
        return [("./" + path).split("/")[-2] for path in table["path"]]
    if color not in table:
        raise MapError(f"--color {color}: give folder, parent, {', '.join(table)}")
    values = table[color]
    if len(set(values)) <= GROUPS or not isinstance(values[0], float | int):
        return [str(value) for value in values]
    edges = np.unique(np.quantile(values, np.linspace(0, 1, 6)))
    bins = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    return [f"{edges[b]:g} to {edges[b + 1]:g}" for b in bins]


def common_folder(paths: Sequence[str]) -> str:
    """Return the folders that all paths begin with, with a slash behind, or nothing.

    Example:
        >>> common_folder(["a/b/1.wav", "a/bc/2.wav"])
        'a/'
    """
    folders = [path.split("/")[:-1] for path in paths]
    pairs = zip(min(folders), max(folders), strict=False)
    shared = itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)
    return "".join(f"{folder}/" for folder, _ in shared)


def project(embeddings: np.ndarray, method: str, seed: int) -> tuple[np.ndarray, str]:
    """Return points in the unit square, and how they were made in words.

    Rows are scaled to unit norm first, so that near points are similar as `wavebyol search` has it.

    Args:
        embeddings: of the rows.
        method: `umap`, `pca`, or `auto`, UMAP where it is installed and there are 10 rows or more.
        seed: of UMAP and of the components.

    Shape:
        [N, D] -> [N, 2].
    """
    rows = torch.nn.functional.normalize(torch.from_numpy(embeddings))
    rows -= rows.mean(0)
    count = min(COMPONENTS, *rows.shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        left, deviations, _ = torch.svd_lowrank(rows, q=count, niter=6)
    components = (left * deviations).numpy()
    umap = method == "umap" or (method == "auto" and importlib.util.find_spec("umap") is not None)
    if umap and len(rows) >= 10:
        module = require("umap", "map", "wavebyol map --method umap")
        reducer = module.UMAP(n_neighbors=min(15, len(rows) - 1), random_state=seed, n_jobs=1)
        points, how = np.asarray(reducer.fit_transform(components)), "UMAP"
    else:
        points = np.pad(components[:, :2], ((0, 0), (0, 2 - min(2, count))))
        share = 100 * (deviations[:2].square().sum() / rows.square().sum().clamp_min(1e-12)).item()
        how = f"first two principal components, which hold {share:.0f} % of the variance"
    low, span = points.min(0), float(np.ptp(points, axis=0).max()) or 1.0
    return (points - low + (span - np.ptp(points, axis=0)) / 2) / span, how


def page(
    table: dict[str, list[Any]],
    points: np.ndarray,
    labels: Sequence[str],
    uris: Sequence[str],
    caption: str,
    color: str,
) -> str:
    """Return the page on a table with the columns `path`, `start` and `end` of the index.

    Points, labels of their groups and addresses of their audio are by row; `color` is what the
    groups are, for their heading.

    Shape:
        points [N, 2], in the unit square.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    common = len(common_folder(table["path"]))
    data = {
        "x": np.round(points[:, 0], DIGITS).tolist(),
        "y": np.round(points[:, 1], DIGITS).tolist(),
        **legend(labels),
        "name": [path[common:] for path in table["path"]],
        "uri": uris,
        "start": np.round(table["start"], 3).tolist(),
        "end": np.round(table["end"], 3).tolist(),
    }
    style, script = (
        (FOLDER / f"map.{ending}").read_text(encoding="utf-8") for ending in ("css", "js")
    )
    environment = Environment(
        autoescape=True, loader=FileSystemLoader(FOLDER), undefined=StrictUndefined
    )
    return environment.get_template("map.html").render(
        title=f"Map of {len(points):,} clips",
        caption=caption,
        count=len(points),
        color=color.capitalize(),
        data=Markup(_json(data)),
        style=Markup(style),
        style_hash=_sha256(style),
        script=Markup(script),
        script_hash=_sha256(script),
    )


def legend(labels: Sequence[str]) -> dict[str, Any]:
    """Return the groups of the page, the largest first, and the number of each row's group.

    All groups beyond `GROUPS` are one, called `rest`; without them `rest` is -1.

    Example:
        >>> legend(["a", "b", "b"])
        {'group': [1, 0, 0], 'groups': ['b', 'a'], 'counts': [2, 1], 'rest': -1}
    """
    counts = Counter(sorted(labels)).most_common()  # of equal groups, the first by name
    shown, others = counts[:GROUPS], counts[GROUPS:]
    number = {name: i for i, (name, _) in enumerate(shown)}
    rest = len(shown) if others else -1
    if others:
        shown.append((f"{len(others)} others", sum(count for _, count in others)))
    return {
        "group": [number.get(label, rest) for label in labels],
        "groups": [name for name, _ in shown],
        "counts": [count for _, count in shown],
        "rest": rest,
    }


def audio_uris(paths: Sequence[str], out: Path) -> list[str]:
    """Return the address of each file from a page, percent-encoded; nothing where there is none.

    Files are looked for from the working folder, as `wavebyol embed` found them.
    """
    base = out.resolve().parent

    @functools.cache
    def uri(path: str) -> str:
        if "\0" in path or not os.path.isfile(path):
            return ""
        try:
            return quote(os.path.relpath(path, base).replace(os.sep, "/"))
        except ValueError:  # on another drive
            return Path(path).absolute().as_uri()

    return [uri(path) for path in paths]


def _json(value: object) -> str:
    """Return JSON that holds no markup, whatever its texts hold."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _sha256(text: str) -> str:
    """Return the hash of an inline style or script, as a content security policy has it."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
