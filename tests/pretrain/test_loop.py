"""The seams of the training loop: what it calls, with which numbers, and what a resumed run holds.

`reference` is the loop written again, from the definitions and with nothing of pretrain.train; each
thing that a setting turns on is shown to matter by leaving it out.
"""

import json
import math
import os
import signal

import pytest
import torch

import pretrain.train
import pretrain.views
from pretrain.config import read_config
from pretrain.data.crops import draw_crops
from pretrain.data.order import ClipOrder, step_seed
from pretrain.data.store import Store
from pretrain.data.store_build import build
from pretrain.methods.method import build_method
from pretrain.monitor import knn_accuracy, read_probe
from pretrain.train import DivergedError, Learner, train
from pretrain.views import ViewSampler
from tests.pretrain.synthetic_sources import sound, wav, write_tar
from wavebyol_hear.checkpoint import load_weights
from wavebyol_hear.files.atomic import LockedError, lock

CPU, STEPS, BATCH, CLIPS = torch.device("cpu"), 5, 8, 24
TINY = [
    "encoder.widths=4 P 8 P",
    "encoder.crop_samples=4096",
    "encoder.front_end.trained=true",
    f"optim.batch={BATCH}",
    f"optim.steps={STEPS}",
    "optim.warmup=2",
    "optim.eps=1e-4",
    "optim.schedule=constant",
    "byol.loss=byol",
    "byol.projector=[16, 8]",
    "byol.predictor=16",
    "byol.mix_views=false",
    "run.precision=fp32",
    "run.log_every=2",
]
# Each group of settings, and the parts of the definition that it turns on.
CASES = {
    "target, cosine": (["byol.tau=0.5", "optim.schedule=cosine"], ["target", "schedule"]),
    "target once an epoch": (["byol.tau=0.5", "byol.tau_every=epoch"], ["epoch", "target"]),
    "decay at the end": (["optim.schedule=wsd", "optim.decay=0.6"], ["schedule", "warmup"]),
    "clipping": (["optim.clip_norm=0.05"], ["clip"]),
    "front end": (["optim.front_end_scale=50"], ["scale"]),
    "weight decay": (["optim.weight_decay=5"], ["decay"]),
}


def config(*sets):
    return read_config("tiny", None, [*TINY, *sets])


def trained(settings, clips, out, monkeypatch):
    """Train; return the state and the views of each step."""
    views = []

    class Spy(ViewSampler):
        def augment(self, step, crop_a, crop_b):
            views.append(super().augment(step, crop_a, crop_b))
            return views[-1]

    monkeypatch.setattr(pretrain.train, "ViewSampler", Spy)
    train(settings, clips, out, CPU)
    return torch.load(out / "state.pt", weights_only=True), views


def rate(optim, step, without):
    """Return the learning rate: up in a line, then by the schedule's formula."""
    if step < optim.warmup and "warmup" not in without:
        return optim.lr * (step + 1) / optim.warmup
    if "schedule" in without or optim.schedule == "constant":
        return optim.lr
    if optim.schedule == "cosine":
        passed = (step - optim.warmup) / (optim.steps - optim.warmup)
        return optim.lr * (1 + math.cos(math.pi * passed)) / 2
    left = optim.steps - step
    return optim.lr * min(1, left / (optim.decay * optim.steps))


def reference(settings, views, without=()):
    """Return the networks after the views' steps; `without` leaves parts of the definition out."""
    optim, byol = settings.optim, settings.byol
    torch.manual_seed(settings.seed)
    method = build_method(settings)
    parameters = {n: p for n, p in method.named_parameters() if p.requires_grad}
    mean = {n: torch.zeros_like(p) for n, p in parameters.items()}
    square = {n: torch.zeros_like(p) for n, p in parameters.items()}
    for step, (view_a, view_b) in enumerate(views):
        loss, _ = method(view_a, view_b)
        gradients = dict(
            zip(parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True)
        )
        norm = math.sqrt(sum(float(g.double().square().sum()) for g in gradients.values()))
        factor = 1.0
        if optim.clip_norm and "clip" not in without:
            factor = min(1.0, float(optim.clip_norm / norm))
        with torch.no_grad():
            for name, parameter in parameters.items():
                g, lr = gradients[name] * factor, rate(optim, step, without)
                if name.endswith(("centre", "bandwidth")) and "scale" not in without:
                    lr *= optim.front_end_scale
                if parameter.ndim > 1 and "decay" not in without:
                    parameter.mul_(1 - lr * optim.weight_decay)
                first, second = optim.betas
                mean[name] = first * mean[name] + (1 - first) * g
                square[name] = second * square[name] + (1 - second) * g**2
                step_size = mean[name] / (1 - first ** (step + 1))
                spread = (square[name] / (1 - second ** (step + 1))).sqrt() + optim.eps
                parameter.sub_(lr * step_size / spread)
            passed = (1 + math.cos(math.pi * step / optim.steps)) / 2
            tau = byol.tau_final - (byol.tau_final - byol.tau) * passed
            at_step = byol.tau_every == "step" or "epoch" in without
            if "target" not in without and (at_step or (step + 1) % (CLIPS // BATCH) == 0):
                assert method.target is not None
                for old, new in zip(
                    method.target.parameters(), method.online.parameters(), strict=True
                ):
                    old.copy_(tau * old + (1 - tau) * new)
    return method.state_dict()


def distance(one, two):
    """Return the largest difference of two states, over the larger of 1 and the values.

    A bias before a norm has no gradient but rounding, which Adam makes as large as any other.
    """
    names = [n for n in one if n.endswith(("weight", "centre", "bandwidth"))]
    return max(float(((one[n] - two[n]).abs() / one[n].abs().clamp_min(1)).max()) for n in names)


@pytest.mark.parametrize("name", CASES)
def test_the_loop_is_its_definition_and_each_part_matters(store, tmp_path, monkeypatch, name):
    sets, parts = CASES[name]
    settings = config(*sets)
    state, views = trained(settings, Store.open(store), tmp_path, monkeypatch)
    assert len(views) == state["step"] == STEPS
    assert distance(state["network"], reference(settings, views)) < 1e-4
    for part in parts:
        assert distance(state["network"], reference(settings, views, [part])) > 3e-4, part


@pytest.mark.parametrize("precision", ["fp32", "bf16", "auto"])
def test_the_precision_asked_for_is_that_of_the_forward_pass(monkeypatch, precision):
    monkeypatch.setattr(pretrain.train, "resolve", lambda name, _: {"auto": "bf16"}.get(name, name))
    learner, seen = Learner(config(f"run.precision={precision}"), CPU, CLIPS), []
    learner.wrap()
    learner.method.get_submodule("predictor").register_forward_hook(
        lambda *_: seen.append(torch.is_autocast_enabled("cpu"))
    )
    learner.step(0, *torch.randn(2, BATCH, 1, 4096).unbind())
    assert seen == [precision != "fp32"]


def test_the_log_tells_what_the_steps_used(store, tmp_path):
    settings = config("optim.schedule=cosine", "byol.tau=0.9", "run.log_every=1")
    train(settings, Store.open(store), tmp_path, CPU)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["lr"] for line in lines] == pytest.approx(
        [rate(settings.optim, step, ()) for step in range(STEPS)], rel=1e-5
    )
    assert all(
        line["share/data"] + line["share/augment"] + line["share/model"] <= 1.001 for line in lines
    )


def test_every_rank_draws_its_own_clips_and_all_make_up_the_batch(store, monkeypatch):
    clips, drawn = Store.open(store), []

    def spy(samples, numbers, **settings):
        drawn.append(numbers.tolist())
        return draw_crops(samples, numbers, **settings)

    monkeypatch.setattr("pretrain.views.draw_crops", spy)
    monkeypatch.setattr("pretrain.distributed.world", lambda: 4)
    for rank in range(4):
        monkeypatch.setattr("pretrain.distributed.rank", lambda rank=rank: rank)
        monkeypatch.setattr("pretrain.views.rank", lambda rank=rank: rank)
        ViewSampler(clips, config(), CPU).crops(1)
    monkeypatch.undo()
    assert [len(numbers) for numbers in drawn] == [2] * 4
    numbers = [number for part in drawn for number in part]
    assert numbers == ClipOrder([""] * CLIPS, {}, BATCH, 0).batch(1).tolist()


def test_with_file_groups_every_rank_reads_files_of_its_own(tmp_path, monkeypatch):
    """Of eight files, and the batch that all ranks see is that of one process."""
    for number in range(8):
        folder = tmp_path / f"tars-{number}"
        folder.mkdir()
        waves = {f"{i}.wav": wav(sound(10 * number + i, 6000)) for i in range(4)}
        write_tar(folder / "a.tar", waves)
    folders = [str(tmp_path / f"tars-{number}") for number in range(8)]
    build(folders, tmp_path / "store", 1, max_bytes=1)
    clips = Store.open(tmp_path / "store")
    assert len(clips.files) == 8
    settings = config("views.file_groups=4")
    whole = torch.cat([ViewSampler(clips, settings, CPU).clips(step) for step in range(4)])
    for world in (2, 4):
        monkeypatch.setattr("pretrain.distributed.world", lambda world=world: world)
        files, parts = [], []
        for rank in range(world):
            monkeypatch.setattr("pretrain.distributed.rank", lambda rank=rank: rank)
            views = ViewSampler(clips, settings, CPU)
            parts.append([views.clips(step) for step in range(4)])  # an epoch
            files.append(set(clips.file_of[torch.cat(parts[-1])].tolist()))
        assert [len(each) for each in files] == [8 // world] * world
        assert set.union(*files) == set(range(8))
        assert torch.equal(torch.cat([part for step in zip(*parts) for part in step]), whole)  # noqa: B905


def test_no_seed_is_used_twice(store, monkeypatch):
    """Steps, processes and what is drawn (crops, effects, in the model) have seeds of their own."""
    seeds, clips, settings = [], Store.open(store), config()

    def spy(*args):
        seeds.append(step_seed(*args))
        return seeds[-1]

    monkeypatch.setattr(pretrain.train, "step_seed", spy)
    monkeypatch.setattr(pretrain.views, "step_seed", spy)
    learner = Learner(settings, CPU, CLIPS)
    learner.wrap()
    for rank in range(3):
        monkeypatch.setattr("pretrain.train.rank", lambda rank=rank: rank)
        monkeypatch.setattr("pretrain.views.rank", lambda rank=rank: rank)
        views = ViewSampler(clips, settings, CPU)
        for step in range(3):
            learner.step(step, *views.augment(step, *views.crops(step)))
    assert len(seeds) == len(set(seeds)) == 27


def test_a_step_is_a_function_of_its_number(store):
    settings = config()
    one, two = (ViewSampler(Store.open(store), settings, CPU) for _ in range(2))
    first = [one.augment(step, *one.crops(step)) for step in (0, 1)]
    again = two.augment(1, *two.crops(1))
    assert torch.equal(torch.stack(first[1]), torch.stack(again))
    assert not torch.equal(torch.stack(first[0]), torch.stack(first[1]))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_in_a_step_it_saves_and_goes_on_bit_for_bit(store, tmp_path, monkeypatch, number):
    clips = Store.open(store)
    train(config(), clips, tmp_path / "whole", CPU)

    class Stopped(Learner):
        def step(self, step, view_a, view_b):
            if step == 2:
                os.kill(os.getpid(), number)
            return super().step(step, view_a, view_b)

    with monkeypatch.context() as patch:
        patch.setattr(pretrain.train, "Learner", Stopped)
        with pytest.raises(KeyboardInterrupt, match="saved at step 3"):
            train(config(), clips, tmp_path / "parts", CPU)
    assert torch.load(tmp_path / "parts/state.pt", weights_only=True)["step"] == 3
    assert (tmp_path / "parts/weights.safetensors").is_file()
    train(config(), clips, tmp_path / "parts", CPU)
    whole, parts = ((tmp_path / n / "weights.safetensors") for n in ("whole", "parts"))
    assert whole.read_bytes() == parts.read_bytes()


def test_a_second_signal_stops_at_once(store, tmp_path, monkeypatch):
    class Stopped(Learner):
        def step(self, step, view_a, view_b):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            raise AssertionError("went on after the second signal")

    monkeypatch.setattr(pretrain.train, "Learner", Stopped)
    with pytest.raises(KeyboardInterrupt, match="at once"):
        train(config(), Store.open(store), tmp_path, CPU)
    assert not (tmp_path / "state.pt").exists()


def test_every_save_writes_weights_that_load(store, tmp_path, monkeypatch):
    steps = []

    class Spy(Learner):
        def step(self, step, view_a, view_b):
            path = tmp_path / "weights.safetensors"
            if path.exists():
                weights = load_weights(path)
                steps.append(weights.provenance["steps"])
                assert not weights.whitenings
            return super().step(step, view_a, view_b)

    monkeypatch.setattr(pretrain.train, "Learner", Spy)
    path = train(config("run.save_minutes=0"), Store.open(store), tmp_path, CPU)
    assert steps == [1, 2, 3, 4]
    assert load_weights(path).provenance["steps"] == STEPS
    assert load_weights(path).whitenings


def test_the_moving_average_is_that_of_every_step_also_of_a_resumed_run(
    store, tmp_path, monkeypatch
):
    seen = []

    class Spy(Learner):
        def step(self, step, view_a, view_b):
            result = super().step(step, view_a, view_b)
            weights = self.method.get_submodule("online.encoder").state_dict()
            seen.append({key: value.double() for key, value in weights.items()})
            return result

    monkeypatch.setattr(pretrain.train, "Learner", Spy)
    clips = Store.open(store)
    # A schedule that the length of the run does not change
    ema, *fixed = "run.ema=0.75", "byol.tau=0.9", "byol.tau_final=0.9"
    train(config(ema, *fixed), clips, tmp_path / "whole", CPU)
    expected = seen[0]
    for weights in seen[1:]:
        expected = {key: 0.75 * expected[key] + 0.25 * weights[key] for key in expected}
    got = load_weights(tmp_path / "whole/weights_ema.safetensors")
    assert got.whitenings
    assert got.provenance["ema"] == 0.75
    for key, value in got.encoder.state_dict().items():
        if value.is_floating_point():  # else a count of batches
            torch.testing.assert_close(value.double(), expected[key], rtol=1e-5, atol=1e-7)
    last = load_weights(tmp_path / "whole/weights.safetensors").encoder.state_dict()
    assert any(not torch.equal(last[k], v) for k, v in got.encoder.state_dict().items())
    train(config(ema, *fixed, "optim.steps=2"), clips, tmp_path / "parts", CPU)
    train(config(ema, *fixed), clips, tmp_path / "parts", CPU)
    train(config(*fixed), clips, tmp_path / "none", CPU)
    one, two = (tmp_path / name / "weights_ema.safetensors" for name in ("whole", "parts"))
    assert one.read_bytes() == two.read_bytes()
    one, two = (tmp_path / name / "weights.safetensors" for name in ("whole", "none"))
    assert load_weights(two).provenance["config"]["run"]["ema"] == 0
    torch.testing.assert_close(load_weights(two).encoder.state_dict(), last, rtol=0, atol=0)
    assert not (tmp_path / "none/weights_ema.safetensors").exists()


def test_a_line_of_the_log_is_of_the_steps_since_the_last_one(store, tmp_path, monkeypatch):
    losses = []

    class Spy(Learner):
        def step(self, step, view_a, view_b):
            loss, projections = super().step(step, view_a, view_b)
            losses.append(float(loss))
            return loss, projections

    monkeypatch.setattr(pretrain.train, "Learner", Spy)
    train(config("byol.tau=0.5", "optim.schedule=cosine"), Store.open(store), tmp_path, CPU)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    parts = [losses[:2], losses[2:4], losses[4:]]
    assert [line["step"] for line in lines] == [2, 4, STEPS]
    assert [line["loss"] for line in lines] == pytest.approx(
        [sum(part) / len(part) for part in parts], rel=1e-5
    )
    for line in lines:
        assert line["crops"] == BATCH * line["step"]
        shares = {name: value for name, value in line.items() if name.startswith("share/")}
        assert min(shares[f"share/{part}"] for part in ("data", "augment", "model")) > 0
        assert sum(shares.values()) == pytest.approx(1, abs=1e-4)
        assert line["clips_per_second"] > 0


def test_the_online_probe_is_logged_every_so_many_steps_and_changes_nothing(
    store, tmp_path, probe_folder, monkeypatch
):
    learners = []

    class Spy(Learner):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            learners.append(self)

    monkeypatch.setattr(pretrain.train, "Learner", Spy)
    clips, steps = Store.open(store), "optim.steps=4"
    seeing = config(steps, f"run.probe={probe_folder}", "run.probe_every=2")
    train(seeing, clips, tmp_path / "seeing", CPU)
    lines = [json.loads(s) for s in (tmp_path / "seeing/log.jsonl").read_text().splitlines()]
    accuracies = {line["step"]: line["knn"] for line in lines if "knn" in line}
    assert list(accuracies) == [2, 4]
    probe = read_probe(probe_folder, 16_000)
    assert accuracies[4] == pytest.approx(knn_accuracy(learners[0].method, *probe, CPU), rel=1e-5)
    train(config(steps), clips, tmp_path / "blind", CPU)
    one, two = (
        load_weights(tmp_path / name / "weights.safetensors") for name in ("seeing", "blind")
    )
    torch.testing.assert_close(one.encoder.state_dict(), two.encoder.state_dict(), rtol=0, atol=0)


def test_a_run_may_begin_its_average_later_and_end_it(store, tmp_path):
    clips = Store.open(store)
    train(config("optim.steps=3"), clips, tmp_path, CPU)
    train(config("optim.steps=4", "run.ema=0.5"), clips, tmp_path, CPU)
    files = (tmp_path / "weights.safetensors", tmp_path / "weights_ema.safetensors")
    last, average = (load_weights(file).encoder.state_dict() for file in files)
    torch.testing.assert_close(average, last, rtol=0, atol=0)  # of one step
    train(config("optim.steps=5"), clips, tmp_path, CPU)
    assert not files[1].exists()


def test_one_run_a_folder(store, tmp_path):
    with (
        lock(tmp_path / "run.lock", "the run's folder", "wait"),
        pytest.raises(LockedError, match="choose another --out"),
    ):
        train(config(), Store.open(store), tmp_path, CPU)
    assert not (tmp_path / "state.pt").exists()


def test_nan_on_one_process_ends_all(store, tmp_path, monkeypatch):
    """The loss that is checked is the mean over processes, here with one whose loss is NaN."""
    monkeypatch.setattr(pretrain.train, "mean_over_processes", lambda loss: loss + math.nan)
    with pytest.raises(DivergedError, match="nan at step 2"):
        train(config(), Store.open(store), tmp_path, CPU)
