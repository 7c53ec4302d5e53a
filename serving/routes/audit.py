"""The audit log, for an operator."""

from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Query, Request, Response

from recsys.services.audit import as_row
from serving.bodies import AuditQuery
from serving.dependencies import Dependencies, strict_router, struct_response
from serving.openapi import Description, response
from serving.responses import AuditPage, AuditRow

_RESPONSES: Final[dict[int | str, Description]] = {200: response(AuditPage, "Entries, oldest first.")}


def audit_routes(deps: Dependencies) -> APIRouter:
    """`/v1/audit`."""
    routes = strict_router("/v1", "operator", _RESPONSES)

    @routes.get("/audit", summary="Who decided what, and when")
    def list_audit_entries(request: Request, query: Annotated[AuditQuery, Query()]) -> Response:
        """
        Labels set by a person, takedowns and putting back, activations, confirmations of the clock, and erasures, in
        order. Each entry has `seq`, `at`, `who` (the name of a service key, or `local`) and `what`.

        `next` is what to send as `after` for the next page, or null on the last. Of an erased person the log holds a
        keyed hash. Entries stay for 400 days.
        """
        found = deps.engine().stores.audit.page(query.since_ms, query.after, query.size + 1)
        page = found[: query.size]
        following = page[-1].seq if len(found) > len(page) else None
        entries = msgspec.convert([as_row(audited) for audited in page], tuple[AuditRow, ...])
        return struct_response(AuditPage(request_id=request.state.request_id, entries=entries, next=following))

    return routes
