"""
What Sanad stores about one person: counters, times and item numbers, and no diagnosis.

The values are frozen and packed as arrays, by position. A field may be renamed, never moved; a new one stands at the
end, with a default, so that what older versions wrote can be read.

`UserState` has four parts, stored as four columns: person, safety (ledger and loop; under 4 KB), seen, interactions.
"""

import zlib
from typing import Final

import msgspec

from recsys.clock import Millis

PACKED_FORMAT: Final = 1
LAST: Final = 50  # deliveries that the ledger holds one by one; the longest gap and run are shorter
MAX_SEEN: Final = 2_000  # items
MAX_INTERACTIONS: Final = 200  # reactions, and undone events
MAX_MARKS: Final = 2_000  # creators followed, and as many hidden
DEFLATED_FROM: Final = 2_048  # bytes; below, it is not worth the time
_ZLIB: Final = b"\x78"  # how zlib starts, and no packed array does


class Packed(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """A stored value. New fields go at the end, with a default."""


class Profile(Packed, frozen=True):
    """Who the person is, as far as the platform told. None = unknown."""

    country: str | None = None
    region: str | None = None
    languages: tuple[str, ...] = ()
    age_band: str | None = None
    age_source: str = "none"
    guardian_id: str | None = None
    consent: bool | None = None  # personalised or not; None = unknown


class Controls(Packed, frozen=True):
    """What the person set. Every field can only remove something from a page or weigh it."""

    muted_topics: tuple[str, ...] = ()
    muted_creators: tuple[str, ...] = ()
    muted_words: tuple[str, ...] = ()
    calm_mode: bool = False
    personalised: bool = True
    daily_minutes: int | None = None
    local_weight: float | None = None
    languages: tuple[str, ...] = ()
    night_rules: bool = True
    guardian_consent: bool = False  # the person's own: a guardian may set limits


class Guardian(Packed, frozen=True):
    """Limits that a guardian set; met with everything else, so they only tighten."""

    daily_minutes: int | None = None
    night: tuple[tuple[int, int], ...] = ()  # local minutes of the day, [start, end)
    calm_mode: bool = False
    max_tier: str | None = None
    labelled_only: bool = False


class PersonState(Packed, frozen=True):
    """The first column: the person and their settings."""

    format: int = PACKED_FORMAT
    profile: Profile = Profile()
    controls: Controls = Controls()
    guardian: Guardian | None = None
    is_put: bool = False  # the profile came over the wire, and stands alone


class Delivery(Packed, frozen=True, kw_only=True):
    """
    One delivered copy of an item: it counts as shown from the reservation on.

    `tier` is 0 to 4, the higher of what was known at delivery and what is known now; `family` an index into
    `vocabulary.FAMILIES`, -1 for none.
    """

    at: Millis
    item_no: int
    unused_no: int = 0  # the number of a cluster, in what older versions wrote
    creator_no: int
    tier: int = 0
    family: int = -1
    is_s4: bool = False
    is_supportive: bool = False
    is_local: bool = False
    topics: int = 0  # bit n-1 = topic Sn
    is_open: bool = False  # opened elsewhere: counted, but it has no place among what was served
    is_new_creator: bool = False  # a reviewed local item of a new creator


class Span(Packed, frozen=True):
    """A stretch of activity: [start, end], both included."""

    start: Millis
    end: Millis


class Reason(Packed, frozen=True):
    """Why the loop level rose: the signal's letter and when."""

    signal: str
    at: Millis


class LoopState(Packed, frozen=True):
    """
    The loop breaker's memory; see `recsys.safety.loop.levels`. Days are whole days since 1970 UTC, to keep it small.

    Nothing here says what somebody searched for or watched, but for the R2 items of the last days.
    """

    level: int = 0
    reasons: tuple[Reason, ...] = ()
    raised_at: Millis = 0
    clean_since: Millis = 0  # the last raise, raise condition or loosening
    active_signals: tuple[str, ...] = ()  # signals that are true since the last raise
    raised_session_at: Millis = 0  # start of the session of the last raise by signals a to e
    one_shot_events: tuple[int, ...] = ()  # hashes of the event ids that raised the level by themselves
    refusals: int = 0  # slots that a cap refused the ranker, in the session that started at `refused_session_at`
    daily: tuple[tuple[int, tuple[int, ...]], ...] = ()  # per day: deliveries by topic, index 0 = no topic
    entropy: float | None = None  # exponentially weighted 28-day topic entropy, bits
    entropy_day: int = 0
    r0_completion: tuple[float, float] = (0.0, 0.0)  # R0 completions and exposures before `r0_day`, decayed
    r2_watched: tuple[tuple[int, int, bool], ...] = ()  # recent R2 exposures: item number, day, watched to the end
    nights: tuple[tuple[int, int], ...] = ()  # night's day number, milliseconds of activity
    topic_off: tuple[tuple[str, Millis], ...] = ()  # "not interested" on a risk topic or family
    negative_feedback_times: tuple[Millis, ...] = ()  # of "not interested" that counts
    refused_session_at: Millis = 0
    r0_day: int = 0
    r0_today: tuple[tuple[int, bool], ...] = ()  # R0 exposures of `r0_day`: item number, watched to the end
    active_until: Millis = 0  # activity up to here is counted into `nights`
    negative_feedback_raised_at: Millis = 0  # the last raise by repeated "not interested"
    cards_due: tuple[str, ...] = ()  # cards that were asked for and not shown yet


class Ledger(Packed, frozen=True):
    """
    The exposure ledger: the only thing the caps look at. Server times only, in commit order.

    `last` holds the last 50 deliveries and the newest opens among them, newest last. `capped` holds, per counter (R1,
    R2, S4, R2:<family>), the exact times of 7 days of both, ascending.
    """

    format: int = PACKED_FORMAT
    last: tuple[Delivery, ...] = ()
    capped: dict[str, tuple[Millis, ...]] = {}
    n_delivered: int = 0
    session_started_at: Millis = 0
    session_n: int = 0  # deliveries in this session
    active_at: Millis = 0  # last activity; the ledger's clock never runs behind it
    active: tuple[Span, ...] = ()  # 24 h of activity
    revision: int = 0  # catalogue revision up to which labels were counted
    pause_answered: tuple[tuple[str, str], ...] = ()  # pause ids and choices of this session
    stopped: tuple[str, Millis] = ("", 0)  # the pause at which the person stopped, and until when


class SafetyState(Packed, frozen=True):
    """The second column. Of somebody who was erased (`is_erased`) nothing that training learned is used."""

    format: int = PACKED_FORMAT
    ledger: Ledger = Ledger()
    loop: LoopState = LoopState()
    is_erased: bool = False


class Seen(Packed, frozen=True):
    """
    Items seen in the last 30 days, oldest first, at most the newest 2,000. A repeat is allowed after that.

    `item_nos` were delivered by Sanad, at `at`. `reported` were seen by the word of an event or of the training log, at
    `reported_at`. They are kept apart: what the ledger takes for delivered is only what was.
    """

    format: int = PACKED_FORMAT
    item_nos: tuple[int, ...] = ()
    at: tuple[Millis, ...] = ()
    reported: tuple[int, ...] = ()
    reported_at: tuple[Millis, ...] = ()
    log_version: str = ""  # the artifact whose training log is among the reported


class InteractionHistory(Packed, frozen=True):
    """
    What the person reacted to: item numbers, confidences (negative = refused) and times, oldest first, at most 200;
    and the newest 2,000 creators that they follow, and as many that they hid.

    `log_seq` is the last event that is folded in. Nothing that was learned or trained up to
    `reset_at` is used.
    """

    format: int = PACKED_FORMAT
    items: tuple[int, ...] = ()
    weights: tuple[float, ...] = ()
    at: tuple[Millis, ...] = ()
    event_ids: tuple[str, ...] = ()
    followed: tuple[tuple[str, str], ...] = ()  # creator id, and the event id of the follow
    hidden: tuple[tuple[str, str], ...] = ()  # creator id, and the event id of the hiding
    log_seq: int = 0
    reset_at: Millis = 0
    cards_shown: tuple[tuple[str, Millis], ...] = ()
    undone: tuple[str, ...] = ()  # events that were undone before they came; the newest 200


class UserState(Packed, frozen=True):
    """Everything held about one person, as four parts."""

    person: PersonState = PersonState()
    safety: SafetyState = SafetyState()
    seen: Seen = Seen()
    interactions: InteractionHistory = InteractionHistory()


_PERSON: Final = msgspec.msgpack.Decoder(PersonState)
_SAFETY: Final = msgspec.msgpack.Decoder(SafetyState)
_SEEN: Final = msgspec.msgpack.Decoder(Seen)
_INTERACTIONS: Final = msgspec.msgpack.Decoder(InteractionHistory)
Parts = tuple[bytes, bytes, bytes, bytes]


def pack(state: UserState) -> Parts:
    """The four parts as bytes: person, safety, seen, interactions."""
    person, *others = map(msgspec.msgpack.encode, (state.person, state.safety, state.seen, state.interactions))
    safety, seen, interactions = map(_deflate, others)
    return person, safety, seen, interactions


def _deflate(packed: bytes) -> bytes:
    """Exact times differ in their last bytes only: a heavy person's counters, and what they saw, shrink to a third."""
    return packed if len(packed) < DEFLATED_FROM else zlib.compress(packed, 1)


def _inflate(packed: bytes) -> bytes:
    if packed[:1] != _ZLIB:
        return packed
    try:
        return zlib.decompress(packed)
    except zlib.error as error:
        raise msgspec.DecodeError(f"found {len(packed)} bytes that are no state ({error})") from error


def unpack_safety(packed: bytes) -> SafetyState:
    """The second part alone: what outlives an erasure. Raises `msgspec.DecodeError`."""
    return _SAFETY.decode(_inflate(packed))


def unpack_seen(packed: bytes) -> Seen:
    """The third part alone. Raises `msgspec.DecodeError`."""
    return _SEEN.decode(_inflate(packed))


def unpack(parts: Parts) -> UserState:
    """The inverse of `pack`. Raises `msgspec.DecodeError` on bytes that are not a state."""
    person, safety, seen, interactions = parts
    return UserState(
        person=_PERSON.decode(person),
        safety=unpack_safety(safety),
        seen=unpack_seen(seen),
        interactions=_INTERACTIONS.decode(_inflate(interactions)),
    )
