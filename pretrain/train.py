"""The training loop, from a store of clips to a file of weights."""

import logging
import math
import time
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from pretrain.config import Config
from pretrain.data.order import MODEL, step_seed
from pretrain.data.store import Store
from pretrain.data.stream import ShardStream
from pretrain.distributed import from_first, maxima, mean_over_processes, parallel, rank
from pretrain.methods.method import Method, build_method
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
from pretrain.optimizer import (
    build_optimizer,
    hold_front_end,
    learning_rate,
    set_learning_rate,
    target_decay,
)
from pretrain.state import load_state, provenance, save_state
from pretrain.views import ViewSampler
from wavebyol_hear.files.atomic import lock
from wavebyol_hear.files.interrupt import deferred_signals
from wavebyol_hear.precision import resolve

WEIGHTS, AVERAGE = "weights.safetensors", "weights_ema.safetensors"

log = logging.getLogger(__name__)


class DivergedError(RuntimeError):
    """The loss is no longer finite; the last good state is kept."""


class Learner:
    """The networks and their optimizer, and what one step does to them.

    Args:
        config: of the run.
        device: of this process.
        clips: in the store.

    Attributes:
        average: the moving average of the networks, on the first process, where `run.ema` asks.
    """

    def __init__(self, config: Config, device: torch.device, clips: int) -> None:
        torch.manual_seed(config.seed)
        self.config, self.device = config, device
        self.bf16 = resolve(config.run.precision, device) == "bf16"
        self.method = build_method(config).to(device)
        self.optimizer = build_optimizer(self.method, config.optim)
        self.average: AveragedModel | None = None
        if config.run.ema and rank() == 0:
            ema = get_ema_multi_avg_fn(config.run.ema)
            self.average = AveragedModel(self.method, multi_avg_fn=ema, use_buffers=True)
        self.epoch_steps = max(1, clips // config.optim.batch)

    def parts(self) -> dict[str, Any]:
        """Return what a training state holds; see `save_state`."""
        parts = {"network": self.method, "optimizer": self.optimizer, "average": self.average}
        return {name: part for name, part in parts.items() if part is not None}

    def wrap(self) -> None:
        """Make the networks ready to run: over all processes, compiled where asked for."""
        self.method, self.runner = parallel(self.method, self.device)
        if self.config.run.compile:
            self.runner = cast(nn.Module, torch.compile(self.runner))

    def step(self, step: int, view_a: Tensor, view_b: Tensor) -> tuple[Tensor, Tensor]:
        """Do one step of the optimizer and of the target; return loss and projections."""
        optim = self.config.optim
        torch.manual_seed(step_seed(self.config.seed, step, rank(), MODEL))
        set_learning_rate(self.optimizer, learning_rate(step, optim))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            loss, projections = self.runner(view_a, view_b)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if optim.clip_norm:
            nn.utils.clip_grad_norm_(self.method.parameters(), optim.clip_norm)
        self.optimizer.step()
        self.method.update_target(self.tau(step))
        if self.average is not None:
            self.average.update_parameters(self.method)
        return loss.detach(), projections

    def tau(self, step: int) -> float:
        """Return the share of the target kept after a step; 1 where it is not updated."""
        byol = self.config.byol
        if byol.tau_every == "epoch" and (step + 1) % self.epoch_steps:
            return 1.0
        return target_decay(step, byol, self.config.optim.steps)


def train(config: Config, data: Store | ShardStream, out: Path, device: torch.device) -> Path:
    """Train, or go on with, a run and return the path of its weights file.

    Ctrl-C or SIGTERM ends the step under way, saves, and raises KeyboardInterrupt.

    Args:
        config: the run; `optim.batch` is the batch over all processes.
        data: the clips.
        out: folder for `state.pt`, `weights.safetensors`, `weights_ema.safetensors` with
            `run.ema`, `log.jsonl` and TensorBoard's files.
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
        self.state, self.out = out / "state.pt", out
        self.clock, self.losses = Clock(learner.device), list[Tensor]()

    def finish(self) -> Path:
        """Do the steps that the run still lacks, write its weights and return their path."""
        start, steps, run = self._resume(), self.config.optim.steps, self.config.run
        self.learner.wrap()
        probe = read_probe(run.probe, self.config.encoder.sample_rate) if run.probe else None
        monitor = Monitor(self.out, start, steps, active=rank() == 0)
        with closing(monitor), deferred_signals() as request:
            self.saved = time.monotonic()
            self.clock.restart()
            for step in range(start, steps):
                done = step + 1
                projections, view_a = self._step(step)
                if done % run.log_every == 0 or done == steps:
                    figures = self._figures(step, projections, view_a)
                    monitor.write(done, figures)
                    self._hold_where_leaking(figures)
                    self.clock.lap("log")
                if probe is not None and done % run.probe_every == 0 and rank() == 0:
                    accuracy = knn_accuracy(self.learner.method, *probe, self.learner.device)
                    monitor.write(done, {"knn": accuracy})
                    self.clock.lap("probe")
                monitor.bar.update()
                stop = self._save_where_due(done, request.number)
                if stop:
                    request.number = stop
                    raise request.error(f"saved at step {done}; the same command resumes")
        if rank() == 0:
            self.views.clips(max(0, steps - 1))  # of a stream, what is held at the end
            self._export(steps, self.views.store)
        return self.out / WEIGHTS

    def _resume(self) -> int:
        """Return the steps done, zero or those of the state, which is then loaded.

        The first process alone looks for the state and reads it, so that all begin alike.
        """
        if not from_first(self.state.is_file):
            return 0
        parts = self.learner.parts()
        return load_state(self.state, parts, config=self.config, data=self.data.hash)

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
        batch, learner = self.config.optim.batch, self.learner
        loss, clips = self._finite_loss(step + 1), len(self.losses) * batch
        self.losses.clear()
        return {
            "loss": loss,
            "spread": spread(projections),
            "rank_me": rank_me(projections),
            **filter_bank(learner.method.encoder, view_a),
            "lr": learning_rate(step, self.config.optim),
            "tau": learner.tau(step),
            "crops": float((step + 1) * batch),
            **self.clock.take(clips),
        }

    def _hold_where_leaking(self, figures: dict[str, float]) -> None:
        """Keep the front end as it is from here on where the figures show that it leaks."""
        leaks = figures.get("bank/leak", 0.0) > LEAKS
        # All processes or none: their weights are to stay the same.
        if maxima(leaks, device=self.learner.device)[0]:
            hold_front_end(self.learner.optimizer)

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

    def _save_where_due(self, done: int, signal: int) -> int:
        """Save after enough minutes, at the end and on a signal; return any process's signal."""
        minutes = (time.monotonic() - self.saved) / 60
        late = rank() == 0 and minutes > self.config.run.save_minutes
        due, stop = maxima(late, signal, device=self.learner.device)
        if due or stop or done == self.config.optim.steps:
            self._save(done)
            self.saved = time.monotonic()
            self.clock.lap("save")
        return stop

    def _save(self, done: int) -> None:
        """Write the state and the weights so far, which get their whitening when the run ends."""
        if self.losses:
            self._finite_loss(done)
        if rank() != 0:
            return
        parts = self.learner.parts()
        save_state(self.state, done, parts, config=self.config, data=self.data.hash)
        try:
            self._export(done)
        except (ValueError, OSError) as error:
            log.warning("step %d: no weights are written: %s", done, error)

    def _export(self, done: int, store: Store | None = None) -> None:
        """Write the weights after so many steps, and their moving average; `store` as of `save`."""
        record = provenance(self.config, self.data.describe(), done)
        self.learner.method.save(self.out / WEIGHTS, record, store)
        if self.learner.average is not None:
            average = cast(Method, self.learner.average.module)
            average.save(self.out / AVERAGE, {**record, "ema": self.config.run.ema}, store)
        else:  # that of an earlier start with an average
            (self.out / AVERAGE).unlink(missing_ok=True)
