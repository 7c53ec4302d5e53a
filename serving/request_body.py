"""
The body of a request, read whole within bounds of size, time and number of parts, before anything parses it.

Bodies that are being read are no requests in flight yet: whoever sends slowly holds up nobody else.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from starlette.types import Receive

from serving.problems import RETRY_AFTER_S, Problem

KB: Final = 2**10
MB: Final = 2**20


@dataclass(frozen=True, slots=True)
class BodyLimit:
    """The most that a body may hold: bytes, and parts of JSON (texts, commas, and brackets that open)."""

    n_bytes: int
    n_parts: int


BODY_LIMITS: Final[Mapping[str, BodyLimit]] = {
    "/v1/feed": BodyLimit(512 * KB, 10_000),
    "/v1/rank": BodyLimit(2 * MB, 60_000),
    "/v1/events": BodyLimit(10 * MB, 100_000),
    "/rank": BodyLimit(2 * MB, 60_000),
    "/api/feedback": BodyLimit(10 * MB, 100_000),
    "/api/items": BodyLimit(10 * MB, 100_000),
    "/api/users": BodyLimit(10 * MB, 100_000),
    "/sign-in": BodyLimit(4 * KB, 1_000),
    "/sign-out": BodyLimit(4 * KB, 1_000),
}
"""By path. The fullest request is below its limits."""
BULK_PREFIX: Final = "/v1/bulk/"
BULK_LIMIT: Final = BodyLimit(10 * MB, 2_000_000)
OTHER_LIMIT: Final = BodyLimit(MB, 10_000)
BODY_TIMEOUT_S: Final = 20.0
MAX_HELD_BYTES: Final = 128 * MB
"""Of all bodies that are being read."""
_MAX_DRAINED_BYTES: Final = 40 * MB
"""Of a body that is too large so much is read, so that its sender sees the answer."""
_PART: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[{,]', re.DOTALL)
"""A text that begins is a part, also without an end: else the search for one would begin anew at each escaped quote."""


@dataclass(slots=True)
class BodyReader:
    """Reads bodies. `_held` counts the bytes of those that have not arrived in full."""

    _held: int = field(default=0, init=False)

    async def read(self, path: str, receive: Receive) -> bytes:
        """The whole body. Raises Problem for one that is too large, too slow or has too many parts."""
        limit = limit_of(path)
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                body = await self._whole(receive, limit.n_bytes)
        except TimeoutError:
            detail = f"Found a body that took more than {BODY_TIMEOUT_S:g} s to arrive; send it again."
            raise Problem(408, detail, {"Connection": "close"}) from None
        if has_more_parts(body, limit.n_parts):
            detail = f"Found a body of more than {limit.n_parts:,} parts (texts, commas, lists, objects); send less."
            raise Problem(400, detail)
        return body

    async def _whole(self, receive: Receive, max_bytes: int) -> bytes:
        chunks: list[bytes] = []
        n_bytes, is_whole = 0, False
        try:
            while not is_whole:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Problem(400, "The connection ended before the request did.")
                chunk = message.get("body", b"")
                n_bytes += len(chunk)
                is_whole = not message.get("more_body", False) or n_bytes > _MAX_DRAINED_BYTES
                if n_bytes <= max_bytes:
                    self._hold(chunks, chunk)
        finally:
            self._held -= sum(map(len, chunks))
        if n_bytes > max_bytes:
            detail = f"Found a body of more than {max_bytes // KB:,} kB; send less at a time."
            raise Problem(413, detail, {"Connection": "close"})
        return b"".join(chunks)

    def _hold(self, chunks: list[bytes], chunk: bytes) -> None:
        chunks.append(chunk)
        self._held += len(chunk)
        if self._held > MAX_HELD_BYTES:
            detail = f"Too many large bodies arrive at once; send it again in {RETRY_AFTER_S} s."
            raise Problem(503, detail, {"Retry-After": str(RETRY_AFTER_S), "Connection": "close"})


def limit_of(path: str) -> BodyLimit:
    """The limit of an address."""
    return BULK_LIMIT if path.startswith(BULK_PREFIX) else BODY_LIMITS.get(path, OTHER_LIMIT)


def has_more_parts(body: bytes, n_parts: int) -> bool:
    """Whether JSON has more than `n_parts` texts, commas, lists and objects. Takes no longer for more of them."""
    if len(body) <= n_parts:
        return False
    if body.count(b'"') // 2 + body.count(b",") + body.count(b"[") + body.count(b"{") <= n_parts:
        return False
    return next(islice(_PART.finditer(body), n_parts, None), None) is not None
