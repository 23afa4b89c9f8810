"""The tasks, one file a dataset; each file exposes `TASK` and is found by itself."""

from benchmark.tasks.registry import load_tasks

__all__ = ["load_tasks"]
