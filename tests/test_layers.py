"""Who may import whom: the packages' layers, read from every file's syntax tree."""

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LEAVES = (
    *("encoder", "front_end", "layers", "checkpoint", "audio", "embed", "whitening", "files"),
    *("precision", "components"),
)
BASELINES = ("chunking", "files", "layers", "pooling", "whitening")
# Modules of ours outside its own package that a package may import; a name admits what is below it.
ALLOWED = {
    "wavebyol_hear": (),
    "baselines": tuple(f"wavebyol_hear.{leaf}" for leaf in BASELINES),
    "pretrain": (*(f"wavebyol_hear.{leaf}" for leaf in LEAVES), "baselines"),
    "benchmark": ("wavebyol_hear.audio", "wavebyol_hear.files"),
}

# Floors of a package, lowest first: an import leads to a lower floor, or stays in its own room.
FLOORS = {
    "benchmark": (
        {"data", "stats"},
        {"embed", "probes", "download"},
        {"finetune", "results", "check"},
        {"heareval", "compare"},
        {"evaluate", "report"},
        {"evaluate_ray", "leaderboard", "leaks"},
        {"run"},
    ),
    "pretrain": (
        {"distributed"},
        {"data", "moments"},
        {"augment", "whiten", "store", "corpus"},
        {"config"},
        {"state", "methods", "optimizer", "views"},
        {"monitor"},
        {"train"},
        {"__main__"},
    ),
}


def module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules(root: Path) -> dict[str, Path]:
    """All modules of the three packages, by dotted name."""
    paths = (path for package in ALLOWED for path in sorted((root / package).rglob("*.py")))
    return {module_name(path, root): path for path in paths}


def imported(path: Path, known: dict[str, Path]) -> Iterator[tuple[int, str]]:
    """Lines and modules of ours that a file imports, at any depth, functions included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in known else str(node.module) for name in whole]
        elif isinstance(node, ast.ImportFrom):
            names = ["." * node.level + (node.module or "")]
        else:
            continue
        for name in names:
            if name.split(".")[0] in (*ALLOWED, ""):
                yield node.lineno, name


def violations(root: Path) -> list[str]:
    """One line for every import that breaks a rule."""
    known = modules(root)
    faults = []
    for name, path in known.items():
        package = name.split(".")[0]
        for line, target in imported(path, known):
            where = f"{path.relative_to(root)}:{line} imports {target}"
            if target.startswith("."):
                faults.append(f"{where}: relative")
            elif target not in known:
                faults.append(f"{where}: no such module")
            elif target.split(".")[0] != package:
                if not any(f"{target}.".startswith(f"{leaf}.") for leaf in ALLOWED[package]):
                    faults.append(f"{where}: {package} may not")
            elif known[target].name == "__init__.py":
                faults.append(f"{where}: its own package's __init__, not a leaf")
    return faults


def test_no_import_crosses_a_layer() -> None:
    assert len(modules(ROOT)) > len(ALLOWED)
    assert violations(ROOT) == []


def test_no_import_goes_round_in_a_circle() -> None:
    known = modules(ROOT)
    graph = {name: {target for _, target in imported(known[name], known)} for name in known}
    order = list(graphlib.TopologicalSorter(graph).static_order())
    assert set(order) >= set(known)


@pytest.mark.parametrize("package", FLOORS)
def test_no_import_leads_to_a_higher_floor(package: str) -> None:
    known = modules(ROOT)
    floors = {room: number for number, rooms in enumerate(FLOORS[package]) for room in rooms}
    upward = []
    for name, path in known.items():
        room = ".".join(name.split(".")[1:2])
        if name.split(".")[0] != package or not room:
            continue
        for line, target in imported(path, known):
            other = ".".join(target.split(".")[1:2])
            inside = target.split(".")[0] == package and other not in ("", room)
            if inside and floors[other] >= floors[room]:
                upward.append(f"{name}:{line} imports {target}")
    assert not upward


@pytest.mark.parametrize(
    ("file", "source", "fault"),
    [
        ("benchmark/a.py", "from wavebyol_hear.encoder import Encoder", "benchmark may not"),
        ("benchmark/a.py", "import wavebyol_hear", "benchmark may not"),
        ("benchmark/a.py", "def f():\n    from pretrain import store", "benchmark may not"),
        ("wavebyol_hear/a.py", "import benchmark.run", "wavebyol_hear may not"),
        ("pretrain/a.py", "from wavebyol_hear.hear import x", "pretrain may not"),
        ("pretrain/a.py", "from wavebyol_hear import hear", "pretrain may not"),
        ("pretrain/a.py", "from pretrain import version", "its own package's __init__"),
        ("pretrain/a.py", "from .store import x", "relative"),
        ("pretrain/a.py", "from pretrain.absent import x", "no such module"),
        ("pretrain/a.py", "from wavebyol_hear.encoder import Encoder", None),
        ("pretrain/a.py", "from pretrain import store", None),
        ("pretrain/a.py", "import baselines.cola, torch", None),
    ],
)
def test_each_rule_is_enforced(tmp_path: Path, file: str, source: str, fault: str | None) -> None:
    for name in (
        *(f"{package}/__init__.py" for package in (*ALLOWED, "baselines")),
        "wavebyol_hear/encoder.py",
        "wavebyol_hear/hear.py",
        "pretrain/store.py",
        "benchmark/run.py",
        "baselines/cola.py",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / file).write_text(source, encoding="utf-8")
    faults = violations(tmp_path)
    assert len(faults) == (fault is not None), faults
    assert fault is None or fault in faults[0]
