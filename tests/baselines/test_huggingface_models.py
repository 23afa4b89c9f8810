"""Windows of a long clip hold the frames of the whole."""

import pytest

from baselines.huggingface_models import Framing


@pytest.mark.parametrize(
    ("samples", "count"), [(400, 1), (719, 1), (720, 2), (30 * 16_000 + 80, 1500), (480_400, 1501)]
)
def test_windows_cover_all_frames(samples: int, count: int) -> None:
    framing = Framing(hop=320, field=400, centre=199.5, most=1500)
    windows = list(framing.windows(samples))
    assert sum(frames for _, _, frames in windows) == framing.frames(samples) == count
    assert windows[-1][1] == samples
    for begin, end, frames in windows:
        assert (end - begin - 400) // 320 + 1 == frames


@pytest.mark.parametrize(("samples", "count"), [(1, 1), (7_501, 1), (22_500, 1), (22_501, 2)])
def test_frames_by_their_centres_lie_within_the_clip(samples: int, count: int) -> None:
    framing = Framing(hop=15_000, field=15_000, centre=7_500, most=32, whole=False)
    assert framing.frames(samples) == count
    assert list(framing.windows(samples)) == [(0, samples, count)]
