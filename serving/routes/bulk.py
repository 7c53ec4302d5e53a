"""Many rows at once, in JSON Lines."""

from typing import Annotated, Final

import msgspec
from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Query, Request, Response

from recsys.services.bulk import Bulk, write_bulk
from serving.bodies import BulkQuery
from serving.dependencies import Dependencies, strict_router, struct_response, who
from serving.openapi import Description, response
from serving.problems import Problem, waiting_for_clock
from serving.responses import BulkAnswer

MEDIA_TYPES: Final = ("application/x-ndjson", "application/jsonl")
_RESPONSES: Final[dict[int | str, Description]] = {200: response(BulkAnswer, "What became of the lines.")}
_BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {MEDIA_TYPES[0]: {"schema": {"type": "string", "description": "A JSON object a line."}}},
    }
}


def bulk_routes(deps: Dependencies) -> APIRouter:
    """`/v1/bulk`."""
    routes = strict_router("/v1/bulk", "bulk", _RESPONSES)
    one_at_a_time = CapacityLimiter(1)  # so that pages and single calls wait for one call of bulk at most

    @routes.post("/{table}", summary="Write many rows", openapi_extra=_BODY)
    async def write_rows(request: Request, table: Bulk, query: Annotated[BulkQuery, Query()]) -> Response:
        """
        Items, creators, users or events, a JSON object a line, in the fields of the single calls and with the id in
        each. A line that is refused is named with a sentence; all others are written, and durable with the answer.
        Send the lines again where an answer is missing: nothing counts twice.

        Items come in unlabelled unless the rows say more. With `history=true` events are older than 7 days: the next
        model learns from them, and they count as seen; they tighten nothing and free nothing.
        """
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() not in MEDIA_TYPES:
            raise Problem(
                415, f"Found a body of another type; send JSON Lines with the header Content-Type: {MEDIA_TYPES[0]}."
            )
        if query.history and table != "events":
            raise Problem(422, f"Found history=true for {table}, expected it for events only; leave it out.")
        if table == "events" and not deps.clock.read().is_believed:
            raise waiting_for_clock("Events")
        body = await request.body()

        def write() -> Response:
            receipt = write_bulk(deps.engine(), table, body, deps.clock(), who(request), is_history=query.history)
            if table == "events" and not query.history:
                deps.metrics.count_events(receipt)
            fields = {"request_id": request.state.request_id, **msgspec.to_builtins(receipt)}
            return struct_response(msgspec.convert(fields, BulkAnswer))

        return await to_thread.run_sync(write, limiter=one_at_a_time)

    return routes
