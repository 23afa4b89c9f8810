"""Mutants that the tests do not kill: `python -m tools.mutate FILE --tests PATH [PATH ...]`.

Every mutant is one change of FILE: a comparison or an arithmetic operator replaced, a number moved,
a truth value or a condition flipped, a keyword argument left out, a call replaced by its first
argument or a statement dropped. The tests run on each in a temporary copy of the work tree, which
is never changed; a test that fails, or takes four times as long as without a mutant, kills it.
Prints the survivors by file and line, and the score: the share of mutants killed.

Exit code: 0, whatever the score; 1 where the tests fail without a mutant; 2 when the command line
is wrong.
"""

import argparse
import ast
import copy
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LEFT_OUT = (".git", ".venv*", "*.egg-info", "__pycache__", ".*_cache")
OUTPUTS = ("build", "results", "runs")
"""Left out at the root alone: packages may have these names."""
COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
QUIET = ("tqdm", "logger", "warnings", "join")
"""Calls that are not removed: what they do shows on a terminal alone."""


@dataclass(frozen=True)
class Mutant:
    """One change of a file.

    Attributes:
        line: of the change, from 1.
        what: was changed, as "a < b -> a <= b".
        source: of the whole file, changed.
    """

    line: int
    what: str
    source: str


def mutants(source: str) -> list[Mutant]:
    """Return all mutants of a Python source, in the order of their lines.

    Example:
        >>> [mutant.what for mutant in mutants("y = x < 2")]
        ['x < 2 -> x <= 2', '2 -> 3']
    """
    tree = ast.parse(source)
    untested = [  # no test could judge an annotation or a decorator
        part
        for node in ast.walk(tree)
        for name in ("annotation", "returns", "decorator_list")
        for part in _listed(getattr(node, name, None))
    ]
    skipped = {id(node) for part in untested for node in ast.walk(part)}
    made = []
    for index, node in enumerate(ast.walk(tree)):
        for change in () if id(node) in skipped else _changes(node):
            mutated = copy.deepcopy(tree)
            target = list(ast.walk(mutated))[index]
            parent = {child: up for up in ast.walk(mutated) for child in ast.iter_child_nodes(up)}
            before = ast.unparse(target)
            after = _apply(target, parent, change)
            if after is not None:
                what = " ".join(f"{before} -> {after}".split())
                line = getattr(node, "lineno", 0)
                made.append((line, index, Mutant(line, what, ast.unparse(mutated))))
    return [mutant for *_, mutant in sorted(made, key=lambda one: one[:2])]


def _listed(value: ast.AST | list[ast.AST] | None) -> list[ast.AST]:
    """Return the nodes of a field."""
    return value if isinstance(value, list) else [value] if value else []


def _changes(node: ast.AST) -> Iterator[ast.AST | str]:
    """Yield what may stand in a node's place: a node, or the name of a removal."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
        yield ast.Compare(
            node.left, [COMPARISONS[type(node.ops[0])](), *node.ops[1:]], node.comparators
        )
    elif isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        yield ast.BinOp(node.left, OPERATORS[type(node.op)](), node.right)
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.And() if isinstance(node.op, ast.Or) else ast.Or(), node.values)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub | ast.Invert):
        yield node.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield ast.Constant(node.value + 1)
    elif isinstance(node, ast.IfExp):
        yield ast.IfExp(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
    elif isinstance(node, ast.Return) and node.value is not None:
        yield ast.Return(ast.Constant(None))
    elif isinstance(node, ast.AugAssign) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ):
        yield "statement"
    elif isinstance(node, ast.keyword) and node.arg:
        yield "keyword"
    elif isinstance(node, ast.Call) and len(node.args) == 1 and not node.keywords:
        if not (isinstance(node.func, ast.Name) and node.func.id[0].isupper()):
            yield node.args[0]
    elif isinstance(node, ast.Call) and not node.args and isinstance(node.func, ast.Attribute):
        yield node.func.value


def _apply(node: ast.AST, parent: dict[ast.AST, ast.AST], change: ast.AST | str) -> str | None:
    """Change a tree in place; return the new text, or None where the change makes no sense."""
    up = parent.get(node)
    text = ast.unparse(node)
    if any(f"{name}(" in text or f"{name}." in text for name in QUIET):
        return None
    while up is not None and not isinstance(up, ast.stmt):
        if isinstance(up, ast.JoinedStr | ast.Raise):  # messages
            return None
        up = parent.get(up)
    if up is None or isinstance(up, ast.Raise | ast.Assert | ast.ImportFrom):
        return None
    up = parent[node]
    for name, value in ast.iter_fields(up):
        if value is node and isinstance(change, ast.AST):
            setattr(up, name, ast.copy_location(change, node))
            return ast.unparse(change)
        if isinstance(value, list) and node in value:
            index = value.index(node)
            if isinstance(change, ast.AST):
                value[index] = ast.copy_location(change, node)
                return ast.unparse(change)
            if change == "statement":
                value[index] = ast.copy_location(ast.Pass(), node)
                return "pass"
            del value[index]
            return "left out"
    return None


def _ignored(root: Path, folder: str, names: list[str]) -> set[str]:
    """Return the names in a folder that a copy of the work tree does without."""
    patterns = LEFT_OUT + OUTPUTS * (Path(folder) == root)
    return set(shutil.ignore_patterns(*patterns)(folder, names))


def survives(root: Path, tests: Sequence[str], seconds: float) -> bool:
    """Return whether the tests pass in a copy of the work tree within a time."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    # PYTHONDONTWRITEBYTECODE: two mutants of one second and size would share their bytecode.
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=root, env=environment, timeout=seconds, capture_output=True, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    Args:
        argv: arguments of the command line; None takes the process's own.
    """
    parser = argparse.ArgumentParser(prog="python -m tools.mutate", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("file", type=Path, help="Python file, below the root of the work tree")
    parser.add_argument("--tests", nargs="+", required=True, help="what pytest runs")
    parser.add_argument("--sample", type=int, help="mutants, drawn at random (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (0)")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    path = args.file.resolve()
    if not path.is_relative_to(args.root.resolve()) or not path.is_file():
        parser.error(f"{args.file} is no file below {args.root}")
    inside = path.relative_to(args.root.resolve())
    chosen = mutants(path.read_text(encoding="utf-8"))
    if args.sample is not None and args.sample < len(chosen):
        picked = sorted(random.Random(args.seed).sample(range(len(chosen)), args.sample))
        chosen = [chosen[i] for i in picked]
    alive = 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "copy"
        shutil.copytree(args.root, root, ignore=partial(_ignored, args.root), symlinks=True)
        start = time.monotonic()
        if not survives(root, args.tests, 3600):
            sys.stderr.write("error: the tests fail without a mutant\n")
            return 1
        limit = 10 + 4 * (time.monotonic() - start)
        for mutant in chosen:
            (root / inside).write_text(mutant.source, encoding="utf-8")
            if survives(root, args.tests, limit):
                alive += 1
                sys.stdout.write(f"{inside}:{mutant.line}: {mutant.what}\n")
                sys.stdout.flush()
    killed = len(chosen) - alive
    share = f" ({100 * killed / len(chosen):.0f} %)" if chosen else ""
    sys.stdout.write(f"{inside}: {killed} of {len(chosen)} mutants killed{share}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
