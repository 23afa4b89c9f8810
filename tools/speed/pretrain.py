"""How fast training is: python -m tools.speed.pretrain STORE [--preset P] [--set k=v] [--steps N].

Prints clips per second, the share of data, augmentation and model, the achieved FLOP/s against
the device's measured matrix product, and beside it, in the same run, a plain version of the
authors' pipeline: each clip decoded from its file twice an item, effects one clip at a time on
the CPU, fp32, one pass a view. Both train the same encoder.
"""

import argparse
import dataclasses
import io
import json
import statistics
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import soundfile
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from pretrain.augment.layer import AugmentationLayer
from pretrain.config import Config, read_config
from pretrain.data.order import ClipOrder
from pretrain.data.store import Store, StoreError
from pretrain.distributed import keep_freed_memory
from pretrain.monitor import Clock
from pretrain.optimizer import build_optimizer
from pretrain.train import Learner
from pretrain.views import ViewSampler
from wavebyol_hear.audio import read_audio
from wavebyol_hear.files.settings import SettingsError
from wavebyol_hear.precision import resolve

ROOF_SIZE = 2048
PLAIN_CLIPS = 8


def matmul_roof(device: torch.device, dtype: torch.dtype, seconds: float = 1.0) -> float:
    """Return the FLOP/s of a square matrix product, the best of repeats within `seconds`."""
    size = ROOF_SIZE if device.type == "cpu" else 4 * ROOF_SIZE
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    clock, best, end = Clock(device), 0.0, perf_counter() + seconds
    while perf_counter() < end or not best:
        clock.restart()
        torch.mm(left, right)
        clock.lap("product")
        best = max(best, 2 * size**3 / clock.seconds.pop("product"))
    return best


def step_flop(learner: Learner, view_a: Tensor, view_b: Tensor) -> float:
    """Return the FLOP of a step's forward and backward passes, counted by torch."""
    with FlopCounterMode(display=False) as counter:
        loss, _ = learner.runner(view_a, view_b)
        loss.backward()
    return float(counter.get_total_flops())


def time_ours(config: Config, store: Store, device: torch.device, steps: int) -> dict[str, float]:
    """Return clips per second, shares and FLOP/s of the training loop's own parts.

    The first step is not counted; the figures are the median step's.
    """
    clock = Clock(device)
    views = ViewSampler(store, config, device)
    learner = Learner(config, device, len(store))
    learner.wrap()
    flop = step_flop(learner, *views.augment(0, *views.crops(0)))
    laps: list[dict[str, float]] = []
    for step in range(steps + 1):
        clock.seconds.clear()
        clock.restart()
        crops = views.crops(step)
        clock.lap("data")
        both = views.augment(step, *crops)
        clock.lap("augment")
        learner.step(step, *both)
        clock.lap("model")
        laps.append({part: clock.seconds[part] for part in ("data", "augment", "model")})
    middle = sorted(laps[1:], key=lambda lap: sum(lap.values()))[steps // 2]
    total = sum(middle.values())
    return {
        "clips_per_second": config.optim.batch / total,
        **{f"share_{part}": seconds / total for part, seconds in middle.items()},
        "flop_per_clip": flop / config.optim.batch,
        "flop_per_second": flop / total,
    }


def time_plain(config: Config, store: Store, steps: int) -> float:
    """Return the clips per second of the plain version of the authors' pipeline, on the CPU."""
    device = torch.device("cpu")
    small = dataclasses.replace(
        config,
        optim=dataclasses.replace(config.optim, batch=PLAIN_CLIPS),
        run=dataclasses.replace(config.run, precision="fp32", compile=False),
    )
    learner = Learner(small, device, len(store.starts))
    for parameter in learner.method.parameters():
        parameter.data = parameter.data.contiguous()
    optimizer = build_optimizer(learner.method, small.optim)
    augment = AugmentationLayer(config.views.augment)
    generator = torch.Generator().manual_seed(0)
    times = []
    with tempfile.TemporaryDirectory() as folder:
        paths = _as_files(store, Path(folder))
        for _ in range(steps + 1):
            begin = perf_counter()
            both = [
                [augment(_plain_crop(path, config, generator), generator) for path in paths]
                for _ in range(2)
            ]
            learner.method.train()
            loss, _ = learner.method(torch.cat(both[0]), torch.cat(both[1]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            times.append(perf_counter() - begin)
    return PLAIN_CLIPS / statistics.median(times[1:])


def _as_files(store: Store, folder: Path) -> list[Path]:
    """Write a few clips of the store as FLAC files, as a folder of audio would hold them."""
    paths = []
    for clip in ClipOrder(store.kinds, {}, PLAIN_CLIPS, seed=0).batch(0).tolist():
        wave = store.clip(clip).numpy()
        paths.append(folder / f"{clip}.flac")
        data = io.BytesIO()
        soundfile.write(data, wave, 16_000, format="FLAC")
        paths[-1].write_bytes(data.getvalue())
    return paths


def _plain_crop(path: Path, config: Config, generator: torch.Generator) -> Tensor:
    """Decode a whole file and cut one crop: [1, 1, T]."""
    size = config.encoder.crop_samples
    wave = torch.from_numpy(read_audio(path, config.encoder.sample_rate))
    room = max(0, len(wave) - size)
    start = int(torch.randint(room + 1, (1,), generator=generator))
    crop = wave[start : start + size]
    return torch.nn.functional.pad(crop, (0, size - len(crop)))[None, None]


def main() -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.speed.pretrain",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("store", type=Path)
    parser.add_argument("--preset", default="slim")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="sets")
    parser.add_argument("--steps", type=int, default=5, help="counted steps of each (5)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    args = parser.parse_args()
    if args.steps < 1:
        parser.error(f"--steps is {args.steps}: give 1 or more")
    keep_freed_memory()
    try:
        config = read_config(args.preset, None, args.sets)
        store = Store.open(args.store)
        device = torch.device(args.device)
        bf16 = resolve(config.run.precision, device) == "bf16"
        roof = matmul_roof(device, torch.bfloat16 if bf16 else torch.float32)
        figures = time_ours(config, store, device, args.steps)
        plain = time_plain(config, store, args.steps)
    except (SettingsError, StoreError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    figures |= {
        "roof_flop_per_second": roof,
        "share_of_roof": figures["flop_per_second"] / roof,
        "plain_clips_per_second": plain,
        "ratio_to_plain": figures["clips_per_second"] / plain,
    }
    cpu = torch.backends.cpu.get_cpu_capability()
    sys.stdout.write(f"{args.preset}, {'bf16' if bf16 else 'fp32'}, {device}, CPU {cpu}\n")
    for name, value in figures.items():
        sys.stdout.write(f"{name:>24}  {value:.4g}\n")
    if args.json:
        args.json.write_text(json.dumps({"machine": cpu, "device": str(device), **figures}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
