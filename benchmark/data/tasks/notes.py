"""Notes: 576 synthetic notes, the instrument family of a General MIDI program, no download.

Rendered at first use from the soundfont TimGM6mb.sf2 that the package pretty_midi ships, by
tinysoundfont; the font is loaded once and the whole set takes about a second. It is there to try
the benchmark, not to rank models: it is small, clean, and made by one soundfont.
"""

import importlib.util
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from benchmark.data.clip import Clip, Source, Task, TaskDataError
from wavebyol_hear.files.atomic import LockedError, lock

# General MIDI numbers programs in families of eight; these are programs 0 to 95. The last four
# families (effects, ethnic, percussive, sound effects) are no families of sound and are left out.
NAMES = """
    piano chromatic_percussion organ guitar bass strings ensemble brass reed pipe synth_lead
    synth_pad
"""
FAMILIES = tuple(NAMES.split())
PROGRAMS = 8
PITCHES = (48, 60, 72)
VELOCITIES = (50, 110)
FOLDS = 4
HELD_SECONDS, TAIL_SECONDS = 0.7, 0.3
# Below about 30 kHz some of the font's filters leave their stable range in tinysoundfont and a
# few notes reach a peak of 28; at 32 kHz the loudest peak of the set is 0.67.
SAMPLE_RATE = 32000
RENDERED = "version1"
"""Folder of the notes; another version of this file that renders otherwise has another one."""
LOCK_SECONDS = 600.0  # how long to wait for another process that renders; it takes some seconds


def listing() -> Iterator[tuple[int, int, int, Clip]]:
    """Yield program, pitch, velocity and clip of every note, in the order of rendering.

    Neighbouring programs are often near-copies (two grand pianos), so pairs share a fold, which
    tests instruments unlike those it was trained on, and a group: they are one observation.
    """
    programs = range(PROGRAMS * len(FAMILIES))
    for program, pitch, velocity in itertools.product(programs, PITCHES, VELOCITIES):
        family, member = FAMILIES[program // PROGRAMS], program % PROGRAMS
        fold, group = f"fold{member * FOLDS // PROGRAMS + 1:02d}", f"programs{program // 2 * 2:03d}"
        name = f"{program:03d}-{pitch}-{velocity}"
        path = f"{RENDERED}/{family}/{name}.wav"
        yield program, pitch, velocity, Clip(name, path, family, fold, group)


def render(folder: Path) -> None:
    """Render all notes into a folder as 16-bit mono WAV.

    The synthesizer starts afresh and plays in a fixed order, so the files do not vary.
    """
    # Where pretty_midi's soundfont lies, without importing the package.
    spec = importlib.util.find_spec("pretty_midi")
    font = Path(spec.origin).parent / "TimGM6mb.sf2" if spec and spec.origin else None
    if not (font and font.is_file() and importlib.util.find_spec("tinysoundfont")):
        raise TaskDataError(
            f"notes: the soundfont TimGM6mb.sf2 (looked in {font or 'pretty_midi'}) or the package "
            "tinysoundfont is absent; run: pip install --no-deps pretty_midi tinysoundfont; "
            f"source: {TASK.source}"
        )
    import tinysoundfont  # here, so that the other tasks run without it

    synth = tinysoundfont.Synth(samplerate=SAMPLE_RATE)
    font_id = synth.sfload(str(font))
    for family in FAMILIES:
        (folder / RENDERED / family).mkdir(parents=True, exist_ok=True)

    def play(seconds: float) -> np.ndarray:
        # Copied, as the synthesizer owns the buffer; [2 n] interleaved -> mono [n].
        stereo = np.frombuffer(synth.generate(round(seconds * SAMPLE_RATE)), dtype=np.float32)
        return stereo.reshape(-1, 2).mean(axis=1)

    bar = tqdm(listing(), total=TASK.n_clips, desc="rendering notes", unit="note", leave=False)
    for program, pitch, velocity, clip in bar:
        synth.sounds_off()
        play(0.25)  # what rings on of the note before
        synth.program_select(0, font_id, 0, program)
        synth.noteon(0, pitch, velocity)
        held = play(HELD_SECONDS)
        synth.noteoff(0, pitch)
        note = np.concatenate([held, play(TAIL_SECONDS)])
        soundfile.write(folder / clip.path, note, SAMPLE_RATE, subtype="PCM_16")


def index(root: Path) -> list[Clip]:
    """List the notes, rendering them first where this version has not done it yet.

    They are rendered into another folder that is renamed, so an interruption leaves nothing.
    """
    if not (root / RENDERED).is_dir():
        remedy = "choose another folder with --data-dir"
        try:
            root.parent.mkdir(parents=True, exist_ok=True)
            path = root.with_name(f"{root.name}.lock")
            with (
                lock(path, "notes", remedy, timeout=LOCK_SECONDS),
                tempfile.TemporaryDirectory(prefix=f"{root.name}.", dir=root.parent) as work,
            ):
                if not (root / RENDERED).is_dir():
                    render(Path(work))
                    root.mkdir(exist_ok=True)
                    (Path(work) / RENDERED).rename(root / RENDERED)
        except (OSError, LockedError) as error:
            raise TaskDataError(f"notes: cannot write {root} ({error}); {remedy}") from error
    return [clip for *_, clip in listing()]


TASK = Task(
    name="notes",
    title="Notes (instrument family, rendered on the spot)",
    classes=FAMILIES,
    split_policy="folds",
    n_clips=len(FAMILIES) * PROGRAMS * len(PITCHES) * len(VELOCITIES),
    clip_seconds=HELD_SECONDS + TAIL_SECONDS,
    licence="TimGM6mb.sf2 is GPL-2.0; the sound is rendered on the user's machine",
    citation="TimGM6mb.sf2 by Tim Brechbill, as shipped with pretty_midi (C. Raffel, 2014)",
    sources=(Source("https://pypi.org/project/pretty_midi/"),),
    layout="nothing, the first run renders it",
    index=index,
    by_hand="there is nothing to fetch: it is rendered at first use, by benchmark.run",
    note="A small synthetic set to try the benchmark with; not one of the seven tasks.",
)
