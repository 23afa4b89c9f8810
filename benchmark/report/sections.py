"""The parts of the report's page that say where figures come from: publications, provenance."""

from collections.abc import Sequence
from html import escape

from benchmark.report.html import NONE, Column, Entry, model_name, sorting_table
from benchmark.report.published import Figure
from benchmark.results.schema import Result


def revision(result: Result) -> str:
    """Return the code's revision, shortened as git does."""
    commit, plus, changed = str(result.provenance.get("git_revision", "unknown")).partition("+")
    return commit[:10] + (f" with {changed}" if plus else "")


def published(figures: Sequence[Figure]) -> str:
    """Return published figures, a table a protocol, marked as nothing that was measured here."""
    if not figures:
        return ""
    parts = []
    for protocol in dict.fromkeys(figure.protocol for figure in figures):
        chosen = [figure for figure in figures if figure.protocol == protocol]
        tasks = sorted({figure.task for figure in chosen})
        sources = sorted({figure.source for figure in chosen})
        columns = [Column("Model", text=True), Column("Pretraining", text=True)]
        columns += [Column(escape(task)) for task in tasks]
        columns += [Column("Source", text=True)] * (len(sources) > 1)
        rows = []
        for model, pretraining, source in dict.fromkeys(
            (f.model, f.pretraining, f.source) for f in chosen
        ):
            own = {f.task: f for f in chosen if (f.model, f.source) == (model, source)}
            row = [Entry(escape(model), model), Entry(escape(pretraining), pretraining)]
            row += [_figure_entry(own.get(task)) for task in tasks]
            rows.append(row + [Entry(escape(source), source)] * (len(sources) > 1))
        told = "Published, not measured. Accuracy in percent."
        told += f" Source: {escape(sources[0])}." * (len(sources) == 1)
        parts.append(f"<h3>{escape(protocol)}</h3>{sorting_table(told, columns, rows)}")
    return (
        '<section><h2 id="published">Published figures <span class="tag warn">published, not '
        "measured</span></h2><p>From others' papers and repositories, each under its own protocol "
        "and on its own pretraining data. They are for orientation: none is comparable, digit by "
        f"digit, with a table above or with another below.</p>{''.join(parts)}</section>"
    )


def _figure_entry(figure: Figure | None) -> Entry:
    """Return a published score with its deviation, where it has one."""
    if figure is None:
        return Entry(NONE)
    deviation = "" if figure.plus_minus is None else f" ± {figure.plus_minus:.1f}"
    return Entry(f'{figure.score:.1f}<span class="soft">{deviation}</span>', figure.score)


def provenance(results: Sequence[Result]) -> str:
    """Return where each result comes from, folded away."""
    columns = [
        Column(name, text=True)
        for name in (
            "Model",
            "Task",
            "Protocol",
            "Written",
            "Revision",
            "Weights",
            "Data",
            "Packages",
        )
    ]
    rows = []
    for result in sorted(results, key=lambda r: (r.model, r.task, r.protocol)):
        told = result.provenance
        packages = ", ".join(f"{k} {v}" for k, v in told.get("packages", {}).items())
        plain = [result.task, result.protocol, str(told.get("written", ""))]
        row = [Entry(model_name(result.model), result.model)]
        row += [Entry(escape(value), value) for value in [*plain, revision(result)]]
        for name in ("weights_hash", "data_hash"):
            value = str(told.get(name, ""))
            row.append(Entry(f"<code>{escape(value[:12])}</code>", value))
        rows.append([*row, Entry(escape(packages), packages, wrap=True)])
    table = sorting_table("One line a result; hashes are cut to 12 digits.", columns, rows)
    return (
        '<section><h2 id="provenance">Provenance</h2><details><summary>Revision, hashes and '
        f'packages of {len(results)} results</summary><div class="inside">{table}</div></details>'
        "</section>"
    )
