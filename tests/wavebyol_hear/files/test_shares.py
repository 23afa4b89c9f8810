"""The share of a process is that of as many processes as there are."""

import pytest

from wavebyol_hear.files.shares import UsageError, share_of

SLURM = {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "5"}
ONE = {"RANK": "0", "WORLD_SIZE": "1"}  # as a container may have it


@pytest.mark.parametrize(
    ("text", "environment", "share"),
    [
        (None, {}, (0, 1, "")),
        (None, ONE, (0, 1, "")),
        (None, ONE | SLURM, (3, 5, "SLURM_ARRAY_TASK_ID")),
        ("/5", ONE | SLURM, (3, 5, "SLURM_ARRAY_TASK_ID")),
        ("/5", SLURM | {"SLURM_ARRAY_TASK_MIN": "1"}, (2, 5, "SLURM_ARRAY_TASK_ID")),
        ("/5", {"JOB_COMPLETION_INDEX": "4"}, (4, 5, "JOB_COMPLETION_INDEX")),
        ("2/5", ONE | SLURM, (2, 5, "")),
    ],
)
def test_a_share_is_that_of_as_many_processes(
    text: str | None, environment: dict[str, str], share: tuple[int, int, str]
) -> None:
    assert share_of(text, environment) == share


@pytest.mark.parametrize(
    "environment",
    [
        SLURM | {"SLURM_ARRAY_TASK_COUNT": "1", "SLURM_ARRAY_TASK_MIN": "3"},  # run again alone
        SLURM | {"SLURM_ARRAY_TASK_COUNT": "2"},
        ONE,
        {"RANK": "1", "WORLD_SIZE": "2"},
    ],
)
def test_a_share_of_another_number_of_processes_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r" is [12] and not 5: give I, such as --part 0/5"):
        share_of("/5", environment)
