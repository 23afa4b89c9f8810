"""Where numbers come from: our revision, never that of a repository we merely lie in."""

import shutil
import subprocess
from pathlib import Path

from wavebyol_hear.files import provenance
from wavebyol_hear.files.provenance import git_revision


def git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=x", "-c", "user.email=x@x", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_revision_is_that_of_the_repository_that_tracks_the_code(tmp_path: Path) -> None:
    package = tmp_path / "results"
    package.mkdir()
    file = package / "provenance.py"
    shutil.copy(provenance.__file__, file)
    assert git_revision.__wrapped__(file) == "unknown"
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "a stranger's")
    assert git_revision.__wrapped__(file) == "unknown"
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "ours")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert git_revision.__wrapped__(file) == head
    file.write_text("# changed")
    assert git_revision.__wrapped__(file) == f"{head}+changes"
