"""
The face of Gorse's REST API, so that its clients can call Sanad. A recommendation is a page: it is reserved and counts.

| Gorse | Sanad |
|---|---|
| Categories of an item, `category` | topics, S1 to S12 |
| Comment of an item | title |
| Labels of an item or user | the other columns of the data contract, by name |
| FeedbackType | the kind of an event; `read` is a view and `star` a save |
| write-back, offset of a recommendation | not needed: what was on a page does not come again |
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_pascal

from recsys.clock import to_text
from recsys.columns import ITEMS, USERS
from recsys.errors import DataError
from recsys.feed.engine import Engine
from recsys.instants import read_instant
from recsys.messages import MAX_SIZE, FeedRequest, FeedResponse
from recsys.services import items as catalogue_items
from recsys.services import lists, profiles, rights
from recsys.services.events import MAX_AGE_MS, accept_events
from recsys.services.fields import check_row
from recsys.stores.protocols import Catalogue
from recsys.types import Fields, JsonObject
from recsys.vocabulary import Topic
from serving.body_fields import Id
from serving.dependencies import Dependencies, PathId, encoded_response, existing, strict_router, who
from serving.problems import waiting_for_clock
from serving.routes.feed import make_page, retry_headers

MAX_ROWS: Final = 1_000  # of one call
KINDS: Final[Mapping[str, str]] = {"read": "view", "star": "save"}
"""Names of feedback that Gorse's examples use, as kinds of events. Every kind may also be named itself."""

_NOT_A_LABEL: Final = ("item_id", "user_id", "title", "topics", "published_at", "is_hidden", "joined_at")
_ITEM_LABELS: Final = tuple(column.name for column in ITEMS.columns if column.name not in _NOT_A_LABEL)
_USER_LABELS: Final = tuple(column.name for column in USERS.columns if column.name not in _NOT_A_LABEL)
Count = Annotated[int, Query(ge=1, le=MAX_SIZE)]
Offset = Annotated[int, Query(ge=0, le=MAX_ROWS)]
Labels = dict[str, Any] | list[str] | None


class GorseBody(BaseModel):
    """A body in the names of Gorse. What else a client sends is not read: the shape is that project's."""

    model_config = ConfigDict(extra="ignore", frozen=True, alias_generator=to_pascal, populate_by_name=True)


class GorseItem(GorseBody):
    """An item."""

    item_id: Id
    is_hidden: bool | None = None
    categories: list[Topic] | None = None
    timestamp: str | None = None
    labels: Labels = None
    comment: str | None = None


class GorsePatch(GorseItem):
    """What to change of an item."""

    item_id: Id | None = None  # type: ignore[assignment]  # it stands in the address


class GorseUser(GorseBody):
    """A user."""

    user_id: Id
    labels: Labels = None


class GorseUserPatch(GorseBody):
    """What to change of a user."""

    labels: Labels = None


class GorseFeedback(GorseBody):
    """What a user did with an item."""

    feedback_type: str
    user_id: Id
    item_id: Id
    timestamp: str | None = None


def gorse_routes(deps: Dependencies) -> APIRouter:
    """`/api`."""
    routes = strict_router("/api", "faces")
    for add in (_recommendations, _lists, _feedback, _items, _users):
        add(routes, deps)
    for route in routes.routes:
        route.include_in_schema = False  # type: ignore[attr-defined]  # Gorse describes it
    return routes


def _recommendations(routes: APIRouter, deps: Dependencies) -> None:
    @routes.get("/recommend/{user_id}")
    @routes.get("/recommend/{user_id}/")
    @routes.get("/recommend/{user_id}/{category}")
    def recommend(
        user_id: PathId, category: Topic | None = None, n: Count = 10, x_api_version: Annotated[str, Header()] = "1"
    ) -> Response:
        request = FeedRequest(user_id=user_id, size=n, topics=None if category is None else (category,), explain="none")
        made = make_page(deps, request)
        items = msgspec.json.decode(made.answer, type=FeedResponse).items
        if x_api_version == "2":
            return _json([_scored(item.item_id, item.score) for item in items], retry_headers(made))
        return _json([item.item_id for item in items], retry_headers(made))


def _lists(routes: APIRouter, deps: Dependencies) -> None:
    def sliced(found: Fields, n: int, offset: int, category: str | None) -> Response:
        rows = [row for row in found["items"] if category is None or category in row["topics"]]
        scored = [_scored(row["item_id"], 1 / place) for place, row in enumerate(rows, 1)]
        return _json(scored[offset : offset + n])

    @routes.get("/popular")
    @routes.get("/popular/{category}")
    @routes.get("/non-personalized/popular")
    def popular(category: Topic | None = None, n: Count = 10, offset: Offset = 0) -> Response:
        found = lists.trending(
            deps.engine(), country=None, region=None, language=None, size=MAX_ROWS, at=deps.clock.read().at
        )
        return sliced(found, n, offset, category)

    @routes.get("/latest")
    @routes.get("/latest/{category}")
    @routes.get("/non-personalized/latest")
    def latest(category: Topic | None = None, n: Count = 10, offset: Offset = 0) -> Response:
        found = lists.latest(deps.engine(), region=None, language=None, size=MAX_ROWS, at=deps.clock.read().at)
        return sliced(found, n, offset, category)

    @routes.get("/item/{item_id}/neighbors")
    @routes.get("/item/{item_id}/neighbors/{category}")
    def neighbors(item_id: PathId, category: Topic | None = None, n: Count = 10, offset: Offset = 0) -> Response:
        found = lists.similar(deps.engine(), item_id, MAX_ROWS if category else n + offset, deps.clock.read().at)
        return sliced(existing(found, "item", item_id), n, offset, category)


def _feedback(routes: APIRouter, deps: Dependencies) -> None:
    @routes.post("/feedback")
    @routes.put("/feedback")
    def insert(body: Annotated[list[GorseFeedback], Field(max_length=MAX_ROWS)]) -> Response:
        time = deps.clock.read()
        if not time.is_believed:
            raise waiting_for_clock("Feedback")
        recent, past = list[int](), list[int]()
        for place, one in enumerate(body):
            at = read_instant(one.timestamp or None)
            (past if at is not None and at < time.at - MAX_AGE_MS else recent).append(place)
        accepted, rejected = 0, list[JsonObject]()
        for places, is_history in ((recent, False), (past, True)):
            receipt = accept_events(
                deps.engine(), [_event(body[place]) for place in places], time.at, is_history=is_history
            )
            accepted += receipt.accepted
            if not is_history:
                deps.metrics.count_events(receipt)
            rejected += [{"Index": places[bad.index], "Reason": bad.reason} for bad in receipt.rejected]
        return _json({"RowAffected": accepted, "Rejected": rejected})

    @routes.get("/user/{user_id}/feedback")
    @routes.get("/user/{user_id}/feedback/{feedback_type}")
    def listed(user_id: PathId, feedback_type: str | None = None) -> Response:
        kind = None if feedback_type is None else KINDS.get(feedback_type, feedback_type)
        events = [entry.event for entry in deps.engine().stores.events.since(user_id, 0)]
        undone = {event.value for event in events if event.kind == "undo"}
        return _json(
            [
                {"FeedbackType": feedback_type or event.kind, "UserId": user_id, "ItemId": event.item_id,
                 "Timestamp": to_text(event.at), "Comment": "", "Value": 0}
                for event in events
                if event.item_id is not None and kind in (None, event.kind) and event.event_id not in undone
            ]
        )  # fmt: skip


def _items(routes: APIRouter, deps: Dependencies) -> None:
    def catalogue() -> Catalogue:
        return deps.engine().resources.catalogue_cache.catalogue

    @routes.post("/item")
    def insert(request: Request, body: GorseItem) -> Response:
        catalogue_items.put_item(catalogue(), body.item_id, _item_fields(body), deps.clock(), who(request))
        return _affected(1)

    @routes.post("/items")
    def insert_many(request: Request, body: Annotated[list[GorseItem], Field(max_length=MAX_ROWS)]) -> Response:
        rows = [{"item_id": item.item_id, **_item_fields(item)} for item in body]
        problems = catalogue_items.put_items(catalogue(), rows, deps.clock(), who(request))
        rejected = [{"Index": index, "Reason": reason} for index, reason in problems.items()]
        return _json({"RowAffected": len(rows) - len(problems), "Rejected": rejected})

    @routes.get("/items")
    def page(n: Annotated[int, Query(ge=1, le=MAX_ROWS)] = 10, cursor: str = "") -> Response:
        if cursor and not cursor.isdecimal():
            raise DataError(f"cursor: found {cursor[:40]!r}, expected one from an answer, or none")
        found: Fields = catalogue_items.list_items(deps.engine(), int(cursor[:15] or 0), n)
        return _json({"Cursor": str(found["next"] or ""), "Items": [_gorse_item(row) for row in found["items"]]})

    @routes.get("/item/{item_id}")
    def get(item_id: PathId) -> Response:
        return _json(_gorse_item(existing(catalogue_items.get_item(catalogue(), item_id), "item", item_id)))

    @routes.patch("/item/{item_id}")
    def patch(request: Request, item_id: PathId, body: GorsePatch) -> Response:
        fields = _item_fields(body)
        existing(catalogue_items.patch_item(catalogue(), item_id, fields, deps.clock(), who(request)), "item", item_id)
        return _affected(1)

    @routes.delete("/item/{item_id}")
    def delete(request: Request, item_id: PathId) -> Response:
        """It is taken down; the id stays in use."""
        return _affected(catalogue_items.delete_item(catalogue(), item_id, deps.clock(), who(request)))


def _users(routes: APIRouter, deps: Dependencies) -> None:
    @routes.post("/user")
    def insert(body: GorseUser) -> Response:
        profiles.replace_profile(deps.engine(), body.user_id, _profile_labels(body.user_id, body.labels))
        return _affected(1)

    @routes.post("/users")
    def insert_many(body: Annotated[list[GorseUser], Field(max_length=MAX_ROWS)]) -> Response:
        """All of them, or none: what cannot be read is found before the first one is written."""
        engine = deps.engine()
        for user, labels in zip(body, _profiles(engine, body), strict=True):
            profiles.replace_profile(engine, user.user_id, labels)
        return _affected(len(body))

    @routes.get("/user/{user_id}")
    def get(user_id: PathId) -> Response:
        profile = dict(profiles.get_profile(deps.engine(), user_id))
        labels = {name: value for name, value in profile.items() if name != "user_id" and value is not None}
        return _json({"UserId": user_id, "Labels": labels, "Comment": ""})

    @routes.patch("/user/{user_id}")
    def patch(user_id: PathId, body: GorseUserPatch) -> Response:
        profiles.patch_profile(deps.engine(), user_id, _profile_labels(user_id, body.labels))
        return _affected(1)

    @routes.delete("/user/{user_id}")
    def delete(request: Request, user_id: PathId) -> Response:
        """The user is erased, as by `DELETE /v1/users/{user_id}`."""
        time = deps.clock.read()
        rights.erase(deps.engine(), user_id, time.at, who(request))
        if time.is_ahead:
            deps.engine().stores.cutoffs.forget(user_id, time.latest)
        return _affected(1)


# ---- between the two shapes ----


def _event(feedback: GorseFeedback) -> JsonObject:
    """An event whose id is made of what it says: what is sent again counts once."""
    told = [feedback.feedback_type, feedback.user_id, feedback.item_id, feedback.timestamp or ""]
    return {
        "event_id": f"g{hashlib.blake2b(msgspec.json.encode(told), digest_size=15).hexdigest()}",
        "user_id": feedback.user_id,
        "item_id": feedback.item_id,
        "kind": KINDS.get(feedback.feedback_type, feedback.feedback_type),
        "at": feedback.timestamp or None,
    }


def _item_fields(item: GorseItem) -> JsonObject:
    """The columns of an item, of what was stated."""
    stated = {
        "is_hidden": item.is_hidden,
        "topics": item.categories,
        "published_at": item.timestamp or None,
        "title": item.comment,
    }
    return {name: value for name, value in stated.items() if value is not None} | _labels(item.labels, _ITEM_LABELS)


def _labels(labels: Labels, known: Sequence[str]) -> JsonObject:
    """Labels that are columns. Raises DataError for others: nothing would read them."""
    if labels is not None and not isinstance(labels, dict):
        if labels:
            raise DataError(f"Labels: found a list, expected an object with some of {', '.join(known)}")
        return {}
    if unknown := [name for name in labels or {} if name not in known]:
        raise DataError(f"Labels: found {unknown[0][:40]!r}, expected some of {', '.join(known)}")
    return dict(labels or {})


def _profile_labels(user_id: str, labels: Labels) -> Fields:
    """The columns of a profile that labels state, by the data contract; None = unknown. Raises DataError."""
    stated = _labels(labels, _USER_LABELS)
    row = check_row(USERS, {USERS.key: user_id, **stated})
    return {name: row.get(name) for name in stated}


def _profiles(engine: Engine, users: Sequence[GorseUser]) -> Sequence[Fields]:
    """The profiles of several users. Raises DataError with every problem, and whose it is."""
    found, problems = list[Fields](), list[str]()
    for place, user in enumerate(users):
        try:
            found.append(_profile_labels(user.user_id, user.labels))
            profiles.check_languages(engine, found[-1].get("languages") or ())
        except DataError as error:
            problems += [f"{place}.Labels.{problem}" for problem in error.problems]
    if problems:
        raise DataError(*problems)
    return found


def _gorse_item(row: Fields) -> JsonObject:
    return {
        "ItemId": row["item_id"],
        "IsHidden": bool(row["is_hidden"]),
        "Categories": list(row["topics"] or ()),
        "Timestamp": row["published_at"],
        "Labels": {name: row[name] for name in _ITEM_LABELS if row[name] is not None},
        "Comment": row["title"],
    }


def _scored(item_id: str, score: float) -> JsonObject:
    return {"Id": item_id, "Score": score}


def _affected(n: int) -> Response:
    return _json({"RowAffected": int(n)})


def _json(body: object, headers: Mapping[str, str] | None = None) -> Response:
    return encoded_response(msgspec.json.encode(body), headers)
