"""
What is not of one person on its way: from the outbox of a tag, where it was written with its page, to the sink and to
what is added up for everybody.

Nothing acknowledged is lost: an entry is deleted after the sink and the server of what is shared have it durably. It
counts once: the server remembers the last entry of each outbox that it added up, and whoever reads the sink takes two
copies of a record for one. So any process may move it, several at once too.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from threading import Event, Lock, Thread
from typing import Any, Final

import msgspec

from recsys.errors import StoreError
from serving.stores.redis.exposure import open_counts
from serving.stores.redis.schema import Tags, call
from serving.stores.redis.servers import Argument, Command, Servers
from serving.stores.redis.sink import NO_REQUEST, Sink, SinkError, SinkRecord
from serving.stores.redis.vault import Vault

log = logging.getLogger("sanad.serving")

_AT_ONCE: Final = 100  # entries of one tag in one pass
_EVERY_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry: the tag that it is of, its id, its fields by name, and the sealed answer that it names."""

    tag: bytes
    id: bytes
    fields: Mapping[bytes, bytes]
    answer: bytes

    @property
    def number(self) -> tuple[Argument, Argument]:
        """The two numbers of its id."""
        ms, seq = self.id.split(b"-")
        return ms, seq


class Outbox:
    """Moves what stands in the outboxes of all tags. One thread of a process at a time."""

    def __init__(self, servers: Servers, tags: Tags, vault: Vault, sink: Sink) -> None:
        self._servers: Final = servers
        self._tags: Final = tags
        self._vault: Final = vault
        self._sink: Final = sink
        self._lock: Final = Lock()

    def drain(self) -> None:
        """Move all that is there, so that what is read next has it. Raises StoreError; then what is left waits."""
        try:
            with self._lock:
                tags: Sequence[bytes] = self._tags.people
                while tags:
                    tags = self._pass(tags)
        except SinkError:
            self.settle()
            raise

    def settle(self) -> None:
        """
        Add up all that is there, for whoever asks for no record: a sink that fails, or hangs, keeps nobody waiting. The
        entries stay until their records are moved. Raises StoreError.
        """
        tags: Sequence[bytes] = self._tags.people
        shared = self._tags.shared
        while tags:
            [applied] = self._servers.ask(shared, ("HMGET", shared + b":applied", *tags))
            after = {tag: last or b"" for tag, last in zip(tags, applied, strict=True)}
            taken = self._take(after, with_answers=False)
            self._gather(taken)
            tags = [tag for tag, of_tag in taken.items() if len(of_tag) == _AT_ONCE]

    def _pass(self, tags: Sequence[bytes]) -> list[bytes]:
        """One pass; the tags that may have more."""
        taken = self._take(dict.fromkeys(tags, b""), with_answers=True)
        entries = self._gather(taken)
        self._sink.append([_record(entry) for entry in entries if entry.answer])
        self._sink.append_erased([_record(entry) for entry in entries if entry.fields[b"k"] == b"x"])
        done: dict[bytes, list[Command]] = {
            tag: [call("done", tag, *(entry.id for entry in of_tag))] for tag, of_tag in taken.items() if of_tag
        }
        if done:
            self._servers.ask_all(done)
        return [tag for tag, of_tag in taken.items() if len(of_tag) == _AT_ONCE]

    def _take(self, after: Mapping[bytes, bytes], *, with_answers: bool) -> dict[bytes, list[_Entry]]:
        """The oldest entries of some tags, after an id each."""
        commands: dict[bytes, list[Command]] = {
            tag: [call("take", tag, _AT_ONCE, last, int(with_answers))] for tag, last in after.items()
        }
        return {tag: _entries(tag, replies[0]) for tag, replies in self._servers.ask_all(commands).items()}

    def _gather(self, taken: Mapping[bytes, Sequence[_Entry]]) -> list[_Entry]:
        """Add up what was taken, which counts once; the entries."""
        entries = [entry for of_tag in taken.values() for entry in of_tag]
        counted = [values for entry in entries for values in _shared(self._vault, entry)]
        arguments = [value for _, values in sorted(counted, key=lambda one: one[0]) for value in values]
        if entries:
            self._servers.write(self._tags.shared, call("gather", self._tags.shared, *arguments))
        return entries


def _entries(tag: bytes, reply: Sequence[Any]) -> list[_Entry]:
    return [
        _Entry(tag, place, dict(zip(of[::2], of[1::2], strict=True)), answer[0] if answer else b"")
        for place, of, *answer in reply
    ]


def _record(entry: _Entry) -> SinkRecord:
    of = entry.fields
    return SinkRecord(
        owner=of[b"o"], request=of.get(b"r", NO_REQUEST), at=int(of[b"t"]), order=int(of[b"u"]), sealed=entry.answer
    )


def _shared(vault: Vault, entry: _Entry) -> Iterable[tuple[int, tuple[Argument, ...]]]:
    """What is added up of an entry: its order among everybody's, and the arguments of `gather`."""
    of, start = entry.fields, (entry.tag, *entry.number, entry.fields[b"k"])
    if of[b"k"] == b"p":
        counts = open_counts(vault.own_key, of[b"x"])
        yield int(of[b"u"]), (*start, len(counts), *(value for count in counts for value in count))
    elif of[b"k"] == b"a":
        yield int(of[b"u"]), (*start, *msgspec.msgpack.decode(of[b"x"]))
    elif of[b"k"] == b"e":
        for n, place in enumerate(of[b"j"].split(b",")):
            yield int(of[b"s"]) + int(place), (*start, of[b"o"], int(of[b"q"]) + n, of[b"r"])


class Mover:
    """A thread that does some things once a second, until it is closed, such as to drain an outbox."""

    def __init__(self, *works: Callable[[], None]) -> None:
        self._works: Final = works
        self._is_over: Final = Event()
        self._thread: Final = Thread(target=self._work, name="sanad-outbox", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        reported = set[Callable[[], None]]()
        while not self._is_over.wait(_EVERY_S):
            for work in self._works:  # each for itself: what one waits for must not keep another
                try:
                    work()
                    reported.discard(work)
                except StoreError as error:
                    if work not in reported:
                        log.warning("records and counts wait on the servers: %s", error)
                    reported.add(work)
                except Exception:  # its message may quote what is not ours to print
                    log.exception("records and counts wait on the servers")

    def close(self) -> None:
        """Stop the thread."""
        self._is_over.set()
        self._thread.join()
