"""The report's drawings of one result: confusions, the validation curve, the map."""

import re

import numpy as np
import pytest

from benchmark.report.board import boards
from benchmark.report.charts import MOST_CLASSES, confused, confusion
from benchmark.report.curves import curves, validation
from benchmark.report.embedding_map import embedding_map
from benchmark.report.map import MOST_NAMED, map_told, scatter
from benchmark.report.page import page
from tests.benchmark.made_results import made, some


def test_the_confusion_matrix_holds_every_clip_once() -> None:
    result = made("birds", "good", 0.8)
    cells = re.findall(r"<title>(class \d) (.*?): (\d+) of (\d+)</title>", confusion(result))
    assert sum(int(count) for *_, count, _ in cells) == result.n_clips
    right = sum(int(count) for _, what, count, _ in cells if what == "right")
    assert right == (result.labels() == result.predicted()).sum()


def test_of_very_many_classes_the_commonest_confusions_are_listed() -> None:
    many = MOST_CLASSES + 1
    result = made("birds", "good", 0.2, n=20 * many, classes=many)
    text = page(boards([result]), [], {})
    assert "Commonest confusions" in text
    assert "Confusion matrix" not in text
    true, given, clips, total = confused(result)[0]
    pairs = zip(result.labels().tolist(), result.predicted().tolist(), strict=True)
    wrong = [pair for pair in pairs if pair[0] != pair[1]]
    place = tuple(result.classes.index(label) for label in (true, given))
    assert (clips, total) == (max(map(wrong.count, set(wrong))), 20)
    assert wrong.count(place) == clips


def test_the_validation_curve_is_drawn_only_where_there_is_one() -> None:
    result = made("birds", "good", 0.8)
    assert validation(result).count('class="chosen"') == 1
    without = made("birds", "good", 0.8, folds=[result.folds[0] | {"validation": []}])
    assert curves(without) == []
    assert "regularisation" not in page(boards([without]), [], {})


@pytest.mark.parametrize("accuracy", [0.0, 50.0, 100.0])
def test_a_level_validation_curve_is_drawn_inside_its_frame(accuracy: float) -> None:
    curve = [{"strength": 10.0**k, "accuracy": accuracy} for k in range(-5, 1)]
    fold = made("birds", "good", 0.8).folds[0] | {"validation": curve}
    drawn = re.search(r'<polyline points="([^"]+)"', validation(made("b", "m", 1.0, folds=[fold])))
    assert drawn
    heights = {float(point.split(",")[1]) for point in drawn[1].split()}
    assert len(heights) == 1
    assert 12.0 <= heights.pop() <= 232.0


@pytest.mark.parametrize(
    ("setting", "title"),
    [("neighbours", "the number of neighbours"), ("learning_rate", "the learning rate"),
     ("patch", "the patch")],
)  # fmt: skip
def test_each_protocols_choice_is_drawn_under_its_own_name(setting: str, title: str) -> None:
    result = made("birds", "good", 0.8)
    curve = [{setting: 10.0**k, "accuracy": 50.0 + k} for k in range(3)]
    other = made("birds", "good", 0.8, folds=[
        {k: v for k, v in result.folds[0].items() if k != "strength"}
        | {"validation": curve, setting: 100.0}
    ])  # fmt: skip
    text = page(boards([other]), [], {})
    assert f"Choosing {title}" in text
    assert "regularisation" not in text
    assert validation(other).count('class="chosen"') == 1


def test_the_map_has_a_dot_for_every_row_and_a_name_for_every_class() -> None:
    draw = np.random.default_rng(0)
    features, labels = draw.normal(size=(300, 8)), np.arange(300) % 5
    result = made("birds", "good", 0.8, map=embedding_map(features, labels))
    drawing = scatter(result)
    groups = re.findall(r'<g class="shade\d".*?</g>', drawing)
    assert len(groups) == 5
    for number, group in enumerate(groups):
        assert f"<title>class {number}: 60 clips</title>" in group
        assert group.count("h0") == 60 + 1  # and one in the legend
    assert "M-" not in drawing
    assert "Map of the embeddings" in page(boards([result]), [], {})
    assert "Map of the embeddings" not in page(boards(some()), [], {})


def test_of_very_many_classes_the_map_has_no_legend() -> None:
    many = MOST_NAMED + 1
    features, labels = np.random.default_rng(0).normal(size=(200, 8)), np.arange(200) % many
    result = made("birds", "good", 0.8, n=200, classes=many, map=embedding_map(features, labels))
    drawing = scatter(result)
    assert drawing.count("<title>") == many
    assert "<text" not in drawing
    assert "cannot all be told apart" in map_told(result)
