"""The marker of tests that take more than a few seconds."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Register `slow`, so that `-m "not slow"` leaves those tests out."""
    config.addinivalue_line("markers", "slow: takes more than a few seconds")
