"""Which clips a step sees: each once an epoch, kinds in their shares, files and seeds apart."""

from collections import Counter
from collections.abc import Mapping

import pytest
import torch

from pretrain.data.order import ORDER, ClipOrder, step_seed

KINDS = ["everyday"] * 50 + ["speech"] * 31 + ["music"] * 200 + [""] * 9
NONE = {"everyday": 0.0, "speech": 0.0, "music": 0.0}
HALF = {"everyday": 0.5, "speech": 0.25, "music": 0.25}


def plain(clips: int, batch: int, seed: int = 0) -> ClipOrder:
    return ClipOrder([""] * clips, NONE, batch, seed)


def test_an_epoch_visits_every_clip_once_but_for_the_rest_that_fills_no_batch() -> None:
    order = plain(23, 5, seed=1)
    seen = torch.cat([order.batch(step) for step in range(4)])
    assert len(seen) == len(set(seen.tolist())) == 20
    assert set(seen.tolist()) < set(range(23))


def test_epochs_and_seeds_differ_and_steps_repeat() -> None:
    order = plain(100, 10)
    first = order.batch(0)
    assert not torch.equal(first, order.batch(10))
    assert torch.equal(first, order.batch(0))
    assert torch.equal(first, plain(100, 10).batch(0))
    assert not torch.equal(first, plain(100, 10, seed=1).batch(0))


def test_an_epoch_is_the_permutation_of_its_seed() -> None:
    """The order of runs that were made before: changed, no saved state would go on exactly."""
    for step in (0, 1, 17, 100):
        epoch, index = divmod(step, 290 // 16)
        generator = torch.Generator().manual_seed(step_seed(5, epoch, 0, ORDER))
        expected = torch.randperm(290, generator=generator)[16 * index : 16 * (index + 1)]
        assert torch.equal(ClipOrder(KINDS, NONE, 16, 5).batch(step), expected)


def test_a_store_smaller_than_a_batch_is_named() -> None:
    with pytest.raises(ValueError, match="3 clips, fewer than a batch of 4"):
        plain(3, 4)


def test_every_batch_has_each_kind_in_its_share_and_no_clip_twice() -> None:
    order = ClipOrder(KINDS, HALF, 16, seed=3)
    for step in range(40):
        batch = order.batch(step).tolist()
        assert len(set(batch)) == 16
        assert Counter(KINDS[clip] for clip in batch) == {"everyday": 8, "speech": 4, "music": 4}


def test_every_clip_of_a_kind_is_drawn_once_in_an_epoch_of_the_kind() -> None:
    order = ClipOrder(KINDS, {"everyday": 0.5, "speech": 0.0, "music": 0.5}, 20, seed=0)
    drawn = torch.cat([order.batch(step) for step in range(20)])
    counts = torch.bincount(drawn, minlength=len(KINDS))
    assert (counts[:50] == 4).all()  # 20 steps of 10 are four epochs of 50
    assert (counts[50:81] == 0).all()
    assert (counts[81:281] == 1).all()
    assert (counts[281:] == 0).all()


def test_every_slice_of_a_batch_is_of_all_kinds() -> None:
    order = ClipOrder(KINDS, HALF, 32, seed=1)
    halves = Counter(KINDS[clip] for step in range(50) for clip in order.batch(step)[:16].tolist())
    assert halves["everyday"] / 800 == pytest.approx(0.5, abs=0.06)
    assert halves["music"] / 800 == pytest.approx(0.25, abs=0.06)


@pytest.mark.parametrize("batch", [2, 3, 7, 10, 16])
def test_shares_are_rounded_to_the_whole_batch(batch: int) -> None:
    shares = {"everyday": 0.4, "speech": 0.35, "music": 0.25}
    drawn = ClipOrder(KINDS, shares, batch, seed=0).batch(0).tolist()
    counts = Counter(KINDS[clip] for clip in drawn)
    assert len(drawn) == batch
    for kind, share in shares.items():
        assert abs(counts[kind] - share * batch) < 1


def test_a_kind_with_too_few_clips_is_named() -> None:
    with pytest.raises(ValueError, match=r"views.sample.speech=1 needs 32 clips .* has 31"):
        ClipOrder(KINDS, {"everyday": 0.0, "speech": 1.0, "music": 0.0}, 32, seed=0)


# Files of unequal sizes, some of one kind and some of several
FILE_OF = torch.tensor([0] * 30 + [1] * 40 + [2] * 60 + [3] * 5 + [4] * 90 + [5] * 40 + [6] * 25)


@pytest.mark.parametrize("shares", [NONE, HALF])
@pytest.mark.parametrize("groups", [2, 4])
def test_files_are_dealt_out_to_groups_anew_each_epoch(
    shares: Mapping[str, float], groups: int
) -> None:
    """Each epoch all groups' clips are those of one group, and each group's lie in few files."""
    batch = 16
    order = ClipOrder(KINDS, shares, batch, seed=2, file_of=FILE_OF, file_groups=groups)
    kind, per_batch = ("music", 4) if any(shares.values()) else ("", batch)
    chosen = {i for i, each in enumerate(KINDS) if not kind or each == kind}
    steps = len(chosen) // groups // (per_batch // groups)
    assignments = set()
    for epoch in range(4):
        parts: list[list[int]] = [[] for _ in range(groups)]
        for step in range(epoch * steps, (epoch + 1) * steps):
            for part, clips in zip(parts, order.batch(step).split(batch // groups), strict=True):
                part += [clip for clip in clips.tolist() if clip in chosen]
        seen = [clip for part in parts for clip in part]
        assert len(seen) == len(set(seen)) == steps * per_batch  # each once, but for the rest
        files = [frozenset(FILE_OF[part].tolist()) for part in parts]
        # Neighbouring groups share at most the file that the cut between them goes through
        assert sum(map(len, files)) <= len(set(FILE_OF[sorted(chosen)].tolist())) + groups - 1
        assignments.add(tuple(files))
    assert len(assignments) > 1


def test_one_group_of_files_is_the_order_of_the_whole_store() -> None:
    for step in (0, 3, 50):
        one = ClipOrder(KINDS, HALF, 16, seed=2, file_of=FILE_OF).batch(step)
        assert torch.equal(one, ClipOrder(KINDS, HALF, 16, seed=2).batch(step))


def test_groups_that_do_not_divide_the_batch_are_named() -> None:
    with pytest.raises(ValueError, match=r"views\.file_groups=3 does not divide the batch of 16"):
        ClipOrder(KINDS, NONE, 16, seed=0, file_of=FILE_OF, file_groups=3)
    with pytest.raises(ValueError, match=r"sample.everyday=1 needs 64 clips of this kind"):
        ClipOrder(KINDS, {**NONE, "everyday": 1.0}, 64, seed=0, file_of=FILE_OF, file_groups=4)


def test_steps_seeds_and_processes_draw_different_numbers() -> None:
    drawn = {
        float(torch.rand(1, generator=torch.Generator().manual_seed(step_seed(s, t, p, stream))))
        for s in (0, 1, 2)
        for t in (0, 1, 10**6)
        for p in (0, 1, 63)
        for stream in range(10)
    }
    assert len(drawn) == 270
