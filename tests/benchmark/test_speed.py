"""The speed benchmark at a small size: that it runs and that fast numbers are the plain ones."""

import json

import pytest
import torch

from tools.speed.__main__ import main
from tools.speed.clock import Figure, interleaved, product_flop
from tools.speed.encoder import SpeedError, _check
from tools.speed.reference import PlainNetwork


def test_every_quick_part_runs_and_is_written(tmp_path, capsys):
    parts = ["embedding", "timestamps", "probe", "nsynth", "decode", "search"]
    path = tmp_path / "new" / "speed.json"
    words = ["--small", "--workers", "1", "--only", ",".join(parts), "--json", str(path)]
    assert main(words) == 0
    result = json.loads(path.read_text())
    assert set(result) == {"machine", "packages", "git_revision", "plan", "figures"}
    assert {f["part"] for f in result["figures"]} == {"roof", *parts}
    assert all(f["value"] > 0 for f in result["figures"])
    compared = [f for f in result["figures"] if f["part"] == "embedding" and f["ratio"]]
    assert {f["what"].split(",")[0] for f in compared} == {"h1", "slim"}
    shown = capsys.readouterr().out
    for f in result["figures"]:
        assert f["what"] in shown
        assert f["what"] in path.with_suffix(".md").read_text()


def test_growth_embeds_in_processes_of_their_own(tmp_path):
    path = tmp_path / "speed.json"
    assert main(["--small", "--workers", "1", "--only", "growth", "--json", str(path)]) == 0
    result = [f["what"] for f in json.loads(path.read_text())["figures"] if f["part"] == "growth"]
    assert sum("20 clips, time" in what for what in result) == 1
    assert sum("40 clips, time" in what for what in result) == 1


def test_numbers_that_are_not_the_plain_ones_have_no_speed():
    plain = torch.tensor([[1.0, 2.0, 3.0]])
    _check("h2", "fp32", plain, plain)
    _check("h2", "bf16", plain.bfloat16().float() * 1.001, plain)
    with pytest.raises(SpeedError, match=r"h2 in fp32 is off .* by 1.0e-03"):
        _check("h2", "fp32", plain * 1.001, plain)
    with pytest.raises(SpeedError, match="cosine"):
        _check("h2", "bf16", plain.flip(1), plain)


def test_the_plain_network_is_not_the_package_s_own_tensors():
    weight = torch.ones(1)
    plain = PlainNetwork({"encoder.some.weight": weight}, "1 P")
    weight.zero_()
    assert plain.state["some.weight"] == 1


def test_calls_take_turns_after_a_warm_up():
    order = []
    result = interleaved({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 3)
    assert order == ["a", "b"] * 4
    assert set(result) == {"a", "b"}
    assert product_flop(10) == 2000


@pytest.mark.parametrize(
    ("value", "ratio", "target", "at_most", "met"),
    [
        (9.0, 2.0, 1.6, False, True),
        (9.0, 1.5, 1.6, False, False),
        (1.0, None, 1.5, True, True),
        (2.0, None, 1.5, True, False),
        (2.0, 3.0, None, False, None),
    ],
)
def test_a_target_is_a_bound_of_the_ratio_where_there_is_one(value, ratio, target, at_most, met):
    assert Figure("p", "w", value, "s", ratio, target=target, at_most=at_most).met is met


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--only", "lunch"], "no part 'lunch'"),
        (["--runs", "0"], "--runs is 0"),
        (["--counts", "10,x"], "give whole numbers"),
    ],
)
def test_a_wrong_command_line_is_named(words, why, capsys):
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert why in capsys.readouterr().err
