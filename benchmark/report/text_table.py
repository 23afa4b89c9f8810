"""Rows of text as a table, aligned or in Markdown, with numbered notes below."""

from collections.abc import Sequence

DASH = "-"


class Notes:
    """Numbered footnotes; the same text keeps its number."""

    def __init__(self) -> None:
        """Start without a note."""
        self.texts: list[str] = []

    def mark(self, text: str) -> str:
        """Return the mark of a note, adding it where it is new."""
        if text not in self.texts:
            self.texts.append(text)
        return f"[{self.texts.index(text) + 1}]"

    def lines(self) -> list[str]:
        """Return the notes as lines."""
        return [f"[{number}] {text}" for number, text in enumerate(self.texts, start=1)]


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as text with aligned columns and a line below the head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def in_markdown(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as a Markdown table."""
    lines = ["| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in rows]
    lines.insert(1, "| " + " | ".join("---" for _ in rows[0]) + " |")
    return "\n".join(lines)
