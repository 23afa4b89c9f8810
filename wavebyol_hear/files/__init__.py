"""Files: sound read ahead in batches, atomic writes, locks, settings, embeddings in Parquet."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wavebyol_hear.files.parquet import load

__all__ = ["load"]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Return `load`, for which pyarrow is imported when it is first used."""
    if name == "load":
        from wavebyol_hear.files.extras import require

        require("pyarrow", "files", "wavebyol_hear.files.load")
        from wavebyol_hear.files.parquet import load

        return load
    raise AttributeError(f"module 'wavebyol_hear.files' has no attribute {name!r}")
