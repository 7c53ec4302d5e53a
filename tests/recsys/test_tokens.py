"""Only what this key signed is read back, and one signature has one spelling."""

from hypothesis import given
from hypothesis import strategies as st

from recsys.tokens import sign, verify

fields = st.lists(st.one_of(st.text(max_size=30), st.integers(-(2**60), 2**60)), max_size=6)


@given(fields=fields, key=st.binary(min_size=1, max_size=40))
def test_what_was_signed_is_read_back(fields, key):
    assert verify(key, sign(key, *fields)) == tuple(fields)


@given(fields=fields, text=st.text(max_size=80))
def test_any_other_text_is_refused(fields, text):
    token = sign(b"key", *fields)
    assert verify(b"key", text) is None or text == token
    assert verify(b"other", token) is None


@given(fields=fields, data=st.data())
def test_no_letter_can_be_changed_added_or_left_out(fields, data):
    token = sign(b"key", *fields)
    at = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.sampled_from("ABCz019-_=+/! \n\u00e9"))
    for other in (
        token[:at] + letter + token[at + 1 :],
        token[:at] + letter + token[at:],
        token[:at] + token[at + 1 :],
    ):
        assert other == token or verify(b"key", other) is None
