"""
Which requests are begun: as many as the service holds at once, and of pages those that can be answered in time.

A new page would wait for as long as the pages before it take, by what one took of late. The others are refused before
anything is done for them, so that a flood costs next to nothing and those that are begun are answered in time.
"""

from dataclasses import dataclass, field
from time import perf_counter
from typing import Final

FEED: Final = "/v1/feed"
RANK: Final = "/v1/rank"
_FACES: Final = ("/rank",)  # and what begins with /api/recommend/; see `serving.routes.prosocial` and `gorse`
MAX_THREADS: Final = 4
"""Pages made at once. Python computes one at a time; the others wait for the disk, and share a flush."""
WAIT_SHARE: Final = 0.5
"""Of a page's time, the most that it may be expected to wait; what one takes is only known from others."""
_WEIGHT: Final = 0.05  # of the newest page, in the mean of what one takes


def is_page(path: str) -> bool:
    """Whether an address is one of a feed."""
    return path in (FEED, RANK, *_FACES) or path.startswith((FEED + "/", "/api/recommend/"))


@dataclass(slots=True)
class Admission:
    """
    What is being answered, and how long a page takes of late. The server's own thread asks and tells it.

    `max_in_flight` bounds requests of any kind; `deadline_s` is the time of a page whose caller names none.
    """

    max_in_flight: int
    deadline_s: float
    in_flight: int = field(default=0, init=False)
    n_pages: int = field(default=0, init=False)
    page_s: float = field(default=0.0, init=False)
    _idle_until: float = field(default=0.0, init=False)  # since then pages are made, or the last one was done

    def is_full(self) -> bool:
        """Whether as many requests are being answered as the service holds."""
        return self.in_flight >= self.max_in_flight

    def is_late(self, deadline_s: float) -> bool:
        """Whether a page that comes now would wait too long. As many as are made at once never wait."""
        return self.n_pages >= MAX_THREADS and self.n_pages * self.page_s > WAIT_SHARE * deadline_s

    def begin_page(self) -> None:
        """A page is made, or waits for it."""
        if self.n_pages == 0:
            self._idle_until = perf_counter()
        self.n_pages += 1

    def end_page(self) -> None:
        """A page is done: the time since the one before it is what one takes, however many are made at once."""
        at = perf_counter()
        self.n_pages -= 1
        self.page_s += _WEIGHT * (at - self._idle_until - self.page_s)
        self._idle_until = at
