"""Figures hold what the result holds: every clip of a matrix, every choice, every dot of a map."""

import base64
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from benchmark.report import plots
from benchmark.report.leaderboard import leaderboards
from benchmark.report.page import page
from benchmark.report.scores import MAX_CLASSES
from benchmark.report.tables import sections
from benchmark.results.schema import Result
from benchmark.stats.metrics import confusion_matrix
from tests.benchmark.made_results import made, some

SVG = "{http://www.w3.org/2000/svg}"
XLINK = "{http://www.w3.org/1999/xlink}"


def page_of(results: list[Result]) -> str:
    boards = leaderboards(results)
    return page(sections(boards, [], {}), boards)


def test_the_confusion_matrix_holds_every_clip_and_shades_its_share() -> None:
    result = made("birds", "good", 0.8)
    counts = confusion_matrix(result.labels(), result.predicted(), 5)
    drawing = ElementTree.fromstring(plots.confusion(result))
    texts = [element.text or "" for element in drawing.iter(f"{SVG}text")]
    assert [int(text) for text in texts if text.isdigit()] == counts[counts > 0].tolist()
    assert sum(int(text) for text in texts if text.isdigit()) == result.n_clips
    assert texts.count("class 3") == 2
    (image,) = drawing.iter(f"{SVG}image")
    data = str(image.get(f"{XLINK}href")).removeprefix("data:image/png;base64,")
    alpha = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))[..., 3] / 255
    if "-" in str(image.get("transform")):  # drawn upwards
        alpha = alpha[::-1] if np.argmax(alpha[:, 0]) != 0 else alpha
    shares = counts / counts.sum(axis=1, keepdims=True)
    assert alpha.shape == (5, 5)
    assert np.corrcoef(alpha.ravel(), shares.ravel())[0, 1] > 0.99


def test_of_very_many_classes_there_is_no_matrix() -> None:
    many = MAX_CLASSES + 1
    text = page_of([made("birds", "good", 0.2, n=3 * many, classes=many)])
    assert "Commonest confusions" in text
    assert "Confusion matrix" not in text


def test_the_validation_curve_rings_the_choice_and_is_drawn_only_where_there_is_one() -> None:
    result = made("birds", "good", 0.8)
    drawing = ElementTree.fromstring(plots.validation(result))
    rings = [e for e in drawing.iter() if e.get("class") == "chosen"]
    assert sum(len(list(ring.iter(f"{SVG}use"))) for ring in rings) == 1
    without = made("birds", "good", 0.8, folds=[result.folds[0] | {"validation": []}])
    assert plots.curves(without) == []
    assert "Validation accuracy" not in page_of([without])


@pytest.mark.parametrize("accuracy", [0.0, 50.0, 100.0])
def test_a_level_validation_curve_is_drawn_inside_its_frame(accuracy: float) -> None:
    curve = [{"strength": 10.0**k, "accuracy": accuracy} for k in range(-5, 1)]
    fold = made("birds", "good", 0.8).folds[0] | {"validation": curve}
    drawing = plots.validation(made("b", "m", 1.0, folds=[fold]))
    root = ElementTree.fromstring(drawing)
    _, _, wide, tall = map(float, str(root.get("viewBox")).split())
    (line,) = [
        [float(x) for x in re.findall(r"-?\d+\.\d", str(e.get("d")))]
        for e in root.iter(f"{SVG}path")
        if "stroke-width: 2;" in str(e.get("style"))
    ]
    assert len(set(line[1::2])) == 1
    assert 0 < line[1] < tall
    assert all(0 < x < wide for x in line[::2])


@pytest.mark.parametrize(
    ("setting", "title"),
    [("neighbours", "the number of neighbors"), ("learning_rate", "the learning rate"),
     ("strength", "the regularization"), ("depth", "the depth")],
)  # fmt: skip
def test_the_curve_is_named_by_what_the_protocol_chose(setting: str, title: str) -> None:
    result = made("birds", "good", 0.8)
    curve = [{setting: 10.0**k, "accuracy": 50.0 + k} for k in range(3)]
    fold = {k: v for k, v in result.folds[0].items() if k != "strength"}
    other = made("birds", "good", 0.8, folds=[fold | {"validation": curve, setting: 100.0}])
    assert f"Choosing {title}" in page_of([other])
    assert plots.validation(other).count('class="chosen"') == 1


def with_map(n: int, classes: int, **more: object) -> Result:
    draw, labels = np.random.default_rng(0), (np.arange(n) % classes).tolist()
    x, y = draw.uniform(-1, 1, (2, n)).round(3).tolist()
    xy = {"x": x, "y": y, "label": labels, "explained": [40.0, 20.0]}
    return made("birds", "good", 0.8, n=n, classes=classes, map=xy, **more)


def test_the_map_has_a_dot_for_every_row_in_its_place_and_its_class() -> None:
    result = with_map(300, 5)
    root = ElementTree.fromstring(plots.scatter(result))
    groups = [e for e in root.iter() if e.get("class") == "dots"]
    assert [g.findtext(f"{SVG}title") for g in groups] == [f"class {i}: 60 clips" for i in range(5)]
    points = result.map or {}
    drawn = []
    for group in groups:
        path = group.find(f"{SVG}path")
        assert path is not None
        numbers = [float(x) for x in re.findall(r"-?\d+\.\d", path.attrib["d"])]
        dots = np.array(numbers).reshape(-1, 2, 2)
        assert (dots[:, 0] == dots[:, 1]).all()
        drawn.append(dots[:, 0])
    order = np.argsort(points["label"], kind="stable")
    xy = np.stack([points["x"], points["y"]], axis=1)[order]
    pixels = np.concatenate(drawn)
    assert len(pixels) == 300
    for axis, sign in ((0, 1), (1, -1)):
        assert np.corrcoef(pixels[:, axis], sign * xy[:, axis])[0, 1] > 0.9999
    assert "Map of the embeddings" in page_of([result])
    assert "Map of the embeddings" not in page_of(some())


def test_of_very_many_classes_the_map_has_no_legend() -> None:
    many = plots.NAMED_CLASSES + 1
    drawing = plots.scatter(with_map(200, many))
    assert drawing.count("<title>") == many
    assert "<text" not in drawing


@pytest.mark.parametrize("name", ["good.unwhitened", "good?whiten=false"])
def test_the_map_is_the_one_before_whitening_where_there_is_a_result_of_it(name: str) -> None:
    white = with_map(40, 4)
    plain = with_map(50, 4)
    plain = made("birds", name, 0.7, n=40, classes=4, map=plain.map)
    text = page_of([white, plain])
    assert text.count("components of 50 clips") == 2
    assert f"embeddings without whitening ({name})" in text
    assert "components of 40 clips" in page_of([white])


def test_colors_are_the_pages_and_no_date_or_font_is_in_a_figure() -> None:
    for drawing in (plots.confusion(made("a", "m", 0.5)), plots.validation(made("a", "m", 0.5))):
        assert "var(--ink)" in drawing
        assert not any(color in drawing for color in plots.COLORS)
        assert "font-family" not in drawing
        assert "<metadata" not in drawing
        assert drawing.count("<text") >= 5  # letters, no outlines
