"""
The call that is being answered: its id for every line of the log, and its trace where it is one of the few.

A share of the calls is followed, by a hash of their ids: their lines and spans go from the call to the reservation.
"""

import time
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from zlib import crc32

from recsys.extras import require_extra
from recsys.resources import sanad_version

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

_EXPORT_TIMEOUT_S: Final = 3.0
_NS: Final = 1e9


@dataclass(frozen=True, slots=True)
class Trace:
    """The span of a call, and how the spans of its stages are made."""

    tracer: "Tracer"
    span: "Span"
    context: "Context"

    def add(self, stage: str, seconds: float) -> None:
        """A stage that ended now."""
        end = time.time_ns()
        self.tracer.start_span(stage, self.context, start_time=end - int(seconds * _NS)).end(end)

    def end(self, method: str, route: str, status: int) -> None:
        """The answer is sent. Only the address as the description names it is kept: others may hold ids."""
        self.span.update_name(f"{method} {route}")
        self.span.set_attributes(
            {"http.request.method": method, "http.route": route, "http.response.status_code": status}
        )
        self.span.end()


@dataclass(frozen=True, slots=True)
class Call:
    """`is_followed`: lines of the log say what became of it. `trace` None = it is not traced."""

    request_id: str
    is_followed: bool = False
    trace: Trace | None = None


CALL: Final[ContextVar[Call | None]] = ContextVar("call", default=None)


@dataclass(frozen=True, slots=True)
class Follower:
    """Begins calls, of which a share is followed. `provider` None = no call is traced."""

    share: float
    provider: "TracerProvider | None" = None

    def begin(self, request_id: str, headers: Mapping[bytes, bytes]) -> Call:
        """The call of this id, as this task and what it starts will see it."""
        is_followed = crc32(request_id.encode()) < self.share * 2**32
        trace = self._trace(request_id, headers) if is_followed and self.provider is not None else None
        call = Call(request_id, is_followed, trace)
        CALL.set(call)
        return call

    def _trace(self, request_id: str, headers: Mapping[bytes, bytes]) -> Trace:
        from opentelemetry.trace import SpanKind, set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        assert self.provider is not None
        tracer = self.provider.get_tracer("sanad")
        above = {"traceparent": headers.get(b"traceparent", b"").decode("latin-1")}
        parent = TraceContextTextMapPropagator().extract(above)
        span = tracer.start_span("call", parent, SpanKind.SERVER, {"sanad.request_id": request_id})
        return Trace(tracer, span, set_span_in_context(span, parent))

    def close(self) -> None:
        """Send what waits. Takes a few seconds at most."""
        if self.provider is not None:
            self.provider.shutdown()


def follower_of(share: float, endpoint: str | None) -> Follower:
    """Follows a share of the calls; traces go to an OTLP endpoint over HTTP. Raises ConfigError without the extra."""
    if endpoint is None:
        return Follower(share)
    require_extra("traces", "SANAD_TRACES")
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON

    service = Resource.create({"service.name": "sanad", "service.version": sanad_version()})
    provider = TracerProvider(sampler=ALWAYS_ON, resource=service, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint, timeout=_EXPORT_TIMEOUT_S)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Follower(share, provider)
