"""
Servers of Redis or Valkey: who holds a hash slot, what one is asked in one round trip, and what a write waits for.

Commands for one slot go out together and come back together, on one connection. A write ends with WAIT, so that its
answer comes after the replicas have it; on servers from 7.2 with WAITAOF, after it is on their disks. When a server is
gone or a slot has moved, the map of the cluster is read again and the commands are sent again, for a bounded time:
everything that is sent here may be sent twice.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

from redis.backoff import NoBackoff
from redis.connection import Connection as PlainConnection
from redis.connection import SSLConnection
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import (
    ConnectionError as NotConnected,
)
from redis.exceptions import (
    TimeoutError as NoAnswer,
)
from redis.retry import Retry

from recsys.errors import StoreError
from serving.deadline import store_wait_s
from serving.stores.redis.address import Address, Place, place_name
from serving.stores.redis.topology import Map, read_map

Argument = bytes | str | int
Command = tuple[Argument, ...]

WAIT_S: Final = 5.0
"""How long an answer is waited for where no deadline says so."""
_LEAST_S: Final = 0.001
_RETRY_S: Final = 0.02
_RETRY_UNTIL_S: Final = 2.0
_FAILING_S: Final = 0.25
"""A server that failed for so long is asked once, and briefly, until it answers."""
_PATIENCE_S: Final = 0.1
_LOOK_S: Final = 1.0  # for the map of a cluster

_MOVED: Final = (MovedError, AskError, ClusterDownError, MasterDownError, ReadOnlyError, TryAgainError)
_AGAIN: Final = (*_MOVED, BusyLoadingError, NotConnected)


class Connection(Protocol):
    """What is used of redis-py's connections, which have no types."""

    def pack_commands(self, commands: Sequence[Command]) -> list[bytes]: ...
    def send_packed_command(self, command: list[bytes], check_health: bool) -> None: ...
    def read_response(self, *, timeout: float, disconnect_on_error: bool) -> object: ...
    def connect(self) -> None: ...
    def disconnect(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Durability:
    """What a write waits for: how many replicas, and whether their disks (WAITAOF) or their memory (WAIT)."""

    replicas: int
    on_disk: bool

    def command(self, wait_s: float) -> Command | None:
        """The command that waits; None where the server's own disk is enough, and is written before it answers."""
        ms = max(1, int(wait_s * 1_000))
        if self.on_disk:
            return ("WAITAOF", 1, self.replicas, ms)
        return ("WAIT", self.replicas, ms) if self.replicas else None

    def is_kept(self, reply: int | list[int]) -> bool:
        """Whether as many have the write."""
        if isinstance(reply, list):
            return reply[0] >= 1 and reply[1] >= self.replicas
        return reply >= self.replicas


class Servers:
    """
    The servers of one address. `restore` is called with the error of a server that lacks what it needs (a library);
    it says whether the commands are worth sending again. `follow` is called before anything is sent to a server that
    was looked up again; it asks by `ask_now`.

    Raises StoreError, with what to do, whenever they cannot be asked.
    """

    def __init__(self, address: Address) -> None:
        self.address: Final = address
        self.durability = Durability(0, on_disk=False)
        self.careful: tuple[bytes, Durability] = (b"", self.durability)
        """A tag whose writes wait for more, such as takedowns, and for what."""
        self.restore: Callable[[Place, ResponseError], bool] = lambda place, error: False
        self.follow: Callable[[Place], None] = lambda place: None
        self._idle: Final[dict[Place, list[Connection]]] = {}
        self._map = Map((address.places[0],), None)
        self._followed: Final[set[Place]] = set()
        self._failing_since: Final[dict[Place, float]] = {}
        self._is_closed = False
        self._open_map()

    # What is asked

    def ask(self, tag: bytes, *commands: Command) -> list[Any]:
        """The replies to commands about keys of one tag."""
        return self._until(lambda: {tag: commands}, wait=False)[tag]

    def ask_all(self, commands: Mapping[bytes, Sequence[Command]], *, write: bool = False) -> dict[bytes, list[Any]]:
        """The replies by tag; each server is asked once, and all at the same time."""
        return self._until(lambda: commands, wait=write)

    def write(self, tag: bytes, *commands: Command) -> list[Any]:
        """The replies to commands that write, once the replicas have it."""
        return self._until(lambda: {tag: commands}, wait=True)[tag]

    @property
    def masters(self) -> tuple[Place, ...]:
        """The servers that are written to."""
        return self._map.masters

    def ask_place(self, place: Place, *commands: Command) -> list[Any]:
        """The replies of one server, whatever it holds."""
        with self._advice():
            return self.ask_now(place, *commands)

    def ask_now(self, place: Place, *commands: Command) -> list[Any]:
        """The same; raises what the library raises."""
        found = self._exchange({place: commands}, self._wait_s())[place]
        self._check(place, found)
        return found

    def close(self) -> None:
        """Close every connection. Later calls raise StoreError."""
        self._is_closed = True
        for idle in self._idle.values():
            _close_all(idle)

    # Asking until it works

    def _until(
        self, commands: Callable[[], Mapping[bytes, Sequence[Command]]], *, wait: bool
    ) -> dict[bytes, list[Any]]:
        if self._is_closed:
            raise StoreError(f"{self.address} is closed; the service is stopping. Ask again when it is up.")
        began, wait_s = time.monotonic(), self._wait_s()
        with self._advice():
            while True:
                try:
                    return self._once(commands(), wait, max(_LEAST_S, wait_s - (time.monotonic() - began)))
                except _AGAIN as error:
                    left = wait_s - (time.monotonic() - began)
                    if left < _RETRY_S or time.monotonic() - began > self._patience(error):
                        raise
                    self._read_map()
                time.sleep(_RETRY_S)

    def _patience(self, error: Exception) -> float:
        """How long commands are sent again: not for long while a server has failed for a while."""
        oldest = min(self._failing_since.values(), default=None)
        is_failing = oldest is not None and time.monotonic() - oldest > _RETRY_UNTIL_S
        return _PATIENCE_S if is_failing else _RETRY_UNTIL_S

    def _once(self, commands: Mapping[bytes, Sequence[Command]], wait: bool, wait_s: float) -> dict[bytes, list[Any]]:
        placed = {tag: self.place(tag) for tag in commands}
        by_place: dict[Place, list[Command]] = {}
        for tag, some in commands.items():
            by_place.setdefault(placed[tag], []).extend(some)
        for place in by_place.keys() - self._followed:
            self.follow(place)
            self._followed.add(place)
        wanted = self._wanted(placed) if wait else {}
        for place, durability in wanted.items():
            if (waiting := durability.command(wait_s / 2)) is not None:
                by_place[place].append(waiting)
        replies = self._exchange(by_place, wait_s)
        for place, found in replies.items():
            self._check(place, found)
            durability = wanted.get(place, Durability(0, on_disk=False))
            if durability.command(wait_s) is not None and not durability.is_kept(found.pop()):
                raise StoreError(
                    f"{place_name(place)}: found too few replicas with what was written, expected "
                    f"{durability.replicas}; look at its replicas. It is written all the same."
                )
        results: dict[bytes, list[Any]] = {}
        for tag, some in commands.items():
            found = replies[placed[tag]]
            results[tag], replies[placed[tag]] = found[: len(some)], found[len(some) :]
        return results

    def _wanted(self, placed: Mapping[bytes, Place]) -> dict[Place, Durability]:
        """What each server's writes wait for."""
        careful, more = self.careful
        wanted = dict.fromkeys(placed.values(), self.durability)
        return wanted | {placed[careful]: more} if careful in placed else wanted

    def _check(self, place: Place, replies: Sequence[Any]) -> None:
        """Raise what a server refused; once more where it lacked something that it has now."""
        for reply in replies:
            if isinstance(reply, ResponseError) and not isinstance(reply, _AGAIN) and self.restore(place, reply):
                raise TryAgainError(str(reply))
        _raise_first(replies)

    def _exchange(self, by_place: Mapping[Place, Sequence[Command]], wait_s: float) -> dict[Place, list[Any]]:
        """Send to every server, then read from every one."""
        sent: dict[Place, Connection] = {}
        replies: dict[Place, list[Any]] = {}
        timeouts = {place: min(wait_s, _FAILING_S) if self._is_failing(place) else wait_s for place in by_place}
        began = time.monotonic()
        try:
            for place, commands in by_place.items():
                sent[place] = self._send(place, commands, timeouts[place])
            for place, commands in by_place.items():
                replies[place] = [_reply(sent[place], began + timeouts[place]) for _ in commands]
                self._failing_since.pop(place, None)
        except (NotConnected, NoAnswer):
            broken = next((place for place in by_place if place not in sent or place not in replies), None)
            if broken is not None:
                self._failing_since.setdefault(broken, time.monotonic())
                self._followed.discard(broken)  # it may come back as another run, or another server under its name
                _close_all(self._idle.get(broken, []))  # of the same run of the server, or the same way to it
            raise
        finally:
            for place, connection in sent.items():
                if place in replies and not self._is_closed:
                    self._idle[place].append(connection)
                else:
                    connection.disconnect()  # what it still answers belongs to nobody
        return replies

    def _send(self, place: Place, commands: Sequence[Command], wait_s: float) -> Connection:
        try:
            connection = self._idle.setdefault(place, []).pop()
        except IndexError:
            connection = self._connect(place, wait_s)
        try:
            connection.send_packed_command(connection.pack_commands(commands), check_health=False)
        except BaseException:
            connection.disconnect()
            raise
        return connection

    def _connect(self, place: Place, wait_s: float) -> Connection:
        """A new connection, signed in, in no more time than the request has."""
        (host, port), address = place, self.address
        kind: Any = SSLConnection if address.is_tls else PlainConnection
        made = cast(
            Connection,
            kind(
                host=host, port=port, db=address.db, username=address.username, password=address.password, protocol=2,
                socket_timeout=wait_s, socket_connect_timeout=min(wait_s, _LOOK_S), retry=Retry(NoBackoff(), 0),
            ),
        )  # fmt: skip
        made.connect()
        return made

    def _is_failing(self, place: Place) -> bool:
        since = self._failing_since.get(place)
        return since is not None and time.monotonic() - since > _FAILING_S

    def _wait_s(self) -> float:
        wait_s = store_wait_s()
        return WAIT_S if wait_s is None else max(_LEAST_S, min(wait_s, WAIT_S))

    # Where things are

    def place(self, tag: bytes) -> Place:
        """The server that holds the keys of a tag."""
        return self._map.masters[0] if self._map.slots is None else self._map.slots[key_slot(tag)]

    def _open_map(self) -> None:
        """Find out whether this is a cluster, and its servers. Raises StoreError when none answers."""
        problem: Exception = NotConnected("no server was named")
        for place in self.address.places:
            try:
                self._map = read_map(self._look, (place,))
            except (RedisError, OSError) as error:
                problem = error
                continue
            if self._map.slots is None and len(self.address.places) > 1:
                self._map = read_map(self._look, self.address.places)
            return
        with self._advice():
            raise problem

    def _read_map(self) -> None:
        """The map as the servers know it now; without an answer that of before."""
        self._followed.clear()
        known = dict.fromkeys((*self._map.masters, *self._idle, *self.address.places))
        with suppress(RedisError, OSError):
            self._map = read_map(self._look, tuple(known))

    def _look(self, place: Place, command: Command) -> Any:
        return _raise_first(self._exchange({place: [command]}, _LOOK_S)[place])[0]

    def _advice(self) -> "_Advice":
        return _Advice(self.address)


@dataclass(frozen=True, slots=True)
class _Advice:
    """Turns what a server or the network says into what to do."""

    address: Address

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (RedisError, OSError)):
            raise StoreError(f"{self.address}: {advice(error)}") from error


_SENTENCES: Final[tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...]] = (
    (
        AuthenticationError,
        "found a password or user that the server refuses; put the right ones into the address of the state.",
    ),
    (OutOfMemoryError, "the server's memory is full (maxmemory), nothing was written; give it more."),
    (ReadOnlyError, "found a read-only replica, expected a server that is written to; name the primary, or wait."),
    (BusyLoadingError, "the server is reading its files after a start; wait and ask again."),
    ((ClusterDownError, MasterDownError), "the cluster has no server for this at the moment; start it, or wait."),
    (NoAnswer, "the server did not answer in time; look at it and at the network. What was sent may be written."),
    (NotConnected, "the server cannot be reached; start it, or correct the address of the state."),
)


def advice(error: BaseException) -> str:
    """What to do about an error."""
    text = str(error)
    if "NOAUTH" in text or "WRONGPASS" in text or "invalid username-password" in text:
        return _SENTENCES[0][1]
    if text.startswith(("OOM", "command not allowed when used memory")):
        return _SENTENCES[1][1]
    if isinstance(error, NoPermissionError):
        return f"the server said: {text}; allow the user of the state what docs/running.md names."
    if "max number of clients" in text:
        return "the server has as many connections as it takes; raise its maxclients, or run fewer services."
    if "NOREPLICAS" in text or "Not enough good replicas" in text:
        return "the server has too few replicas to write (min-replicas-to-write); start them again."
    if "MISCONF" in text or "Errors writing to the AOF" in text:
        return "the server cannot write its disk, so it takes no writes; make room there."
    for kinds, sentence in _SENTENCES:
        if isinstance(error, kinds):
            return sentence
    return f"the server said: {text}"


def _close_all(idle: list[Connection]) -> None:
    with suppress(IndexError):
        while True:
            idle.pop().disconnect()


def _reply(connection: Connection, until: float) -> Any:
    """One reply; a refusal is one too, so that the next reply is not taken for it."""
    try:
        left_s = max(_LEAST_S, until - time.monotonic())
        return connection.read_response(timeout=left_s, disconnect_on_error=False)
    except ResponseError as error:
        return error


def _raise_first(replies: Iterable[Any]) -> list[Any]:
    found = list(replies)
    for reply in found:
        if isinstance(reply, Exception):
            raise reply
    return found
