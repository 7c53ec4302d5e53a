"""
Laws of the starter list. The list is read from its packed file; a test names an entry by its place and never shows it.
"""

import zlib
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.harm_terms import lines_of, sections, starter_terms
from recsys.errors import ConfigError
from recsys.safety.harm_terms import (
    NO_TERMS,
    describe_list,
    harm_match,
    harm_terms_of,
    load_harm_terms,
    pack_terms,
    redact_query,
    starter_harm_terms,
    stored_match,
    unpack_terms,
)
from recsys.text.normalise import skeleton

ROOT = Path(__file__).parents[3]
FIXTURES = ROOT / "tests" / "fixtures" / "harm_terms"
PACKED = (files("recsys.safety") / "data" / "harm_terms.bin").read_bytes()
ENTRIES = [term for _, term in starter_terms()]
STARTER = starter_harm_terms()
VARIETIES = {"fr", "en", "ar", "ary", "ary-Latn", "zgh-Latn", "zgh"}

places = st.integers(0, len(ENTRIES) - 1)


def unlike(outcomes: dict[int, object], *expected: object) -> list[int]:
    """The places of the entries that came out otherwise; never their words."""
    return [place for place, outcome in outcomes.items() if outcome not in expected]


def test_every_variety_has_entries_and_the_list_says_that_it_is_a_draft() -> None:
    headings = [heading.strip("[]") for heading, _ in starter_terms()]
    assert set(headings) == VARIETIES
    assert min(headings.count(variety) for variety in VARIETIES) >= 40
    assert "DRAFT FOR CLINICAL REVIEW" in unpack_terms(PACKED)
    assert "a draft for clinical review" in describe_list(STARTER)


def test_every_entry_brings_the_card_and_raises_unless_it_is_marked_for_the_card_alone() -> None:
    raising = [line.split("\t") for line in unpack_terms(PACKED).splitlines() if line and not line.startswith("#")]
    tiers = {row[0]: row[1] if len(row) > 1 else None for row in raising}
    wrong = {
        place: (harm_match(STARTER, term), "near" if tiers[term] == "R2" else "exact")
        for place, term in enumerate(ENTRIES)
    }
    assert [place for place, (match, expected) in wrong.items() if match != expected] == []


@given(places, st.sampled_from(("{}", "?? {} !!", "2024 {}", "🖤 {} 🖤", "ⵣ {} ⵣ")), st.integers(2, 5))
def test_case_signs_emoji_and_letters_held_down_hide_no_entry(place: int, frame: str, times: int) -> None:
    term = ENTRIES[place]
    last = next(n for n in reversed(range(len(term))) if term[n].isalpha())
    held = term[:last] + term[last] * (times + 1) + term[last + 1 :]
    plain, hidden = harm_match(STARTER, term), harm_match(STARTER, frame.format(held.upper()))
    assert hidden is not None, f"entry {place}"
    # letters of another script beside a Latin entry may leave it near: the card comes, the level stays
    assert plain == hidden or "ⵣ" in frame or term[-1].isdigit(), f"entry {place}"


@given(places, st.data())
def test_a_doubled_letter_and_a_moved_space_hide_no_long_entry(place: int, data: st.DataObject) -> None:
    """Of 12 letters or more. Halves of a doubled letter are one letter of Amazigh, which no space divides."""
    term = ENTRIES[place]
    letters = [
        n for n in range(1, len(term) - 1) if term[n].isalpha() and term[n - 1] != term[n] and not term[n - 1].isdigit()
    ]
    at = data.draw(st.sampled_from(letters))
    edited = {term[:at] + " " + term[at:], term.replace(" ", ""), term[:at] + term[at] + term[at:]}
    if len(skeleton(term).replace(" ", "")) >= 12:
        assert all(harm_match(STARTER, text) for text in edited), f"entry {place}"


@given(places, st.sampled_from(("qxz", "zqx", "xzqx")), st.sampled_from(("qxz", "zqx", "xzqx")))
def test_no_entry_fires_inside_a_longer_word(place: int, before: str, after: str) -> None:
    inside = before + skeleton(ENTRIES[place]).replace(" ", "") + after
    assert harm_match(STARTER, inside) is None, f"entry {place}"


@given(st.text(max_size=200))
def test_any_search_can_be_looked_at(query: str) -> None:
    assert harm_match(STARTER, query) in (None, "near", "exact")
    assert stored_match(redact_query(STARTER, query)) == harm_match(STARTER, query)


def test_innocent_sentences_with_words_of_death_raise_few_false_alarms(tiny) -> None:
    """201 of our own, captions, and titles of the demo world; `benchmarks/harm_terms.py` counts more of them."""
    innocent = lines_of(FIXTURES / "innocent.txt")
    matches = [harm_match(STARTER, line) for line in innocent]
    assert len(innocent) >= 150
    assert matches.count("exact") <= 3 and matches.count("near") <= 3
    captions = [line for path in (ROOT / "tests/recsys/text/captions").glob("*.txt") for line in lines_of(path)]
    assert sum(harm_match(STARTER, caption) is not None for caption in captions) <= 1
    assert not any(harm_match(STARTER, title) for title in tiny.items["title"].drop_nulls())


def test_nineteen_of_twenty_held_out_spellings_bring_the_card() -> None:
    rows = list(sections(unpack_terms((FIXTURES / "heldout.bin").read_bytes())))
    spelled = [text for heading, text in rows if heading.endswith("spelling")]
    assert len(spelled) == 150
    assert sum(harm_match(STARTER, text) is not None for text in spelled) >= 143


# The form of a list


def listed(tmp_path: Path, text: str):
    path = tmp_path / "terms.tsv"
    path.write_text(text, "utf-8")
    return load_harm_terms(path)


def test_a_tier_says_what_a_term_does(tmp_path) -> None:
    terms = listed(tmp_path, "zzforbidden\nzzdreadful\tR4\nzzsombre\tR2\nzzweary, R1\n")
    found = [harm_match(terms, word) for word in ("zzforbidden", "zzdreadful", "zzsombre", "zzweary", "zzgood")]
    assert found == ["exact", "exact", "near", "near", None]


def test_an_innocent_phrase_takes_away_only_what_it_shares_a_word_with(tmp_path) -> None:
    terms = listed(tmp_path, "i want to blorv\nblorv of joy\tR0\n")
    assert harm_match(terms, "i want to blorv of joy") is None
    assert harm_match(terms, "i want to blorv") == "exact"
    assert harm_match(terms, "i want to blorv and not to blorv of joy") == "exact"
    assert harm_match(terms, "i wnat to blorv of joy") is None  # nor what is near


def test_an_innocent_word_takes_away_what_is_misspelled_and_nothing_else(tmp_path) -> None:
    terms = listed(tmp_path, "i want to blorv\nglorv\tR0\nblorv\tR0\n")
    assert harm_match(terms, "i want to glorv") is None
    assert harm_match(terms, "i want to plorv") == "near"
    assert harm_match(terms, "i want to blorv") == "exact"
    assert harm_match(terms, "iwant to blorv") == "near"


def test_a_list_shows_no_term_and_says_whose_it_is(tmp_path) -> None:
    terms = listed(tmp_path, "zzforbidden\n")
    assert "forbidden" not in repr(terms) + str(terms)
    assert (describe_list(terms), terms.source) == ("1 terms of the platform's list", "platform")
    assert describe_list(NO_TERMS) == "none: no search for harm is recognised"
    assert describe_list(listed(tmp_path, "# nothing yet\n")) == describe_list(NO_TERMS)
    assert not any(word in repr(STARTER) for word in (ENTRIES[0], ENTRIES[-1]))


def test_the_packed_list_cannot_be_read_where_it_lies() -> None:
    words = {word for term in ENTRIES for word in term.split() if len(word) > 3}
    assert not [place for place, word in enumerate(sorted(words)) if word.encode() in PACKED]
    with pytest.raises(zlib.error):
        zlib.decompress(PACKED)


@given(st.lists(st.text(st.characters(categories=["L"]), min_size=1, max_size=20), max_size=5))
def test_a_list_comes_out_of_its_pack_as_it_went_in(words: list[str]) -> None:
    text = "\n".join(["# a list", *(word for word in words if harm_terms_of([word]).n_terms)])
    assert unpack_terms(pack_terms(text)) == text


def test_what_cannot_be_packed_or_unpacked_is_said_without_its_words() -> None:
    with pytest.raises(ConfigError, match="line 2") as caught:
        pack_terms("zzgood\nzzforbidden\tR9\n")
    assert "forbidden" not in str(caught.value)
    with pytest.raises(ConfigError, match="pack the list again"):
        unpack_terms(b"zzforbidden")
