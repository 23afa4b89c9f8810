"""Ask the registry for every locked version, for each Python: tools/check_lock.py LOCK.

Resolves by name and version alone, without downloading: wheels for CPython 3.11, 3.12 and 3.13 on
Linux. Pure-Python packages that publish only a source archive are listed here; tinysoundfont has no
wheel for 3.13 and is compiled there (a C++ compiler is needed).
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

VERSIONS = ("3.11.5", "3.12.0", "3.13.0")
SOURCE_ONLY = {
    "3.11.5": {"adamp", "dcase-util", "pretty-midi", "sed-eval"},
    "3.12.0": {"adamp", "dcase-util", "pretty-midi", "sed-eval"},
    "3.13.0": {"adamp", "dcase-util", "pretty-midi", "sed-eval", "tinysoundfont"},
}


def main() -> int:
    """Run the command and return its exit status."""
    if len(sys.argv) != 2:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    lines = Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
    pins = [line.split(";")[0].strip() for line in lines if re.match(r"[a-zA-Z]", line)]
    failed = 0
    for version in VERSIONS:
        named = [pin for pin in pins if pin.split("==")[0] not in SOURCE_ONLY[version]]
        with tempfile.TemporaryDirectory() as folder:
            wanted = Path(folder) / "wanted.txt"
            wanted.write_text("\n".join(named))
            command = f"-m pip install --quiet --dry-run --no-deps --python-version {version}"
            places = ["--only-binary=:all:", "--target", folder, "--requirement", str(wanted)]
            done = subprocess.run(
                [sys.executable, *command.split(), *places],
                capture_output=True,
                text=True,
                check=False,
            )
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        state = f"{len(named)} wheels" if not done.returncode else "; ".join(errors)
        sys.stdout.write(f"Python {version}: {state}\n")
        failed += bool(done.returncode)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
