"""Profiles over the wire, and the one way to change a state."""

import pytest

from recsys.errors import DataError, StoreError
from recsys.services.profiles import get_profile, put_profile, update_state


def test_a_profile_is_read_back_and_every_problem_is_named_at_once(service, evening):
    put_profile(service.engine, "u", {"country": "MA", "languages": ["ary"], "age_band": "16-17"}, evening)
    assert list(get_profile(service.engine, "u")["languages"]) == ["ary"]
    with pytest.raises(DataError) as error:
        put_profile(service.engine, "u", {"age": 3, "age_band": "19", "age_source": "mother"}, evening)
    assert len(error.value.problems) == 3
    with pytest.raises(DataError):
        put_profile(service.engine, "u", {"languages": "ary"}, evening)
    with pytest.raises(DataError):
        put_profile(service.engine, "", {}, evening)


def test_growing_older_frees_nothing(service, evening):
    service.ask("u", size=20)
    before = service.store.users.read("u").state.safety
    service.is_adult("u")
    assert service.store.users.read("u").state.safety == before


def test_an_update_that_always_loses_says_so(service):
    class Busy:
        read = service.store.users.read
        write_if = staticmethod(lambda *_: False)

    with pytest.raises(StoreError, match="try again") as error:
        update_state(service.broken(users=Busy()).engine, "somebody", lambda state: state)
    assert "somebody" not in str(error.value)  # it goes to a log that no erasure reaches
