"""Progress of a long job: the job reports, whoever started it draws."""

from collections.abc import Callable

Progress = Callable[[str, int, int | None], None]
"""Called with the stage's name, how much is done and the total (None = not known)."""


def quiet(stage: str, done: int, total: int | None) -> None:
    """Report to nobody."""
