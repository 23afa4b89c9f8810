"""Lay the small real packs out as the official trees: tools/lay_out_packs.py PACKS DATA_DIR.

PACKS is a folder with esc50.tar and speech_commands.tar (Ogg/Opus under the official names);
DATA_DIR then serves `python -m benchmark.run --data-dir DATA_DIR --allow-partial`.
"""

import sys
import tarfile
from pathlib import Path

import soundfile

PACKS = ("esc50", "speech_commands")


def decode_pack(pack: Path, root: Path) -> Path:
    """Unpack a tar of Ogg files with every file as 16-bit WAV and all else as it is.

    Raises:
        ValueError: a member whose name leads out of `root`.
    """
    with tarfile.open(pack) as members:
        for member in members:
            content = members.extractfile(member)
            if content is None:
                continue
            path = root / member.name
            if not path.resolve().is_relative_to(root.resolve()):
                raise ValueError(f"{pack}: {member.name!r} leads out of the folder")
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".ogg":
                wave, rate = soundfile.read(content, dtype="int16")
                soundfile.write(path.with_suffix(".wav"), wave, rate, subtype="PCM_16")
            else:
                path.write_bytes(content.read())
    return root


def main() -> int:
    """Run the command and return its exit status."""
    if len(sys.argv) != 3:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    packs, data = Path(sys.argv[1]), Path(sys.argv[2])
    for name in PACKS:
        if not (packs / f"{name}.tar").is_file():
            sys.stderr.write(f"error: {packs / name}.tar is not there\n")
            return 1
        sys.stdout.write(f"{decode_pack(packs / f'{name}.tar', data / name)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
