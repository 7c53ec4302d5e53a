"""Threads that write pages and events of people of their own, and note what was acknowledged."""

import time
from itertools import count
from threading import Event, Thread

from recsys.errors import StoreError


def write(store, make, user_id, n):
    """One page more of a person; whether it was acknowledged."""
    read = store.users.read(user_id)
    return store.users.write_if(user_id, make.state(n), read.version, make.page(user_id, f"{user_id}-{n}", n))


class Writers:
    """Threads that write pages and events of people of their own, and note what was acknowledged."""

    def __init__(self, stores, make):
        self.make, self.is_over = make, Event()
        self.pages: dict[str, set[int]] = {}
        self.events: dict[str, set[str]] = {}
        self.refused: list[str] = []
        self._threads = [
            Thread(target=self._work, args=(store, f"u{n}"), daemon=True) for n, store in enumerate(stores)
        ]

    def _work(self, store, user_id):
        pages, events = self.pages.setdefault(user_id, set()), self.events.setdefault(user_id, set())
        for n in count(1):
            if self.is_over.is_set():
                return
            try:
                if write(store, self.make, user_id, n):
                    pages.add(n)
                store.events.append([self.make.event(f"e{n}", user_id)], n)
                events.add(f"e{n}")
            except StoreError as error:
                self.refused.append(str(error))
                time.sleep(0.02)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        for thread in self._threads:
            thread.join()

    def lost(self, store):
        """How many pages and events were acknowledged and are not there."""
        of_each = [self.lost_of(store, user_id) for user_id in self.pages]
        return sum(pages for pages, _ in of_each), sum(events for _, events in of_each)

    def lost_of(self, store, user_id):
        """The same of one person."""
        pages = self.pages[user_id] - {d.item_no for d in store.users.deliveries(user_id, 0)}
        events = self.events[user_id] - {entry.event.event_id for entry in store.events.since(user_id, 0)}
        return len(pages), len(events)
