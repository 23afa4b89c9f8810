"""Published figures are the given ones, and doubtful ones are refused."""

from pathlib import Path

import pytest

from benchmark.report.published import FIGURES, PublishedError, read_published
from benchmark.report.tables import published_tables


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("m,AudioSet,linear,esc50,80,,", "source is empty"),
        ("m,AudioSet,linear,esc50,eighty,,paper", "could not convert.*; give a percentage"),
        ("m,AudioSet,linear,esc50,nan,,paper", "give a percentage"),
        ("m,AudioSet,linear,esc50,80,paper", "needs 7 columns"),
        ("m,AudioSet,linear,esc50,80,,a\nm,AudioSet,linear,esc50,81,,b", "is listed twice"),
    ],
)
def test_doubtful_published_figures_are_refused(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "published.csv"
    head = FIGURES.read_text(encoding="utf-8").splitlines()[0]
    path.write_text(f"{head}\n{line}\n", encoding="utf-8")
    with pytest.raises(PublishedError, match=message):
        read_published(path)


def test_fine_tuned_figures_have_a_table_of_their_own() -> None:
    """SSAST's authors publish no other ones; beside linear ones they would say something false."""
    tables = {table.title: table for table in published_tables(read_published())}
    names = {
        title: {str(row[0].text) for row in table.rows if "SSAST" in str(row[0].text)}
        for title, table in tables.items()
    }
    assert len(names.pop("Published: fine-tuned")) == 12
    assert not set.union(*names.values())


def test_a_binary_file_is_no_table(tmp_path: Path) -> None:
    path = tmp_path / "figures.csv"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(PublishedError, match="no CSV table in UTF-8"):
        read_published(path)
