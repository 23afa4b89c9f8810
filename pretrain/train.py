"""The training loop, from a store of clips to a file of weights."""

import logging
import math
import time
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from pretrain.augment.layer import AugmentationLayer
from pretrain.config import Config
from pretrain.data.crops import CropSampler
from pretrain.data.data_order import batch_of_step, check_batch, step_seed
from pretrain.data.store import Store
from pretrain.distributed import parallel, rank, share
from pretrain.methods.method import Method, build_method
from pretrain.monitor import Clock, Monitor, filter_bank, rank_me, spread
from pretrain.optimizer import build_optimizer, set_learning_rate
from pretrain.probe import Probe, knn_accuracy, read_probe
from pretrain.provenance import provenance
from pretrain.run_folder import only_run
from pretrain.schedule import learning_rate, target_decay
from pretrain.state import load_state, save_state

log = logging.getLogger(__name__)


class DivergedError(RuntimeError):
    """The loss is no longer finite; the last good state is kept."""


class Views:
    """Draws the two views of a step: crops of the store through the Augmentation Layer.

    Args:
        store: the clips; in a GPU's memory where they fit in half of what is free there.
        config: of the run.
        device: where the views are made.
        clock: told what was spent on `data` and on `augment`.
    """

    def __init__(self, store: Store, config: Config, device: torch.device, clock: Clock) -> None:
        self.config, self.clock, self.clips = config, clock, len(store.starts)
        check_batch(self.clips, config.optim.batch)
        self.part = share(config.optim.batch)
        self.chance = torch.Generator()
        self.chance_there = torch.Generator(device)
        self.device = device
        self.crops = CropSampler(
            _near(store.samples, device),
            store.starts,
            store.lengths,
            crop_samples=config.encoder.crop_samples,
            two_crops=config.views.two_crops,
            speed=config.views.speed,
            generator=self.chance,
        )
        self.augment = AugmentationLayer(config.views.augment).to(device)

    def draw(self, step: int) -> tuple[Tensor, Tensor]:
        """Return this process's two views of a step, [B, 1, T] each."""
        seed = self.config.seed
        # Seeds apart: with one, the places of crops would go with the parameters of effects.
        self.chance.manual_seed(step_seed(seed, step, 2 * rank()))
        self.chance_there.manual_seed(step_seed(seed, step, 2 * rank() + 1))
        clips = batch_of_step(step, self.clips, self.config.optim.batch, seed)
        view_a, view_b = (v.to(self.device) for v in self.crops.draw(clips[self.part]))
        self.clock.lap("data")
        views = self.augment(view_a, self.chance_there), self.augment(view_b, self.chance_there)
        self.clock.lap("augment")
        return views


class Learner:
    """The networks and their optimiser, and what one step does to them."""

    def __init__(self, config: Config, device: torch.device, clips: int) -> None:
        torch.manual_seed(config.seed)
        self.config, self.device = config, device
        self.network = build_method(config).to(device)
        self.optimizer = build_optimizer(self.network, config.optim)
        self.epoch_steps = max(1, clips // config.optim.batch)

    @property
    def method(self) -> Method:
        """The networks under the name of what they do."""
        return cast(Method, self.network)

    def wrap(self) -> None:
        """Make the networks ready to run: over all processes, compiled where asked for."""
        self.network, self.runner = parallel(self.network, self.device)
        if self.config.run.compile:
            self.runner = cast(nn.Module, torch.compile(self.runner))

    def step(self, step: int, view_a: Tensor, view_b: Tensor) -> tuple[Tensor, Tensor]:
        """Do one step of the optimiser and of the target; return loss and projections."""
        optim = self.config.optim
        torch.manual_seed(step_seed(self.config.seed, step, rank()))
        set_learning_rate(self.optimizer, self.rate(step))
        bf16 = self.config.run.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            loss, projections = self.runner(view_a, view_b)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if optim.clip_norm:
            nn.utils.clip_grad_norm_(self.network.parameters(), optim.clip_norm)
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


def train(config: Config, store: Store, out: Path, device: torch.device) -> Path:
    """Train, or go on with, a run and return the path of its weights file.

    Args:
        config: the run; `optim.batch` is the batch over all processes.
        store: the clips.
        out: folder for `state.pt`, `weights.safetensors`, `log.jsonl` and TensorBoard's files.
        device: of this process.

    Raises:
        ValueError: fewer clips than a batch, or a batch that the processes cannot share.
        DivergedError: a loss that is not finite; the state saved last is kept.
        StateError: `out` holds the state of another run, another run is at work there, or the
            state cannot be written.
    """
    views = Views(store, config, device, Clock(device))
    learner = Learner(config, device, len(store.starts))
    with only_run(out):
        return _go_on(store, out, views, learner)


def _go_on(store: Store, out: Path, views: Views, learner: Learner) -> Path:
    """Do the steps that a run still lacks, write its weights and return their path."""
    config, clock, device = views.config, views.clock, views.device
    state, start, steps = out / "state.pt", 0, config.optim.steps
    if state.is_file():
        start = load_state(
            state, learner.network, learner.optimizer, device, config=config, data=store.hash
        )
    learner.wrap()
    probe = read_probe(config.run.probe, config.encoder) if config.run.probe else None
    saved, losses = time.monotonic(), []
    with Monitor(out, start, steps, active=rank() == 0) as monitor:
        for step in range(start, steps):
            view_a, view_b = views.draw(step)
            loss, projections = learner.step(step, view_a, view_b)
            losses.append(loss)
            clock.lap("model")
            done = step + 1
            if done % config.run.log_every == 0 or done == steps:
                mean = _finite_mean(losses, done, state)
                monitor.write(done, {
                    "loss": mean,
                    "spread": spread(projections),
                    "rank_me": rank_me(projections),
                    **filter_bank(getattr(learner.method, "encoder", None), view_a),
                    "lr": learner.rate(step),
                    "tau": learner.tau(step),
                    "crops": float(done * config.optim.batch),
                    **clock.take(len(losses) * config.optim.batch),
                })
                losses.clear()
            _try_probe(probe, learner, monitor, done)
            due = time.monotonic() - saved > 60 * config.run.save_minutes
            if (due or done == steps) and rank() == 0:
                if losses:
                    _finite_mean(losses, done, state)
                save_state(
                    state, done, learner.network, learner.optimizer, config=config, data=store.hash
                )
                saved = time.monotonic()
            monitor.advance()
    weights = out / "weights.safetensors"
    if rank() == 0:
        learner.method.save(weights, provenance(config, store, steps), store)
    return weights


def _finite_mean(losses: list[Tensor], step: int, state: Path) -> float:
    """Return the mean of the losses; DivergedError where it is not finite."""
    mean = float(torch.stack(losses).mean())
    if not math.isfinite(mean):
        raise DivergedError(f"the loss is {mean} at step {step}; the state in {state} is kept")
    return mean


def _try_probe(probe: Probe | None, learner: Learner, monitor: Monitor, done: int) -> None:
    """Try the online probe where its time has come."""
    if probe is not None and done % learner.config.run.probe_every == 0 and rank() == 0:
        monitor.write(done, {"knn": knn_accuracy(learner.network, probe, learner.device)})


def _near(samples: Tensor, device: torch.device) -> Tensor:
    """Return the samples on the device where it is a GPU with room for twice their size."""
    if device.type != "cuda":
        return samples
    free, _ = torch.cuda.mem_get_info(device)
    if 2 * samples.nbytes > free:
        log.warning("the store (%.1f GB) stays in main memory", samples.nbytes / 1e9)
        return samples
    return samples.to(device)
