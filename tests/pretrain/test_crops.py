"""Crops: slow, obvious code reads the same."""

from typing import Any

import numpy as np
import pytest
import torch

from pretrain.data.crops import FULL_SCALE, draw_crops, gather_crops
from pretrain.data.store import Store

T = 1000


def stored(*files: torch.Tensor, lengths: list[int], file_of: list[int] | None = None) -> Store:
    """Return clips that lie end to end, in one file or several."""
    of_file = torch.tensor(file_of or [0] * len(lengths))
    counts = torch.tensor(lengths, dtype=torch.int32)
    starts = counts.cumsum(0) - counts
    begins = torch.tensor([starts[of_file == number][0] for number in range(len(files))])
    nothing = ("",) * len(lengths)
    return Store(files, of_file, starts - begins[of_file], counts, nothing, nothing, "")


def signals(lengths: list[int]) -> Store:
    """Return random clips in one file."""
    generator = torch.Generator().manual_seed(0)
    samples = torch.randint(-32767, 32768, (sum(lengths),), generator=generator).to(torch.int16)
    return stored(samples, lengths=lengths)


def drawn(
    store: Store, clips: torch.Tensor, seed: int = 0, **changes: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    settings = {"crop_samples": T, "two_crops": True, "speed": (1.0, 1.0), **changes}
    return draw_crops(store, clips, generator=generator, **settings)


RAMP = stored(torch.arange(0, 30_000, dtype=torch.int16), lengths=[30_000])
"""One clip whose samples are their own numbers."""


@pytest.mark.parametrize("speed", [0.5, 0.8, 1.0, 1.3])
def test_gather_agrees_with_interpolation_one_clip_at_a_time(speed: float) -> None:
    store = signals([5000, 300, 1000, 1, 2500])
    (samples,), starts, lengths = store.files, store.starts, store.lengths
    place = torch.tensor([0.0, 0.5, 0.25, 1.0, 1.0])
    got = gather_crops(
        samples, starts, lengths, place, torch.full((5,), speed, dtype=torch.float64), T
    )
    for i in range(5):
        clip = samples[starts[i] : starts[i] + lengths[i]].double().numpy()
        first = float(place[i]) * (len(clip) - 1 - (T - 1) * speed)
        # zeros beyond the ends: one sample further the clip is silent
        known = np.concatenate([[0.0], clip, [0.0]])
        want = np.interp(
            first + speed * np.arange(T), np.arange(-1, len(clip) + 1), known, left=0, right=0
        )
        inside = (first + speed * np.arange(T) >= 0) & (
            first + speed * np.arange(T) <= len(clip) - 1
        )
        np.testing.assert_allclose(got[i].numpy()[inside], want[inside], atol=0.05)
        far = np.abs(first + speed * np.arange(T) - len(clip) / 2) > len(clip) / 2 + 1
        assert not got[i].numpy()[far].any()


def test_speed_one_copies_samples_exactly() -> None:
    store = signals([3000, 4000])
    view, _ = drawn(store, torch.tensor([1, 0, 1]))
    assert view.shape == (3, 1, T)
    assert view.dtype == torch.float32
    for row, clip in zip(view[:, 0], (1, 0, 1), strict=True):
        whole = store.clip(clip).float() / FULL_SCALE
        assert any(torch.equal(row, window) for window in whole.unfold(0, T, 1))


def test_clips_in_several_files_give_the_crops_of_one_file() -> None:
    lengths = [3000, 1500, 900, 4000, 2000]
    whole_store = signals(lengths)
    files = whole_store.files[0].split([4500, 4900, 2000])
    parts_store = stored(*files, lengths=lengths, file_of=[0, 0, 1, 1, 2])
    clips = torch.tensor([4, 0, 2, 2, 3, 1])
    one, several = (drawn(store, clips, speed=(0.8, 1.25)) for store in (whole_store, parts_store))
    for whole, parts in zip(one, several, strict=True):
        assert torch.equal(whole, parts)


def test_no_sound_comes_from_a_neighbour() -> None:
    lengths = [1, 17, 900, 1000, 1001, 5000] * 20
    numbers = torch.arange(1, len(lengths) + 1)
    samples = torch.repeat_interleave(numbers, torch.tensor(lengths)).to(torch.int16)
    store = stored(samples, lengths=lengths)
    for view in drawn(store, numbers - 1, seed=1, speed=(0.5, 2.0)):
        most = (view[:, 0] * FULL_SCALE).amax(dim=1)
        assert torch.all(most <= numbers + 1e-2)
        assert torch.all(view >= 0)


def test_short_clips_stand_in_the_middle_of_silence() -> None:
    store = signals([400])
    view, _ = drawn(store, torch.tensor([0]))
    assert torch.equal(view[0, 0, 300:700], store.files[0].float() / FULL_SCALE)
    assert not view[0, 0, :300].any()
    assert not view[0, 0, 700:].any()


def test_places_cover_the_clip_evenly() -> None:
    view, _ = drawn(RAMP, torch.zeros(2000, dtype=torch.long))
    first = view[:, 0, 0] * FULL_SCALE
    assert first.min() < 200
    assert first.max() > 28_800
    assert first.mean() == pytest.approx(14_500, abs=600)  # three standard errors


def test_views_share_a_crop_or_do_not() -> None:
    clips = torch.zeros(8, dtype=torch.long)
    same = drawn(signals([20_000]), clips, two_crops=False)
    assert torch.equal(*same)
    assert same[0].data_ptr() != same[1].data_ptr()
    other = drawn(signals([20_000]), clips, two_crops=True)
    assert not torch.equal(*other)


def test_every_sample_has_its_own_speed() -> None:
    """A ramp of slope 1 read at speed s has slope s."""
    clips = torch.zeros(300, dtype=torch.long)
    for view in drawn(RAMP, clips, two_crops=False, speed=(0.75, 1.25)):
        slope = (view[:, 0, -1] - view[:, 0, 0]) * FULL_SCALE / (T - 1)
        assert slope.min() >= 0.7499
        assert slope.max() <= 1.2501
        assert slope.std() > 0.12
        steps = view[:, 0].diff(dim=1) * FULL_SCALE
        assert torch.all((steps - slope[:, None]).abs() < 0.01)


def test_the_generator_decides_alone() -> None:
    clips = torch.tensor([0, 1, 0, 1])
    store = signals([9000, 300])
    first = drawn(store, clips, seed=3, speed=(0.8, 1.2))
    torch.rand(5)
    again = drawn(store, clips, seed=3, speed=(0.8, 1.2))
    other = drawn(store, clips, seed=4, speed=(0.8, 1.2))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
