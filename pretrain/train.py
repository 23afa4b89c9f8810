"""The training loop, from a store of clips to a file of weights."""

import dataclasses
import logging
import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Literal, cast

import adamp
import torch
from torch import Tensor, nn

from pretrain.augment.layer import AugmentationLayer
from pretrain.config import Config, OptimConfig
from pretrain.data.crops import (
    CROPS,
    EFFECTS,
    MODEL,
    CropSampler,
    groups_by_kind,
    mixed_batch,
    step_seed,
)
from pretrain.data.store import Store
from pretrain.data.stream import ShardStream
from pretrain.distributed import from_first, maxima, mean_over_processes, parallel, rank, share
from pretrain.methods.method import build_method
from pretrain.monitor import (
    LEAKS,
    Clock,
    Monitor,
    filter_bank,
    knn_accuracy,
    rank_me,
    read_probe,
    spread,
)
from pretrain.state import load_state, provenance, save_state
from wavebyol_hear.files.atomic import lock
from wavebyol_hear.files.interrupt import deferred_signals
from wavebyol_hear.precision import resolve

FILTERS = ("front_end.taps", "front_end.averaging")
WEIGHTS = "weights.safetensors"

log = logging.getLogger(__name__)


class DivergedError(RuntimeError):
    """The loss is no longer finite; the last good state is kept."""


def learning_rate(
    step: int,
    *,
    peak: float,
    steps: int,
    warmup: int,
    schedule: Literal["constant", "cosine", "wsd"],
    decay: float = 0.2,
) -> float:
    """Return the learning rate of a step, a function of its number so that nothing is to be saved.

    A linear warm-up to `peak`, then constant; a cosine to zero; or `wsd`, constant until the last
    `decay` share of the steps and from there linear to zero, so that a run can be lengthened by
    going on from a state before the decay.

    Args:
        step: 0 to steps - 1.
        peak: learning rate after the warm-up.
        steps: length of the run.
        warmup: steps of the warm-up.
        schedule: the shape after the warm-up.
        decay: share of the run, 0 to 1, for `wsd`.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    if schedule == "cosine":
        return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
    if schedule == "wsd":
        return peak * min(1.0, (steps - step) / max(1.0, decay * steps))
    return peak


def target_decay(step: int, *, first: float, last: float, steps: int) -> float:
    """Return tau, the share of the target kept at a step: a cosine from `first` to `last`.

    Source: BYOL (arXiv 2006.07733), section 3.3.
    """
    return last - (last - first) * (math.cos(math.pi * min(1.0, step / steps)) + 1) / 2


class AdamP(adamp.AdamP):
    """AdamP that also takes weights in channels_last, whose rows cannot be viewed as one."""

    def _channel_view(self, x: Tensor) -> Tensor:
        return x.reshape(len(x), -1)

    def _layer_view(self, x: Tensor) -> Tensor:
        return x.reshape(1, -1)


def build_optimizer(network: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    """Return the optimizer of a network's trainable parameters.

    Each group carries `scale`, the factor on the schedule's learning rate: the parameters of a
    front end (centre frequencies in Hz, taps) take `config.front_end_scale`. Vectors (biases and
    norms) and a filter bank's taps and averaging, which begin as what they are to stay near, get
    no weight decay.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            in_front = "front_end." in name and not name.endswith(("norm.weight", "norm.bias"))
            decays = parameter.ndim > 1 and not name.endswith(FILTERS)
            groups.setdefault((in_front, decays), []).append(parameter)
    described = [
        {
            "params": parameters,
            "in_front": in_front,
            "scale": config.front_end_scale if in_front else 1.0,
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for (in_front, decays), parameters in groups.items()
    ]
    kind = {"adamw": torch.optim.AdamW, "adamp": AdamP}[config.name]
    return kind(described, lr=config.lr, betas=config.betas, eps=config.eps)


def hold_front_end(optimizer: torch.optim.Optimizer) -> None:
    """Let the front end stay as it is from here on; a saved state keeps that."""
    for group in optimizer.param_groups:
        if group["in_front"]:
            group["scale"] = 0.0


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group the schedule's learning rate times its own scale."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]


class ViewSampler:
    """Draws the two views of a step: crops of the store through the Augmentation Layer.

    Args:
        data: a store, in a GPU's memory where it fits in half of what is free there; or shards that
            are read while training.
        config: of the run.
        device: where the views are made.

    Attributes:
        store: the clips that crops are drawn from; of a stream those that are held now.

    Raises:
        ValueError: fewer clips, or fewer of a kind, than a batch needs, or a batch that the
            processes cannot share.
    """

    def __init__(self, data: Store | ShardStream, config: Config, device: torch.device) -> None:
        self.data, self.config, self.device = data, config, device
        self.generator = torch.Generator()
        self.device_generator = torch.Generator(device)
        self.layer = AugmentationLayer(config.views.augment).to(device)
        self.share = share(config.optim.batch)
        self.store: Store | None = None
        if isinstance(data, Store):
            shares = dataclasses.asdict(config.views.sample)
            self.groups = groups_by_kind(data.kinds, shares, config.optim.batch)
            self.hold(data)

    def hold(self, store: Store) -> None:
        """Draw crops from a store's clips from here on."""
        self.store = store
        self.sampler = CropSampler(
            _on_device_if_room(store.files, self.device),
            store.file_of,
            store.starts,
            store.lengths,
            crop_samples=self.config.encoder.crop_samples,
            two_crops=self.config.views.two_crops,
            speed=self.config.views.speed,
            generator=self.generator,
        )

    def clips(self, step: int) -> Tensor:
        """Return the numbers, in `store`, of this process's clips of a step, [B] int64."""
        if isinstance(self.data, Store):
            return mixed_batch(step, self.groups, self.config.seed)[self.share]
        store, clips = self.data.at(step)
        if store is not self.store:
            self.hold(store)
        return clips

    def crops(self, step: int) -> tuple[Tensor, Tensor]:
        """Return two crops of each of this process's clips of a step, [B, 1, T] each."""
        clips = self.clips(step)
        self.generator.manual_seed(step_seed(self.config.seed, step, rank(), CROPS))
        crop_a, crop_b = self.sampler.draw(clips)
        return crop_a.to(self.device), crop_b.to(self.device)

    def augment(self, step: int, crop_a: Tensor, crop_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return the crops through the Augmentation Layer, [B, 1, T] each.

        The seed is not that of the crops: with one, their positions would go with the parameters
        of effects.
        """
        self.device_generator.manual_seed(step_seed(self.config.seed, step, rank(), EFFECTS))
        view_a = self.layer(crop_a, self.device_generator)
        return view_a, self.layer(crop_b, self.device_generator)


def open_stream(sources: Sequence[str], config: Config) -> ShardStream:
    """Return the shards that a run reads while training; arguments and errors as of ShardStream."""
    return ShardStream(
        sources,
        config.stream,
        batch=config.optim.batch,
        seed=config.seed,
        shares=dataclasses.asdict(config.views.sample),
    )


class Learner:
    """The networks and their optimizer, and what one step does to them.

    Args:
        config: of the run.
        device: of this process.
        clips: in the store.
    """

    def __init__(self, config: Config, device: torch.device, clips: int) -> None:
        torch.manual_seed(config.seed)
        self.config, self.device = config, device
        self.bf16 = resolve(config.run.precision, device) == "bf16"
        self.method = build_method(config).to(device)
        self.optimizer = build_optimizer(self.method, config.optim)
        self.epoch_steps = max(1, clips // config.optim.batch)

    def wrap(self) -> None:
        """Make the networks ready to run: over all processes, compiled where asked for."""
        self.method, self.runner = parallel(self.method, self.device)
        if self.config.run.compile:
            self.runner = cast(nn.Module, torch.compile(self.runner))

    def step(self, step: int, view_a: Tensor, view_b: Tensor) -> tuple[Tensor, Tensor]:
        """Do one step of the optimizer and of the target; return loss and projections."""
        optim = self.config.optim
        torch.manual_seed(step_seed(self.config.seed, step, rank(), MODEL))
        set_learning_rate(self.optimizer, self.rate(step))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            loss, projections = self.runner(view_a, view_b)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if optim.clip_norm:
            nn.utils.clip_grad_norm_(self.method.parameters(), optim.clip_norm)
        self.optimizer.step()
        self.method.update_target(self.tau(step))
        return loss.detach(), projections

    def rate(self, step: int) -> float:
        """Return the learning rate of a step."""
        optim = self.config.optim
        return learning_rate(
            step,
            peak=optim.lr,
            steps=optim.steps,
            warmup=optim.warmup,
            schedule=optim.schedule,
            decay=optim.decay,
        )

    def tau(self, step: int) -> float:
        """Return the share of the target kept after a step; 1 where it is not updated."""
        byol = self.config.byol
        if byol.tau_every == "epoch" and (step + 1) % self.epoch_steps:
            return 1.0
        return target_decay(
            step, first=byol.tau, last=byol.tau_final, steps=self.config.optim.steps
        )


def train(config: Config, data: Store | ShardStream, out: Path, device: torch.device) -> Path:
    """Train, or go on with, a run and return the path of its weights file.

    Ctrl-C or SIGTERM ends the step under way, saves, and raises KeyboardInterrupt.

    Args:
        config: the run; `optim.batch` is the batch over all processes.
        data: the clips.
        out: folder for `state.pt`, `weights.safetensors`, `log.jsonl` and TensorBoard's files.
        device: of this process.

    Raises:
        ValueError: fewer clips than a batch, or a batch that the processes cannot share.
        DivergedError: a loss that is not finite; the state saved last is kept.
        StateError: `out` holds the state of another run, or the state cannot be written.
        LockedError: another run is training in `out`.
    """
    views = ViewSampler(data, config, device)
    learner = Learner(config, device, len(data))
    out.mkdir(parents=True, exist_ok=True)
    alone = lock(out / "run.lock", "the run's folder", "choose another --out")
    with alone if rank() == 0 else nullcontext():
        return _Run(config, out, views, learner).finish()


class _Run:
    """A run under way: its loop, its log and what it saves."""

    def __init__(self, config: Config, out: Path, views: ViewSampler, learner: Learner) -> None:
        self.config, self.data, self.views, self.learner = config, views.data, views, learner
        self.state, self.weights, self.out = out / "state.pt", out / WEIGHTS, out
        self.clock, self.losses = Clock(learner.device), list[Tensor]()

    def finish(self) -> Path:
        """Do the steps that the run still lacks, write its weights and return their path."""
        start, steps, learner = self._resume(), self.config.optim.steps, self.learner
        learner.wrap()
        folder, probe_every = self.config.run.probe, self.config.run.probe_every
        probe = read_probe(folder, self.config.encoder) if folder else None
        monitor = Monitor(self.out, start, steps, active=rank() == 0)
        with monitor, deferred_signals() as request:
            saved = time.monotonic()
            self.clock.restart()
            for step in range(start, steps):
                done = step + 1
                projections, view_a = self._step(step)
                if done % self.config.run.log_every == 0 or done == steps:
                    figures = self._figures(step, projections, view_a)
                    monitor.write(done, figures)
                    leaks = figures.get("bank/leak", 0.0) > LEAKS
                    # All processes or none: their weights are to stay the same.
                    if maxima(leaks, device=learner.device)[0]:
                        hold_front_end(learner.optimizer)
                    self.clock.lap("log")
                if probe is not None and done % probe_every == 0 and rank() == 0:
                    accuracy = knn_accuracy(learner.method, probe, learner.device)
                    monitor.write(done, {"knn": accuracy})
                    self.clock.lap("probe")
                late = rank() == 0 and time.monotonic() - saved > 60 * self.config.run.save_minutes
                due, stop = maxima(late, request.number, device=learner.device)
                if due or stop or done == steps:
                    self._save(done)
                    saved = time.monotonic()
                    self.clock.lap("save")
                monitor.advance()
                if stop:
                    request.number = stop
                    raise request.error(f"saved at step {done}; the same command goes on from it")
        if rank() == 0:
            record = provenance(self.config, self.data.describe(), steps)
            self.views.clips(max(0, steps - 1))  # of a stream, what is held at the end
            learner.method.save(self.weights, record, self.views.store)
        return self.weights

    def _resume(self) -> int:
        """Return the steps done, zero or those of the state, which is then loaded.

        The first process alone looks for the state and reads it, so that all begin alike.
        """
        if not from_first(self.state.is_file):
            return 0
        return load_state(
            self.state,
            self.learner.method,
            self.learner.optimizer,
            config=self.config,
            data=self.data.hash,
        )

    def _step(self, step: int) -> tuple[Tensor, Tensor]:
        """Do one step; return its projections and its first view."""
        crops = self.views.crops(step)
        self.clock.lap("data")
        view_a, view_b = self.views.augment(step, *crops)
        self.clock.lap("augment")
        loss, projections = self.learner.step(step, view_a, view_b)
        self.losses.append(loss)
        self.clock.lap("model")
        return projections, view_a

    def _figures(self, step: int, projections: Tensor, view_a: Tensor) -> dict[str, float]:
        """Return a line of the log: the steps since the last one, and what this one shows."""
        batch = self.config.optim.batch
        loss, clips = self._finite_loss(step + 1), len(self.losses) * batch
        self.losses.clear()
        return {
            "loss": loss,
            "spread": spread(projections),
            "rank_me": rank_me(projections),
            **filter_bank(getattr(self.learner.method, "encoder", None), view_a),
            "lr": self.learner.rate(step),
            "tau": self.learner.tau(step),
            "crops": float((step + 1) * batch),
            **self.clock.take(clips),
        }

    def _finite_loss(self, done: int) -> float:
        """Return the mean loss since the last line of the log, over all processes.

        Raises:
            DivergedError: on all processes, where it is not finite on one.
        """
        mean = float(mean_over_processes(torch.stack(self.losses).mean()))
        if not math.isfinite(mean):
            raise DivergedError(
                f"the loss is {mean} at step {done}; the state in {self.state} is kept"
            )
        return mean

    def _save(self, done: int) -> None:
        """Write the state and the weights so far, which get their whitening when the run ends."""
        if self.losses:
            self._finite_loss(done)
        if rank() != 0:
            return
        save_state(
            self.state,
            done,
            self.learner.method,
            self.learner.optimizer,
            config=self.config,
            data=self.data.hash,
        )
        try:
            self.learner.method.save(
                self.weights, provenance(self.config, self.data.describe(), done)
            )
        except (ValueError, OSError) as error:
            log.warning("step %d: no weights are written: %s", done, error)


def _on_device_if_room(files: Sequence[Tensor], device: torch.device) -> Sequence[Tensor]:
    """Return the samples on the device where it is a GPU with room for twice their size."""
    if device.type != "cuda":
        return files
    free, _ = torch.cuda.mem_get_info(device)
    size = sum(samples.nbytes for samples in files)
    if 2 * size > free:
        log.warning("the store (%.1f GB) stays in main memory", size / 1e9)
        return files
    return [samples.to(device) for samples in files]
