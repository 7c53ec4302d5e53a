"""
Events act on the next feed. The events of a person who asks for no feed are folded in by themselves, before the log
deletes them.
"""

from recsys.clock import Millis
from recsys.errors import StoreError
from recsys.feed.catchup import PendingUpdates, catch_up, read_pending
from recsys.feed.engine import Engine
from recsys.feed.viewer import profile_of
from recsys.policy.effective import effective_band
from recsys.safety.loop.state import loop_context_of
from recsys.services.profiles import MAX_WRITE_TRIES
from recsys.stores.protocols import Read
from recsys.user.state import UserState


def band_of(engine: Engine, state: UserState, user_id: str) -> str:
    """The age band that counts when no request says another."""
    profile, market = profile_of(state, engine.resources.model, user_id), engine.resources.policy.market
    return effective_band(market, stored=profile.age_band, source=profile.age_source, given=None)


def standing(engine: Engine, read: Read, user_id: str, at: Millis, until: Millis | None = None) -> UserState:
    """
    The state with everything counted that was reported or labelled so far, on the catalogue of the moment; of the
    events only those up to the last one that was received before `until`, where that is given.
    """
    known, state = engine.resources, read.state
    pending = read_pending(engine.stores, known.catalogue_cache, user_id, read, at)
    loop_context = loop_context_of(
        known.policy, band_of(engine, state, user_id), state.person.guardian, known.harm_terms
    )
    return catch_up(state, pending if until is None else _before(pending, until), loop_context, at).state


def _before(pending: PendingUpdates, until: Millis) -> PendingUpdates:
    last = max((entry.seq for entry in pending.logged if entry.received_at < until), default=0)
    return PendingUpdates(pending.items, tuple(entry for entry in pending.logged if entry.seq <= last), pending.past)


def compact_events(engine: Engine, until: Millis, at: Millis) -> int:
    """
    Fold in what was received before `until` and waits for its person's next feed; how many people that were.

    It is older than any delivery that is kept, so nothing but the state is written. Raises StoreError.
    """
    return sum(_settled(engine, user_id, until, at) for user_id in engine.stores.events.waiting(until))


def _settled(engine: Engine, user_id: str, until: Millis, at: Millis) -> bool:
    for _ in range(MAX_WRITE_TRIES):
        read = engine.stores.users.read(user_id)
        state = standing(engine, read, user_id, at, until)
        if state.interactions.log_seq == read.state.interactions.log_seq:
            return False
        if engine.stores.users.write_if(user_id, state, read.version):
            return True
    raise StoreError(f"found {MAX_WRITE_TRIES} other writes of one person at once, expected fewer; try again")
