"""
Events act on the next feed. Who asks for none still said what they said: their events are folded in by themselves
before the log lets go of them.
"""

from recsys.clock import Millis
from recsys.errors import StoreError
from recsys.feed.catchup import Heard, caught_up, heard
from recsys.feed.engine import Engine
from recsys.feed.plan import profile_of
from recsys.policy.compiled import effective_band
from recsys.safety.loop.signals import frame_of
from recsys.services.intake import ATTEMPTS
from recsys.stores.protocols import Read
from recsys.user.state import UserState


def band_of(engine: Engine, state: UserState, user_id: str) -> str:
    """The age band that counts when no request says another."""
    profile, market = profile_of(state, engine.known.model, user_id), engine.known.book.market
    return effective_band(market, stored=profile.age_band, source=profile.age_source, given=None)


def standing(engine: Engine, read: Read, user_id: str, at: Millis, until: Millis | None = None) -> UserState:
    """
    The state with everything counted that was reported or labelled so far, on the catalogue of the moment; of the
    events only those up to the last one that was received before `until`, where that is given.
    """
    known, state = engine.known, read.state
    news = heard(engine.users, engine.log, known.view, user_id, read, at)
    frame = frame_of(known.book, band_of(engine, state, user_id), state.person.guardian, known.lexicon)
    return caught_up(state, news if until is None else _before(news, until), frame, at).state


def _before(news: Heard, until: Millis) -> Heard:
    last = max((entry.seq for entry in news.logged if entry.received_at < until), default=0)
    return Heard(news.items, tuple(entry for entry in news.logged if entry.seq <= last), news.past)


def settle(engine: Engine, until: Millis, at: Millis) -> int:
    """
    Fold in what was received before `until` and waits for its person's next feed; how many people that were.

    It is older than any delivery that is kept, so nothing but the state is written. Raises StoreError.
    """
    return sum(_settled(engine, user_id, until, at) for user_id in engine.log.waiting(until))


def _settled(engine: Engine, user_id: str, until: Millis, at: Millis) -> bool:
    for _ in range(ATTEMPTS):
        read = engine.users.read(user_id)
        state = standing(engine, read, user_id, at, until)
        if state.taste.log_seq == read.state.taste.log_seq:
            return False
        if engine.users.write_if(user_id, state, read.version):
            return True
    raise StoreError(f"found {ATTEMPTS} other writes of one person at once, expected fewer; try again")
