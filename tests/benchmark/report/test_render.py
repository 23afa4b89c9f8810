"""Whatever a name holds, each renderer shows it as text, and none loses a number."""

import csv
import io
import re

import numpy as np
import pytest
from markdown_it import MarkdownIt

from benchmark.report.render import report_markdown, to_csv, to_latex, to_markdown, to_text
from benchmark.report.table import MARKS, Cell, Column, Section, Table, clean, interval, text_table

HOSTILE = (
    "<script>alert(1)</script>",
    '" onmouseover="alert(1)',
    '=HYPERLINK("http://x")',
    "+1",
    "-2",
    "@sum",
    "a|b\nc\td",
    "`code` **bold** [link](u) ![image](u) _it_ ~~s~~ <http://x>",
    "&lt;b&gt; \\| $x$",
    "\x1b[31mred\x07",
    "\u202egnp.exe",
    "\ud800",
    r"\input{secret} 50% #1 a_b^c~d {e}",
    "[option]",
)


def hostile_table() -> Table:
    """Every hostile name as a row, a column, a tag, a note and a caption."""
    columns = [Column("Model", numeric=False), *(Column(name) for name in HOSTILE)]
    rows = [
        [Cell(name, notes=(name,), tags=(name,)), *[Cell("1.0", 1.0)] * len(HOSTILE)]
        for name in HOSTILE
    ]
    facts = [("Note", name) for name in HOSTILE]
    return Table(" ".join(HOSTILE), columns, rows, " ".join(HOSTILE), facts=facts)


def numbers_table() -> Table:
    """Random values with intervals, marks and notes."""
    draw = np.random.default_rng(0)
    columns = [Column("Model", numeric=False), *(Column(f"t{i}") for i in range(6))]
    rows = []
    for i in range(8):
        values = draw.normal(0, 2000, 6).tolist()
        points = [{"value": v, "low": v - 1, "high": v + 1} for v in values]
        cells = [interval(point, mark=int(draw.integers(-1, 2))) for point in points]
        rows.append([Cell(f"m{i}"), *cells])
    return Table("numbers", columns, rows, breaks=frozenset({3}), kind=("measured", "p", "t"))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_cleaned_text_is_one_printable_line(name: str) -> None:
    assert clean(name).isprintable()
    clean(name).encode()


def test_markdown_shows_names_as_text_in_as_many_cells() -> None:
    table = hostile_table()
    tokens = (
        MarkdownIt("commonmark")
        .enable("table")
        .enable("strikethrough")
        .parse(report_markdown([Section(HOSTILE[0], "a", [table], caption=HOSTILE[7])]))
    )
    inline = [child for token in tokens for child in token.children or []]
    kinds = {child.type for child in inline} | {token.type for token in tokens}
    forbidden = {"html_inline", "html_block", "link_open", "image", "code_inline"}
    assert not kinds & (forbidden | {"strong_open", "em_open", "s_open", "fence", "code_block"})
    assert sum(token.type == "th_open" for token in tokens) == len(HOSTILE) + 1
    assert sum(token.type == "td_open" for token in tokens) == len(HOSTILE) * (len(HOSTILE) + 1)
    shown = " ".join(child.content for child in inline)
    assert all(clean(name) in shown for name in HOSTILE)


def test_csv_has_no_formula_and_every_name() -> None:
    table = hostile_table()
    rows = list(csv.reader(io.StringIO(to_csv([table]))))[1:]
    assert len(rows) == len(HOSTILE) ** 2
    for row in rows:
        for text in row:
            assert not text.startswith(("=", "+", "-", "@")), text
    assert {row[3].removeprefix("'") for row in rows} == set(map(clean, HOSTILE))


def test_latex_has_no_command_of_a_name_and_as_many_cells() -> None:
    text = to_latex(hostile_table())
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0]
    lines = [line for line in body.splitlines() if line]
    assert len(lines) == len(HOSTILE)
    for line in lines:
        assert len(re.findall(r"(?<!\\)&", line)) == len(HOSTILE)
        assert not line.startswith("[")
    commands = set(re.findall(r"\\[a-zA-Z]+", text))
    ours = {r"\begin", r"\end", r"\toprule", r"\midrule", r"\bottomrule"}
    letters = {r"\textbackslash", r"\textasciitilde", r"\textasciicircum", r"\textless"}
    assert commands <= ours | letters | {r"\textgreater"}
    assert not re.search(r"(?<!\\)[%#]", text)


def test_a_terminal_gets_no_control_characters() -> None:
    text = to_text(hostile_table())
    assert all(line.isprintable() for line in text.splitlines())
    assert all(clean(name) in text for name in HOSTILE)


def test_no_number_is_lost_between_renderers() -> None:
    table = numbers_table()
    read = list(csv.DictReader(io.StringIO(to_csv([table]))))
    for row in table.rows:
        lines = [
            next(line for line in text.splitlines() if re.match(rf"\W*{row[0].text}\b", line))
            for text in (to_text(table), to_markdown(table), to_latex(table))
        ]
        for column, cell in zip(table.columns[1:], row[1:], strict=True):
            shown = f"{cell.text} ({cell.low:.1f} to {cell.high:.1f})"
            assert all(shown in line for line in lines)
            (line,) = [r for r in read if (r["row"], r["column"]) == (row[0].text, column.name)]
            assert (line["kind"], line["protocol"], line["task"]) == table.kind
            assert [float(line[key]) for key in ("value", "low", "high")] == [
                cell.value,
                cell.low,
                cell.high,
            ]
            assert line["mark"] == (str(cell.mark) if cell.mark else "")
        marks = [MARKS[cell.mark] for cell in row[1:] if cell.mark]
        assert re.findall(f"[{MARKS[1]}{MARKS[-1]}]", lines[1]) == marks


def test_a_terminal_table_is_ascii_aligned_and_parts_groups() -> None:
    lines = to_text(numbers_table()).splitlines()
    body = lines[lines.index("numbers") + 2 :]
    assert "".join(lines).isascii()
    assert set(body[1]) == {"-"}
    assert [i for i, line in enumerate(body) if not line] == [5]
    starts = [body[0].index(f"t{i}") for i in range(6)]
    for line in [x for x in body[2:] if x]:
        assert all(line[start - 1] == " " != line[start] for start in starts)


def test_footnotes_are_numbered_once_and_in_order() -> None:
    columns = [Column("a", numeric=False), Column("b", notes=("first",))]
    rows = [[Cell("x"), Cell("1", 1, notes=("second", "first"))]]
    table = Table("", columns, rows)
    assert table.notes == ["first", "second"]
    text = to_text(table)
    assert "b [1]" in text
    assert "1 [2] [1]" in text
    assert text.endswith("[1] first\n[2] second")


def test_a_table_of_texts() -> None:
    assert to_text(text_table([["a", "bc"], ["d", "e"]])).splitlines() == [
        "a  bc",
        "-----",
        "d  e",
    ]
