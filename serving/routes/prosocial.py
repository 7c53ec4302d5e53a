"""The face of the Prosocial Ranking Challenge: `POST /rank` over the same pages as `/v1/rank`."""

import hashlib
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from recsys.messages import MAX_IDS, MAX_SIZE, FeedResponse, RankCandidate, RankRequest, Wire
from serving.body_fields import Id
from serving.dependencies import Dependencies, encoded_response, strict_router, struct_response
from serving.routes.feed import make_page, retry_headers

Text = Annotated[str, Field(max_length=200)]
_LENIENT: Final = ConfigDict(extra="ignore", frozen=True)  # the shape is that project's, and may grow


class Session(BaseModel):
    """Whose page it is. Of the challenge's fields these are read."""

    model_config = _LENIENT

    user_id: Id
    session_id: Text | None = None
    current_time: Text | None = None


class Item(BaseModel):
    """An item of the platform's page. Its text is not read: what is labelled stands in the catalogue."""

    model_config = _LENIENT

    id: Id
    author_name_hash: Id | None = None


class RankingBody(BaseModel):
    """A page of a platform, to be ranked."""

    model_config = _LENIENT

    session: Session
    items: Annotated[list[Item], Field(max_length=MAX_IDS)]

    def to_request(self) -> RankRequest:
        """The request as the engine reads it. The same page of the same session is the same request."""
        ids = tuple(item.id for item in self.items)
        return RankRequest(
            user_id=self.session.user_id,
            size=max(1, min(len(ids), MAX_SIZE)),
            request_id=self._request_id(),
            candidate_ids=ids,
            candidates=tuple(RankCandidate(item_id=item.id, creator_id=item.author_name_hash) for item in self.items),
            explain="none",
        )

    def _request_id(self) -> str | None:
        if self.session.session_id is None:
            return None
        items = [(item.id, item.author_name_hash) for item in self.items]
        told = msgspec.json.encode([self.session.session_id, self.session.current_time, items])
        return f"p{hashlib.blake2b(told, digest_size=15).hexdigest()}"


class RankingAnswer(Wire, frozen=True):
    """The ids in the order to show them. What is left out is to be removed; nothing is inserted."""

    ranked_ids: tuple[str, ...]
    new_items: tuple[str, ...] = ()


def prosocial_routes(deps: Dependencies) -> APIRouter:
    """`POST /rank`. It counts like any page."""
    routes = strict_router("", "faces")

    @routes.post("/rank", include_in_schema=False)
    def rank_page(body: RankingBody) -> Response:
        if not body.items:
            return struct_response(RankingAnswer(ranked_ids=()))
        made = make_page(deps, body.to_request())
        items = msgspec.json.decode(made.answer, type=FeedResponse).items
        answer = RankingAnswer(ranked_ids=tuple(item.item_id for item in items))
        return encoded_response(msgspec.json.encode(answer), retry_headers(made))

    return routes
