"""What validation found: every kind of problem counted, examples of it, and the sentences about them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

EXAMPLES: Final = 20
"""How many problems of one kind in one column a report shows; all are counted."""

SHOWN: Final = 80  # characters of a value


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """
    One unusable value: where it stands (`row` is 1-based and counts data rows, `place` is the line of the file), what
    it is, what was expected.
    """

    table: str
    row: int
    column: str
    kind: str
    value: str
    expected: str
    place: str = ""

    def sentence(self) -> str:
        """The problem for a person to read."""
        place = f" ({self.place})" if self.place else ""
        where = f"table {self.table}, row {self.row:,}{place}, column {self.column!r}"
        return f"{where}: found {self.value}, expected {self.expected}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """How many rows of a table break one check."""

    table: str
    column: str
    kind: str
    expected: str
    n_rows: int


@dataclass(frozen=True, slots=True)
class TableCount:
    """Rows of one table: read, and of those refused."""

    n_read: int
    n_rejected: int

    @property
    def n_accepted(self) -> int:
        """Rows that can be used."""
        return self.n_read - self.n_rejected

    @property
    def bad_share(self) -> float:
        """Refused rows per row read, in [0, 1]; 0 for an empty table."""
        return self.n_rejected / self.n_read if self.n_read else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """
    What `validate` reports.

    `tables` counts rows per table, `problems` are examples (at most `EXAMPLES` per kind and column), `counted` is
    every kind of problem with its exact number, `failures` are the sentences for which a run must stop.
    """

    tables: Mapping[str, TableCount]
    problems: tuple[Problem, ...]
    counted: tuple[Counted, ...]
    notices: tuple[str, ...]
    failures: tuple[str, ...]
    n_unlabelled: int

    @property
    def ok(self) -> bool:
        """Whether the dataset may be used: few enough unusable rows, and something left to rank."""
        return not self.failures


def shorten(value: str | None) -> str:
    """A value for a terminal: quoted, shortened, with control and direction characters escaped."""
    if value is None:
        return "null"
    cut = value if len(value) <= SHOWN else value[: SHOWN - 1] + "…"
    return "'" + "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut) + "'"
