"""
What the service answers beside pages, as structs. Every answer is encoded from its struct, and so is its description.

The structs of pages, events and their parts are in `recsys.messages`: the engine makes them.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from recsys.messages import Wire


class Record(Wire, frozen=True):
    """A user, an item, a creator, a list or a report, with the id of this answer. Its other fields are those stored."""

    request_id: str


class Version(Wire, frozen=True):
    """What is running."""

    request_id: str
    sanad: str
    python: str
    model_version: str
    policy_version: str


class BulkRejection(Wire, frozen=True):
    """A line that was not written, counted from 1, and why."""

    line: int
    reason: str


class BulkAnswer(Wire, frozen=True):
    """What became of the lines. `duplicates`: events that were in the log already."""

    request_id: str
    accepted: int
    duplicates: int
    rejected: tuple[BulkRejection, ...]


class Model(Wire, frozen=True):
    """An artifact that the service can serve. `cutoff`: it learned from events before; null = from all."""

    version: str
    created_at: str
    cutoff: str | None
    data_fingerprint: str


class ModelList(Wire, frozen=True):
    """The model in service, the one before it (null = nothing was activated), and all that can be activated."""

    request_id: str
    active: str
    previous: str | None
    models: tuple[Model, ...]


class ConfirmedClock(Wire, frozen=True):
    """
    The server's time, and by how many seconds it was ahead of the last committed time: negative for behind, 0 where
    the clock was believed.
    """

    request_id: str
    at: str
    was_ahead_s: float


class AuditRow(Wire, frozen=True):
    """One entry of the audit log. `who` is the name of a service key, or `local`; `what` holds an `action`."""

    seq: int
    at: str
    who: str
    what: dict[str, str | float | list[str] | dict[str, str | float] | None]


class AuditPage(Wire, frozen=True):
    """Entries of the audit log in order, and the `seq` to send as `after` for the next page: null on the last."""

    request_id: str
    entries: tuple[AuditRow, ...]
    next: int | None


class ReviewState(Wire, frozen=True):
    """The latest review of an item: open or answered, since when, by when, and what came of it."""

    item_id: str
    state: Literal["open", "answered"]
    asked_at: str
    due_at: str
    answered_at: str | None
    outcome: Literal["upheld", "changed"] | None


class Review(ReviewState, frozen=True):
    """The latest review of an item, with the id of this answer."""

    request_id: str


class WaitingReview(ReviewState, frozen=True):
    """An open review, its age in seconds, and where the label comes from: its source and the kind of its evidence."""

    seq: int
    asked_by: str
    age_s: int
    is_overdue: bool
    creator_id: str | None
    tier: str | None
    is_hidden: bool | None
    source: str | None
    evidence: str | None


class ReviewPage(Wire, frozen=True):
    """Open reviews, oldest first; how many there are; the `seq` to send as `after` for the next page, or null."""

    request_id: str
    open: int
    overdue: int
    answered: int
    answered_in_time: int
    reviews: tuple[WaitingReview, ...]
    next: int | None


class Index(Wire, frozen=True):
    """Where to go from the root."""

    request_id: str
    service: str
    description: str
    ready: str
    feed: str


class Liveness(Wire, frozen=True):
    """The process answers."""

    status: Literal["live"]


class Readiness(Wire, frozen=True):
    """Whether the service can serve, and in which state its parts are."""

    status: Literal["ready", "not_ready"]
    model: str
    store: str
    policy: str
    clock: str
    harm_terms: Annotated[str, Meta(description="By which list a search for harm is known, or that there is none.")]
    helplines: Annotated[str, Meta(description="How many helplines and card texts were verified lately.")]


class FieldError(Wire, frozen=True):
    """One problem of a request: its place, a sentence, what was found and what was expected."""

    loc: tuple[str | int, ...]
    msg: str
    found: str | None
    expected: str | None


class ProblemDetail(Wire, frozen=True):
    """An error, as in RFC 9457. `type` is a name to compare with; `errors` comes with status 422."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    errors: tuple[FieldError, ...] | msgspec.UnsetType = msgspec.UNSET


EXAMPLE_PROBLEM = ProblemDetail(
    type="urn:sanad:problem:invalid",
    title="The request breaks the contract",
    status=422,
    detail="size: found 0, expected greater than or equal to 1",
    instance="/v1/feed",
    request_id="0d9f",
    errors=(
        FieldError(
            loc=("body", "size"),
            msg="size: found 0, expected greater than or equal to 1",
            found="0",
            expected="greater than or equal to 1",
        ),
    ),
)
