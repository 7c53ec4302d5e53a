"""The HTTP service over one engine, by the wire contract."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from anyio import to_thread
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import compile_path

from recsys.clock import Millis, now
from recsys.errors import SanadError
from recsys.feed.engine import Engine
from recsys.resources import sanad_version
from serving import problems
from serving.clock_guard import SteadyClock
from serving.dependencies import Service
from serving.middleware import Guard
from serving.openapi import describe, refusals
from serving.problems import Problem
from serving.routes.creators import creator_routes
from serving.routes.explain import explain_routes, policy_routes
from serving.routes.feed import feed_routes
from serving.routes.health import health_routes
from serving.routes.lists import family_routes, list_routes
from serving.routes.operator import operator_routes
from serving.routes.records import item_routes, user_routes
from serving.routes.rights import rights_routes
from serving.settings import Settings

log = logging.getLogger("sanad.serving")

THREADS: Final = 4
"""Feeds made at once. Python makes one at a time; the others wait for the disk, and share a flush."""

_DESCRIPTION: Final = """\
Feeds of short videos on mental health: local creators favoured at a known price, harmful loops capped.

Send the service key in `X-API-Key`. Errors are problem details (RFC 9457). Unknown request fields are refused;
unknown response fields must be ignored. Times are RFC 3339 in UTC. Pages, events and catalogue changes that were
answered are on disk."""


def create_app(
    engine: Engine | Callable[[], Engine],
    *,
    settings: Settings,
    clock: Callable[[], Millis] = now,
    elapsed: Callable[[], Millis] | None = None,
) -> FastAPI:
    """
    The service. `engine` may be a function that gives the engine of the moment, so that it can be swapped; `clock` is
    the only clock that anything in a request sees, and `elapsed` what it is measured by: see `serving.clock_guard`.
    """
    current: Callable[[], Engine] = engine if callable(engine) else lambda: engine
    service = Service(engine=current, clock=SteadyClock(clock, lambda: current().stores.users.committed_at(), elapsed))
    app = FastAPI(
        title="Sanad",
        version=sanad_version(),
        description=_DESCRIPTION,
        docs_url=None,  # these pages load scripts from elsewhere; any viewer can open /openapi.json
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
        middleware=[Middleware(Guard, settings=settings)],
        responses=refusals(),
    )
    for routes in (
        feed_routes,
        user_routes,
        rights_routes,
        item_routes,
        creator_routes,
        list_routes,
        family_routes,
        explain_routes,
        policy_routes,
        operator_routes,
        health_routes,
    ):
        app.include_router(routes(service))
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]  # the documented way to add to the description
    _handle_errors(app)
    if settings.harm_terms is None:
        log.warning("no list of terms is set (SANAD_LEXICON): no search for harm is recognised as one")
    if not settings.keys:
        log.warning("no service keys are set (SANAD_API_KEYS): only programs on this machine may call")
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    to_thread.current_default_thread_limiter().total_tokens = THREADS
    yield


def _handle_errors(app: FastAPI) -> None:
    """Every error that a route raises becomes a problem detail; what is left over is the guard's."""

    @app.exception_handler(SanadError)
    async def of_engine(request: Request, error: SanadError) -> Response:
        status, detail, errors, headers = problems.of_error(error)
        if status >= 500:
            log.error("request_id %s: %s: %s", request.state.request_id, type(error).__name__, error)
        return _problem(request, status, detail, errors=errors, headers=headers)

    @app.exception_handler(RequestValidationError)
    async def of_fields(request: Request, error: RequestValidationError) -> Response:
        errors = problems.field_errors(error.errors())
        return _problem(request, 422, problems.sentence(errors), errors=errors)

    @app.exception_handler(Problem)
    async def of_route(request: Request, error: Problem) -> Response:
        return _problem(request, error.status_code, error.detail, headers=error.headers)

    @app.exception_handler(HTTPException)
    async def of_framework(request: Request, error: HTTPException) -> Response:
        if error.status_code == 405:
            allowed = ", ".join(allowed_methods(app, request.url.path))
            detail = f"Found {request.method}, expected one of {allowed}."
            return _problem(request, 405, detail, headers={"Allow": allowed})
        if error.status_code == 404:
            return _problem(request, 404, "Found no such address; the addresses are listed in /openapi.json.")
        return _problem(request, error.status_code, str(error.detail), headers=error.headers)


def _problem(request: Request, status: int, detail: str, **more: Any) -> Response:
    return problems.answer(status, detail, path=request.url.path, request_id=request.state.request_id, **more)


def allowed_methods(app: FastAPI, path: str) -> list[str]:
    """The methods of a path over all its routes; the framework names those of the first route only."""
    found = {"GET"} if path == app.openapi_url else set()
    for template, operations in app.openapi()["paths"].items():
        if compile_path(template)[0].match(path):
            found |= {method.upper() for method in operations}
    return sorted(found)
