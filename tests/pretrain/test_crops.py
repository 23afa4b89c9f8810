"""Crops: slow, obvious code reads the same."""

import numpy as np
import pytest
import torch

from pretrain.data.crops import FULL_SCALE, CropSampler, gather_crops

T = 1000


def signals(
    lengths: list[int], seed: int = 0
) -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return samples in one file, files, starts and lengths of random clips."""
    generator = torch.Generator().manual_seed(seed)
    samples = torch.randint(-32767, 32768, (sum(lengths),), generator=generator).to(torch.int16)
    starts = torch.tensor([sum(lengths[:i]) for i in range(len(lengths))])
    of_file = torch.zeros(len(lengths), dtype=torch.int64)
    return [samples], of_file, starts, torch.tensor(lengths, dtype=torch.int32)


def sampler(lengths: list[int], seed: int = 0, **changes: object) -> CropSampler:
    settings = {
        "crop_samples": T,
        "two_crops": True,
        "speed": (1.0, 1.0),
        "generator": torch.Generator().manual_seed(seed),
    }
    return CropSampler(*signals(lengths), **{**settings, **changes})  # type: ignore[arg-type]


def ramp(two_crops: bool, speed: tuple[float, float]) -> CropSampler:
    """Crops of one clip whose samples are their own numbers."""
    return CropSampler(
        [torch.arange(0, 30_000, dtype=torch.int16)],
        torch.tensor([0]),
        torch.tensor([0]),
        torch.tensor([30_000]),
        crop_samples=T,
        two_crops=two_crops,
        speed=speed,
        generator=torch.Generator().manual_seed(0),
    )


@pytest.mark.parametrize("speed", [0.5, 0.8, 1.0, 1.3])
def test_gather_agrees_with_interpolation_one_clip_at_a_time(speed: float) -> None:
    (samples,), _, starts, lengths = signals([5000, 300, 1000, 1, 2500])
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
    crops = sampler([3000, 4000])
    view, _ = crops.draw(torch.tensor([1, 0, 1]))
    assert view.shape == (3, 1, T)
    assert view.dtype == torch.float32
    for row, clip in zip(view[:, 0], (1, 0, 1), strict=True):
        start, length = crops.starts[clip], crops.lengths[clip]
        whole = crops.files[0][start : start + length].float() / FULL_SCALE
        assert any(torch.equal(row, window) for window in whole.unfold(0, T, 1))


def test_clips_in_several_files_give_the_crops_of_one_file() -> None:
    lengths = [3000, 1500, 900, 4000, 2000]
    (samples,), _, starts, counts = signals(lengths)
    ends = starts + counts
    of_file = torch.tensor([0, 0, 1, 1, 2])
    files = [samples[: ends[1]], samples[starts[2] : ends[3]], samples[starts[4] :]]
    apart = torch.cat([starts[:2], starts[2:4] - starts[2], starts[4:] - starts[4]])
    settings = {"crop_samples": T, "two_crops": True, "speed": (0.8, 1.25)}
    one, several = (
        CropSampler(*where, counts, generator=torch.Generator().manual_seed(3), **settings)  # type: ignore[arg-type]
        for where in (([samples], torch.zeros_like(of_file), starts), (files, of_file, apart))
    )
    drawn = torch.tensor([4, 0, 2, 2, 3, 1])
    for whole, parts in zip(one.draw(drawn), several.draw(drawn), strict=True):
        assert torch.equal(whole, parts)


def test_no_sound_comes_from_a_neighbour() -> None:
    lengths = [1, 17, 900, 1000, 1001, 5000] * 20
    numbers = torch.arange(1, len(lengths) + 1)
    samples = torch.repeat_interleave(numbers, torch.tensor(lengths)).to(torch.int16)
    starts = torch.tensor(lengths).cumsum(0) - torch.tensor(lengths)
    crops = CropSampler(
        [samples],
        torch.zeros(len(lengths), dtype=torch.int64),
        starts,
        torch.tensor(lengths),
        crop_samples=T,
        two_crops=True,
        speed=(0.5, 2.0),
        generator=torch.Generator().manual_seed(1),
        pad="random",
    )
    for view in crops.draw(numbers - 1):
        most = (view[:, 0] * FULL_SCALE).amax(dim=1)
        assert torch.all(most <= numbers + 1e-2)
        assert torch.all(view >= 0)


def test_short_clips_stand_in_the_middle_of_silence() -> None:
    crops = sampler([400])
    view, _ = crops.draw(torch.tensor([0]))
    assert torch.equal(view[0, 0, 300:700], crops.files[0].float() / FULL_SCALE)
    assert not view[0, 0, :300].any()
    assert not view[0, 0, 700:].any()


def test_random_padding_moves_short_clips() -> None:
    view, _ = sampler([400], pad="random").draw(torch.zeros(200, dtype=torch.long))
    first = (view[:, 0] != 0).float().argmax(dim=1)
    assert first.min() < 60
    assert first.max() > 540
    assert torch.all((view[:, 0] != 0).sum(dim=1) >= 399)


def test_places_cover_the_clip_evenly() -> None:
    crops = ramp(two_crops=True, speed=(1.0, 1.0))
    view, _ = crops.draw(torch.zeros(2000, dtype=torch.long))
    first = view[:, 0, 0] * FULL_SCALE
    assert first.min() < 200
    assert first.max() > 28_800
    assert first.mean() == pytest.approx(14_500, abs=600)  # three standard errors


def test_views_share_a_crop_or_do_not() -> None:
    clips = torch.zeros(8, dtype=torch.long)
    same = sampler([20_000], two_crops=False).draw(clips)
    assert torch.equal(*same)
    assert same[0].data_ptr() != same[1].data_ptr()
    other = sampler([20_000], two_crops=True).draw(clips)
    assert not torch.equal(*other)


def test_every_sample_has_its_own_speed() -> None:
    """A ramp of slope 1 read at speed s has slope s."""
    crops = ramp(two_crops=False, speed=(0.75, 1.25))
    for view in crops.draw(torch.zeros(300, dtype=torch.long)):
        slope = (view[:, 0, -1] - view[:, 0, 0]) * FULL_SCALE / (T - 1)
        assert slope.min() >= 0.7499
        assert slope.max() <= 1.2501
        assert slope.std() > 0.12
        steps = view[:, 0].diff(dim=1) * FULL_SCALE
        assert torch.all((steps - slope[:, None]).abs() < 0.01)


def test_the_generator_decides_alone() -> None:
    clips = torch.tensor([0, 1, 0, 1])
    settings: dict = {"speed": (0.8, 1.2)}
    first = sampler([9000, 300], seed=3, **settings).draw(clips)
    torch.rand(5)
    again = sampler([9000, 300], seed=3, **settings).draw(clips)
    other = sampler([9000, 300], seed=4, **settings).draw(clips)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop_samples": 0}, "crop_samples 0"),
        ({"speed": (1.2, 0.8)}, "speed"),
        ({"speed": (0.0, 1.0)}, "speed"),
        ({"pad": "left"}, "pad 'left'"),
    ],
)
def test_wrong_settings_are_named(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sampler([3000], **changes)
