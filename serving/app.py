"""The HTTP service over an engine."""

import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from threading import Barrier
from typing import Final

from anyio import to_thread
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route, compile_path

from recsys.clock import SECOND, Millis, now
from recsys.errors import SanadError
from recsys.feed.engine import Engine
from recsys.resources import sanad_version
from serving import problems, routes
from serving.admission import MAX_THREADS, Admission
from serving.auth.gate import Gate
from serving.auth.keys import Keyring, keyring_of
from serving.auth.sessions import Sessions
from serving.calls import Follower, follower_of
from serving.clock_guard import GuardedClock
from serving.dependencies import Dependencies
from serving.feed_route import FeedRoute
from serving.field_errors import field_errors
from serving.metrics import Metrics
from serving.middleware import RequestGuard
from serving.openapi import describe, refusals
from serving.problems import Problem
from serving.responses import FieldError
from serving.routes.sign_in import METHODS, sign_in_routes
from serving.settings import Face, Settings
from serving.swap import Models, only

log = logging.getLogger("sanad.serving")

ROUTERS: Final = (
    routes.feed_routes,
    routes.user_routes,
    routes.rights_routes,
    routes.item_routes,
    routes.creator_routes,
    routes.bulk_routes,
    routes.list_routes,
    routes.family_routes,
    routes.explain_routes,
    routes.policy_routes,
    routes.model_routes,
    routes.experiment_routes,
    routes.operator_routes,
    routes.audit_routes,
    routes.health_routes,
)
"""In the order of the description."""

FACES: Final[Mapping[Face, Callable[[Dependencies], APIRouter]]] = {
    "gorse": routes.gorse_routes,
    "prosocial": routes.prosocial_routes,
}
"""Interfaces of other projects over the same pages, each off unless a setting names it. They describe themselves."""

_DESCRIPTION: Final = """\
Feeds of short videos on mental health: local creators favoured at a known price, harmful loops capped.

Send the service key in `X-API-Key`. Errors are problem details (RFC 9457). Unknown request fields are refused; ignore
unknown response fields. Times are RFC 3339 in UTC. A page, an event or a change of the catalogue is on disk when its
response arrives."""


def create_app(
    served: Models | Engine,
    *,
    settings: Settings,
    clock: GuardedClock | Callable[[], Millis] = now,
    metrics: Metrics | None = None,
    keys: Keyring | None = None,
    admission: Admission | None = None,
    follower: Follower | None = None,
    reload_rules: Callable[[], None] | None = None,
) -> FastAPI:
    """
    The service over the models of a state, or over one engine.

    `clock` is the only clock that a request sees. One that is not guarded yet is guarded here. `metrics` are those that
    the stores of the models count too, `admission` what the server asks too; None = there are none yet. `keys` and
    `follower` None = those that the settings name. `reload_rules` reads policy and experiments again.
    """
    followed = follower or follower_of(settings.followed_share, settings.traces)
    ring = keys or keyring_of(settings.keys, settings.key_file)
    models = served if isinstance(served, Models) else only(served)
    guarded = clock if isinstance(clock, GuardedClock) else GuardedClock(clock, lambda: models.engine().stores.users)
    deps = Dependencies(models=models, clock=guarded, metrics=metrics or Metrics(), reload_rules=reload_rules)
    admission = admission or admission_of(settings)
    gate = Gate(ring, Sessions(ring, lambda: models.engine().key), deps.metrics)
    app = FastAPI(
        title="Sanad",
        version=sanad_version(),
        description=_DESCRIPTION,
        docs_url=None,  # these pages load scripts from other hosts; any viewer can open /openapi.json
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,  # what generators of clients name their calls by
        lifespan=partial(_lifespan, followed),
        middleware=[
            *_cross_origin(settings),
            Middleware(
                RequestGuard, settings=settings, gate=gate, metrics=deps.metrics, admission=admission, follower=followed
            ),
            Middleware(FeedRoute, deps=deps, pool=_feed_threads()),
        ],
        responses=refusals(),
    )
    for router in ROUTERS:
        app.include_router(router(deps))
    app.state.deps = deps
    app.state.faces = [FACES[face](deps) for face in dict.fromkeys(settings.faces)]
    for face in app.state.faces:
        app.include_router(face)
    app.include_router(sign_in_routes(gate))
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]  # the documented way to extend the description
    _handle_errors(app)
    if ring.is_open:
        log.warning("found no service keys (see 'sanad key new'): only programs on this machine may call")
    return app


def _cross_origin(settings: Settings) -> Sequence[Middleware]:
    """Scripts of the sites that the settings name may call, with a key of their own; of others none may."""
    if not settings.cors_origins:
        return ()
    return (
        Middleware(
            CORSMiddleware, allow_origins=settings.cors_origins,
            allow_methods=("GET", "POST", "PUT", "PATCH", "DELETE"),
            allow_headers=("X-API-Key", "Content-Type", "X-Request-ID", "X-Sanad-Deadline-Ms"),
            expose_headers=("X-Request-ID", "Retry-After"),
        ),
    )  # fmt: skip


def admission_of(settings: Settings) -> Admission:
    """As many requests and as much time as the settings say."""
    return Admission(settings.max_in_flight, settings.deadline_ms / SECOND)


def _feed_threads() -> ThreadPoolExecutor:
    """The threads of the feeds, started: later there may be no memory for one."""
    pool, are_all_there = ThreadPoolExecutor(MAX_THREADS, "sanad-feed"), Barrier(MAX_THREADS)
    list(pool.map(lambda _: are_all_there.wait(), range(MAX_THREADS)))
    return pool


@asynccontextmanager
async def _lifespan(follower: Follower, app: FastAPI) -> AsyncIterator[None]:
    to_thread.current_default_thread_limiter().total_tokens = MAX_THREADS
    yield
    await to_thread.run_sync(follower.close)


def _handle_errors(app: FastAPI) -> None:
    """Every error that a route raises becomes a problem detail. The middleware handles all others."""

    @app.exception_handler(SanadError)
    async def engine_error(request: Request, error: SanadError) -> Response:
        return problems.error_response(error, request.scope)

    @app.exception_handler(RequestValidationError)
    async def validation_error(request: Request, error: RequestValidationError) -> Response:
        errors = field_errors(error.errors(), request.scope.get("route"))
        return _problem(request, 422, problems.summarise(errors), errors=errors)

    @app.exception_handler(Problem)
    async def route_problem(request: Request, error: Problem) -> Response:
        return _problem(request, error.status_code, error.detail, headers=error.headers)

    @app.exception_handler(HTTPException)
    async def framework_error(request: Request, error: HTTPException) -> Response:
        if error.status_code == 405:
            allowed = ", ".join(allowed_methods(app, request.url.path))
            detail = f"Found {request.method}, expected one of {allowed}."
            return _problem(request, 405, detail, headers={"Allow": allowed})
        if error.status_code == 404:
            return _problem(request, 404, "Found no such address; the addresses are listed in /openapi.json.")
        return _problem(request, error.status_code, str(error.detail), headers=error.headers)


def _problem(
    request: Request,
    status: int,
    detail: str,
    *,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    path, request_id = request.url.path, request.state.request_id
    return problems.problem_response(status, detail, path=path, request_id=request_id, errors=errors, headers=headers)


def allowed_methods(app: FastAPI, path: str) -> list[str]:
    """The methods of a path over all its routes. The framework names those of the first route only."""
    methods = {"GET"} if path == app.openapi_url else set(METHODS.get(path, ()))
    for template, operations in app.openapi()["paths"].items():
        if compile_path(template)[0].match(path):
            methods |= {method.upper() for method in operations}
    return sorted(methods or _methods_of_faces(app, path))


def _methods_of_faces(app: FastAPI, path: str) -> set[str]:
    """The methods of an address of a face, which the description does not hold."""
    routes = [route for face in app.state.faces for route in face.routes if isinstance(route, Route)]
    return set[str]().union(*(route.methods or () for route in routes if route.path_regex.match(path)))
