"""A module's own warning that its weights are untrained, kept for whoever reads its score."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def noting_untrained(notes: list[str]) -> Iterator[list[str]]:
    """Note a module's warning that its weights are untrained; all warnings are shown as ever.

    Args:
        notes: get the warning's text.

    Yields:
        the warnings found, filled at the end.
    """
    found: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        # Python shows a warning once a place: the second task must hear of it too.
        warnings.filterwarnings("always", message="(?i).*untrained", category=UserWarning)
        yield found
    for warning in caught:
        warnings.showwarning(
            warning.message, warning.category, warning.filename, warning.lineno, line=""
        )
        if "untrained" in str(warning.message).lower():
            found.append(str(warning.message))
    notes += dict.fromkeys(found)
