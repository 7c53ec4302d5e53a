"""Liveness, readiness and versions of the service."""

import math
import platform
from dataclasses import dataclass, field
from time import perf_counter
from typing import Final

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from recsys.clock import SECOND
from recsys.errors import StoreError
from recsys.feed.engine import Engine
from recsys.policy.nights import local_time
from recsys.resources import sanad_version
from recsys.safety.harm_terms import describe_list
from recsys.safety.helplines import summary, verifications
from serving.clock_guard import ClockReading, GuardedClock
from serving.deadline import DEADLINE, Deadline
from serving.dependencies import Dependencies, struct_response
from serving.openapi import Description, ok, response
from serving.responses import Index, Liveness, Readiness, Version

_METRICS: Final[Description] = {
    "description": "Counters, gauges and histograms.",
    "content": {"text/plain": {"schema": {"type": "string"}}},
}
_WAIT_S: Final = 1.0
_PROBE_INTERVAL_S: Final = 0.1
_NO_REVISION: Final = 2**62  # no catalogue reaches it: the store has to answer, and has nothing to read


def health_routes(deps: Dependencies) -> APIRouter:
    """`/health` and `/v1/version`. They do not wait for the thread pool of the feeds."""
    routes = APIRouter(default_response_class=Response, tags=["health"])
    limiter, probe = CapacityLimiter(1), _Probe(deps.clock)

    @routes.get("/", summary="Where to go from here", responses=ok(Index))
    async def get_index(request: Request) -> Response:
        """For a person who opens the address in a browser."""
        return struct_response(
            Index(
                request_id=request.state.request_id,
                service=f"Sanad {sanad_version()}",
                description=f"{request.base_url}openapi.json",
                ready=f"{request.base_url}health/ready",
                feed=f"{request.base_url}v1/feed/{{user_id}}?size=5",
            )
        )

    @routes.get("/health/live", summary="The process answers", responses=ok(Liveness))
    async def is_live() -> Response:
        return struct_response(Liveness(status="live"))

    @routes.get(
        "/health/ready",
        summary="The service can serve",
        responses={
            200: response(Readiness, "Feeds are served; if the store fails, from the safe list."),
            503: response(Readiness, "No feed can be served."),
        },
    )
    async def is_ready() -> Response:
        readiness = await to_thread.run_sync(_readiness, deps.engine(), probe, limiter=limiter)
        return struct_response(readiness, 200 if readiness.status == "ready" else 503)

    @routes.get(
        "/metrics",
        summary="What the service counts of itself, for Prometheus",
        responses={200: _METRICS},
    )
    async def get_metrics() -> Response:
        text = await to_thread.run_sync(deps.metrics.text, deps.engine(), limiter=limiter)
        return Response(text, media_type=CONTENT_TYPE_PLAIN_0_0_4)

    @routes.get("/v1/version", summary="What is running", responses=ok(Version))
    async def get_version(request: Request) -> Response:
        return struct_response(_version(request.state.request_id, deps.engine()))

    return routes


@dataclass(slots=True)
class _Probe:
    """Commits the time, which has to reach the disk: at most ten times a second, because everybody may ask for it."""

    clock: GuardedClock
    _written_at: float = field(default=-math.inf, init=False)

    def write(self) -> None:
        """Raises StoreError."""
        if perf_counter() - self._written_at > _PROBE_INTERVAL_S:
            self.clock.beat()
            self._written_at = perf_counter()


def _readiness(engine: Engine, probe: _Probe) -> Readiness:
    """An engine exists with a warm model and a valid policy only. What can fail later is the store."""
    safe, time = engine.resources.model.safe_feed, probe.clock.read()
    market, zone = engine.resources.policy.market, engine.resources.policy.zone
    DEADLINE.set(Deadline(perf_counter(), _WAIT_S))
    try:
        engine.resources.catalogue_cache.catalogue.since(_NO_REVISION)
        probe.write()
        store, can_serve = "reachable", True
    except StoreError as error:
        why = str(error).partition(": ")[2].rstrip(".")  # not where the file is
        store, can_serve = f"unreachable, {'safe feed armed' if safe else 'no safe feed'}: {why}", bool(safe)
    return Readiness(
        status="ready" if can_serve else "not_ready",
        model=f"warm {engine.resources.model.version}",
        store=store,
        policy=f"valid {engine.resources.policy.market.version}",
        clock=_standing(time),
        harm_terms=describe_list(engine.resources.harm_terms),
        helplines=summary(verifications(market, local_time(time.at, zone).date())),
    )


def _standing(time: ClockReading) -> str:
    seconds = abs(time.ahead_ms) // SECOND
    if time.is_ahead:
        return f"{seconds} s ahead of the last committed time, safe feed until it is corrected or confirmed"
    return (
        "steady"
        if time.is_believed
        else f"{seconds} s behind the last committed time, events wait until it is corrected or confirmed"
    )


def _version(request_id: str, engine: Engine) -> Version:
    return Version(
        request_id=request_id,
        sanad=sanad_version(),
        python=platform.python_version(),
        model_version=engine.resources.model.version,
        policy_version=engine.resources.policy.market.version,
    )
