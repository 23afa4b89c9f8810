"""Check that a module implements the HEAR API: `python -m benchmark.check MODULE[:WEIGHTS]`.

Makes the checks of hear-validator (clip lengths, shapes, types, spacing and range of the
timestamps) without TensorFlow, and more: no NaN, an embedding does not depend on the other clips of
its batch, and silence and a clip of 0.01 s can be embedded. Prints one line per finding.

Exit code: 0 no errors; 1 errors.
"""

if __name__ == "__main__":  # before imports that take seconds
    from wavebyol_hear.files.command import run_command, start_command

    start_command()

import argparse
import sys

import numpy as np

from benchmark.embed.events import check_spacing
from wavebyol_hear.files.hear_module import HearModel, load
from wavebyol_hear.files.model_spec import HearError
from wavebyol_hear.files.threads import add_threads

# As in hear-validator's validate.py.
TIMESTAMP_SECONDS = (1.07, 1.98, 4.0)
SCENE_SECONDS = 2.74
# Relative to the largest value; summing in another order changes float32 by about 1e-6.
BATCH_TOLERANCE = 1e-3


def noise(model: HearModel, clips: int, seconds: float) -> np.ndarray:
    """Return white noise from -1 to 1, always the same: float32 `[clips, samples]`."""
    shape = clips, int(seconds * model.sample_rate)
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def finite(what: str, embeddings: np.ndarray) -> np.ndarray:
    """Return embeddings that are numbers."""
    if not np.isfinite(embeddings).all():
        raise HearError(f"{what} returned NaN or infinity; fix it")
    return embeddings


def check_scenes(model: HearModel) -> list[str]:
    """Check scene embeddings of noise, of silence and of a very short clip."""

    def scene(waves: np.ndarray) -> np.ndarray:
        return finite(f"{model.spec}: get_scene_embeddings", model.scenes(waves))

    audio = noise(model, 4, SCENE_SECONDS)
    together = scene(audio)
    alone = np.concatenate([scene(clip[None]) for clip in audio])
    apart = np.abs(together - alone).max() / max(float(np.abs(together).max()), 1e-12)
    if apart > BATCH_TOLERANCE:
        raise HearError(
            f"{model.spec}: a clip's scene embedding changes by {apart:.1%} with the other clips "
            "of its batch; put the model in evaluation mode and normalize each clip on its own"
        )
    warnings = []
    odd = {"silence": np.zeros_like(audio[:1]), "a clip of 0.01 s": noise(model, 1, 0.01)}
    for title, clip in odd.items():
        try:
            scene(clip)
        except HearError as error:
            warnings.append(f"{title} cannot be embedded, such clips will fail: {error}")
    return warnings


def check_timestamps(model: HearModel) -> list[str]:
    """Check timestamp embeddings of noise of several lengths."""
    what, warnings = f"{model.spec}: get_timestamp_embeddings", []
    for seconds in TIMESTAMP_SECONDS:
        embeddings, stamps = model.timestamps(noise(model, 2, seconds))
        finite(what, embeddings)
        warnings += check_spacing(what, stamps.astype(np.float64), 1000.0 * seconds)
    return list(dict.fromkeys(warnings))


def check(spec: str, device: str = "cpu") -> tuple[list[str], list[str]]:
    """Run all checks on a module and return errors and warnings."""
    errors: list[str] = []
    warnings: list[str] = []
    try:
        model = load(spec, device)
    except HearError as error:
        return [str(error)], []
    for one in (check_timestamps, check_scenes):
        try:
            warnings += one(model)
        except HearError as error:
            errors.append(str(error))
    return errors, warnings


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmark.check", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("module", metavar="MODULE[:WEIGHTS]", help="import path of the module")
    parser.add_argument("--device", default="cpu", help="torch device (default: cpu)")
    add_threads(parser)
    chosen = parser.parse_args(arguments)
    errors, warnings = check(chosen.module, chosen.device)
    lines = [f"warning: {line}" for line in warnings] + [f"error: {line}" for line in errors]
    lines += [] if errors else [f"{chosen.module} implements the HEAR API."]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 1 if errors else 0


if __name__ == "__main__":
    run_command(main)
