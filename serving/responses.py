"""
What the service answers beside pages, as structs. Every answer is encoded from its struct, and so is its description.

The structs of pages, events and their parts are in `recsys.messages`: the engine makes them.
"""

from typing import Annotated, Final, Literal, cast

import msgspec
from msgspec import Meta

from recsys.columns import CREATORS, ITEMS, Column, Dtype, Table
from recsys.messages import Wire

_TYPES: Final[dict[Dtype, object]] = {
    "str": str | None, "int": int | None, "float": float | None, "bool": bool | None, "time": str | None,
    "list": tuple[str, ...] | None,
}  # fmt: skip


def _field(column: Column) -> tuple[str, object]:
    """A column as it is sent: an instant as text, null where nobody stated it."""
    about = {"description": column.about} if column.about else None
    return column.name, Annotated[_TYPES[column.dtype], Meta(extra_json_schema=about)]


def _row(name: str, table: Table, doc: str, bases: tuple[type[Wire], ...] = (Wire,)) -> type[Wire]:
    """A row of the data contract, each column null where nobody stated it."""
    fields = [(table.key, str), *(_field(column) for column in table.columns if column.name != table.key)]
    made = msgspec.defstruct(name, fields, bases=bases, namespace={"__doc__": doc}, frozen=True, kw_only=True)
    return cast(type[Wire], made)


class Answer(Wire, frozen=True):
    """An answer with its id."""

    request_id: str


_STATED: Final = "in the columns of the data contract; null = nobody stated it."
ItemRow = _row("ItemRow", ITEMS, f"One item {_STATED}")
CreatorRow = _row("CreatorRow", CREATORS, f"One creator {_STATED}")
Item = _row("Item", ITEMS, f"One item {_STATED}", (Answer,))
Creator = _row("Creator", CREATORS, f"One creator {_STATED}", (Answer,))


class ItemPage(Answer, frozen=True):
    """Items in order of their arrival; `next` is the `after` of the next page, null on the last."""

    items: tuple[ItemRow, ...]  # type: ignore[valid-type]  # made from the columns
    next: int | None


class CreatorPage(Answer, frozen=True):
    """Creators by their ids; `next` is the `after` of the next page, null on the last."""

    creators: tuple[CreatorRow, ...]  # type: ignore[valid-type]  # made from the columns
    next: str | None


class ItemTakenDown(Answer, frozen=True):
    """The item is on no page from now on."""

    item_id: str
    is_hidden: bool


class CreatorTakenDown(Answer, frozen=True):
    """No item of theirs is on a page from now on."""

    creator_id: str
    is_hidden: bool


class User(Answer, frozen=True):
    """A profile; null = nobody stated it."""

    user_id: str
    country: str | None
    region: str | None
    languages: tuple[str, ...]
    age_band: str | None
    age_source: str
    guardian_id: str | None
    consent: bool | None


class UserControls(Answer, frozen=True):
    """What a user set, or the defaults."""

    user_id: str
    muted_topics: tuple[str, ...]
    muted_creators: tuple[str, ...]
    muted_words: tuple[str, ...]
    calm_mode: bool
    personalised: bool
    daily_minutes: int | None
    local_weight: float | None
    languages: tuple[str, ...]
    night_rules: bool
    guardian_consent: bool


class LimitsInForce(Wire, frozen=True):
    """What holds for a user now, from all layers, as far as a guardian can set it."""

    daily_minutes: int | None
    night: tuple[str, ...]
    max_tier: str
    labelled_only: bool
    loop_level: int


class GuardianLimits(Answer, frozen=True):
    """The limits that a guardian set. `in_force`: what holds, after a change."""

    user_id: str
    daily_minutes: int | None
    night: tuple[str, ...]
    calm_mode: bool
    max_tier: str | None
    labelled_only: bool
    in_force: LimitsInForce | msgspec.UnsetType = msgspec.UNSET


class Reset(Answer, frozen=True):
    """What was forgotten up to when, and what stays."""

    user_id: str
    reset_at: str
    kept: tuple[str, ...]


class KeptAfterErasure(Wire, frozen=True):
    """What an erasure leaves, and until when."""

    what: str
    until: str
    hash: str


class ErasureReceipt(Answer, frozen=True):
    """What was deleted, by kind, and what stays for a while."""

    user_id: str
    erased_at: str
    rows: dict[str, int]
    kept: KeptAfterErasure
    training: str
    trained_model: str


class ListedItem(Wire, frozen=True):
    """An item of a list: labelled R0."""

    item_id: str
    creator_id: str
    tier: Literal["R0"]
    topics: tuple[str, ...]
    language: str | None
    country: str | None
    region: str | None
    published_at: str


class TrendingItems(Answer, frozen=True):
    """What people of a market act on most, best first."""

    country: str
    region: str | None
    language: str | None
    items: tuple[ListedItem, ...]


class LatestItems(Answer, frozen=True):
    """What was published last, newest first."""

    region: str | None
    language: str | None
    items: tuple[ListedItem, ...]


class SimilarItems(Answer, frozen=True):
    """Items like one, nearest first."""

    item_id: str
    items: tuple[ListedItem, ...]


class CreatorNearness(Wire, frozen=True):
    """How near a creator is: the grade, its score, and who says where they live."""

    score: float
    match: str
    source: str


class ListedCreator(Wire, frozen=True):
    """A creator with labelled R0 items: how many, and how near."""

    creator_id: str
    country: str
    region: str | None
    languages: tuple[str, ...]
    kind: str | None
    verified: bool
    followers: int | None
    n_items: int
    locality: CreatorNearness


class LocalCreators(Answer, frozen=True):
    """Creators near a place, nearest first."""

    country: str
    region: str | None
    language: str | None
    kind: str | None
    creators: tuple[ListedCreator, ...]


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


class LatestReview(Wire, frozen=True):
    """The latest review of an item: open or answered, since when, by when, and what came of it."""

    item_id: str
    state: Literal["open", "answered"]
    asked_at: str
    due_at: str
    answered_at: str | None
    outcome: Literal["upheld", "changed"] | None


class Review(LatestReview, frozen=True):
    """The latest review of an item, with the id of this answer."""

    request_id: str


class WaitingReview(LatestReview, frozen=True):
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
