"""How fast sound becomes embeddings: against the plain network, the roof, and for timestamps."""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity
from torch.utils.flop_counter import FlopCounterMode

from tools.speed.clock import Figure, Plan, interleaved, matrix_product, product_flop
from tools.speed.reference import PlainNetwork
from wavebyol_hear.files.hear_module import import_module

CROP = 20_480
BATCHES = {"h2": 4, "slim": 16}
SMALL_BATCHES = {"h1": 1, "slim": 2}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
# Of the plain network's speed, where fp32 is all there is and where bf16 is faster.
TARGETS = {"fp32": 1.6, "bf16": 4.0}
LEAST_COSINE, TOLERANCE = 0.999, 1e-4


class SpeedError(ValueError):
    """Numbers that are not the plain ones, whose speed is worth nothing; or no GPU to measure."""


def _sound(clips: int, samples: int) -> Tensor:
    """Return noise that swells, at a tenth of full scale: [clips, samples]."""
    generator = torch.Generator().manual_seed(0)
    return 0.1 * torch.randn(clips, samples, generator=generator) * torch.linspace(0, 1, samples)


def _model(hear: Any, preset: str, precision: str) -> Any:  # noqa: ANN401
    """Return a model; that weights are untrained does not matter for speed."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="(?i).*untrained")
        return hear.load_model(preset=preset, precision=precision)


def embedding(plan: Plan) -> list[Figure]:
    """Return clips per second of h2 and slim, plain and in every precision worth having.

    Raises:
        SpeedError: an embedding differs from the plain network's.
    """
    batches = SMALL_BATCHES if plan.small else BATCHES
    return [f for preset, clips in batches.items() for f in _embedding(preset, clips, plan.runs)]


def _embedding(preset: str, clips: int, runs: int) -> list[Figure]:
    """Return the figures of one preset."""
    hear = import_module("wavebyol_hear")
    audio = _sound(clips, CROP)
    auto = _model(hear, preset, "auto").precision
    models = {name: _model(hear, preset, name) for name in dict.fromkeys(("fp32", auto))}
    first = next(iter(models.values()))
    plain = PlainNetwork(first.state_dict(), first.config.widths)
    with torch.inference_mode():
        with FlopCounterMode(display=False) as counter:
            expected = plain.scenes(audio)
        for precision, model in models.items():
            _check(preset, precision, hear.get_scene_embeddings(audio, model), expected)
        calls: dict[str, Callable[[], object]] = {"plain": partial(plain.scenes, audio)}
        for name, model in models.items():
            calls[name] = partial(hear.get_scene_embeddings, audio, model)
            calls[f"roof {name}"] = matrix_product(DTYPES[name])
        seconds = interleaved(calls, runs, settled=True)
    figures = []
    for name in ("plain", *models):
        roof = product_flop() / seconds["roof fp32" if name == "plain" else f"roof {name}"]
        figures.append(
            Figure(
                "embedding",
                f"{preset}, plain fp32" if name == "plain" else f"{preset}, {name} against plain",
                clips / seconds[name],
                "clips/s",
                None if name == "plain" else seconds["plain"] / seconds[name],
                counter.get_total_flops() / seconds[name] / roof,
                TARGETS[name] if name in TARGETS and preset == "h2" else None,
            )
        )
    return figures


def _check(preset: str, precision: str, found: Tensor, expected: Tensor) -> None:
    """Raise where embeddings are not those of the plain network."""
    scale = expected.abs().max()
    error = float((found - expected).abs().max() / scale)
    cosine = float(cosine_similarity(found, expected, dim=1).min())
    if cosine < LEAST_COSINE or (precision == "fp32" and error > TOLERANCE):
        raise SpeedError(
            f"{preset} in {precision} is off the plain network by {error:.1e} of its largest "
            f"value, cosine {cosine:.5f}: fix it before its speed is measured"
        )


def timestamps(plan: Plan) -> list[Figure]:
    """Return the cost of timestamps in scene embeddings of the same sound, at 50 ms or less."""
    figures = []
    hear = import_module("wavebyol_hear")
    for preset, clips in (SMALL_BATCHES if plan.small else BATCHES).items():
        model = _model(hear, preset, "auto")
        seconds_long = 1.28 if plan.small else 5.0
        audio = _sound(max(clips // 4, 1), round(seconds_long * model.sample_rate))
        _, times = hear.get_timestamp_embeddings(audio, model)
        hop = float(times.diff().max())
        seconds = interleaved(
            {
                "scene": partial(hear.get_scene_embeddings, audio, model),
                "timestamps": partial(hear.get_timestamp_embeddings, audio, model),
            },
            plan.runs,
            settled=True,
        )
        figures.append(
            Figure(
                "timestamps",
                f"{preset}, {model.precision}, hop {hop:g} ms, against a scene",
                len(audio) * seconds_long / seconds["timestamps"],
                "s of sound/s",
                seconds["timestamps"] / seconds["scene"],
                target=1.5,
                at_most=True,
            )
        )
    return figures


def gpu(plan: Plan) -> list[Figure]:
    """Return milliseconds a clip of 5 s on the GPU, 64 at once and alone, in the natural precision.

    Raises:
        SpeedError: there is no GPU.
    """
    if not torch.cuda.is_available():
        raise SpeedError("there is no GPU: torch.cuda.is_available() is False")
    hear, calls, counts = import_module("wavebyol_hear"), {}, []

    def embed(audio: Tensor, model: Any) -> None:  # noqa: ANN401
        hear.get_scene_embeddings(audio, model)
        torch.cuda.synchronize()

    for preset in ("wide_bank", "slim", "h1", "h2"):
        model = _model(hear, preset, "auto").cuda()
        for clips in (64, 1):
            audio = _sound(clips, 80_000).cuda()
            calls[f"{preset}, {clips} at once, a clip of 5 s"] = partial(embed, audio, model)
            counts.append(clips)
    seconds = interleaved(calls, plan.runs)
    return [
        Figure("gpu", what, 1e3 * took / clips, "ms")
        for (what, took), clips in zip(seconds.items(), counts, strict=True)
    ]
