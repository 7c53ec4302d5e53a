"""
Terms that a text nearly holds: spaces moved, or a letter left out, added, changed or swapped with its neighbour.

A term of `LETTERS_FOR_ONE_EDIT` letters or more bears one edit or spaces that moved; one of `LETTERS_FOR_TWO_EDITS`
bears both, or edits in two of its words. Text and term are compared as whole words: a term inside a
longer word is not found.

Terms are looked up by what is left of them without one letter, so that the time grows with the text and not the list.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from recsys.text.term_list import Hit, Place, Words, forms_of_word, is_emoji, readings

LETTERS_FOR_ONE_EDIT: Final = 6  # letters of a term in one reading, spaces not counted
LETTERS_FOR_TWO_EDITS: Final = 12
_ARABIC: Final = "a"  # the reading whose articles are taken off; Latin words bear none


@dataclass(frozen=True, slots=True)
class NearTerms:
    """Terms by their letters and by their words. Its text form shows none of them."""

    _by_letters: Mapping[str, Sequence[tuple[Words, Hit]]] = field(repr=False)  # a term's letters, less one at most
    _by_first: Mapping[str, Sequence[tuple[Words, Hit]]] = field(repr=False)  # a term's first word
    _by_word: Mapping[str, Sequence[str]] = field(repr=False)  # a word of a term, less one letter at most
    _longest: int = field(repr=False)  # letters of the longest term

    def places(self, text: str) -> Iterator[Place]:
        """Every place where a text holds a term, exactly or nearly; words are counted without emoji."""
        yield from self.places_in(as_written(readings(text)))

    def places_in(self, words: Words) -> Iterator[Place]:
        """The same, of a text as `as_written` gives it."""
        yield from self._wherever_spaces_stand(words)
        yield from self._word_by_word(words)

    def _wherever_spaces_stand(self, words: Words) -> Iterator[Place]:
        for start, word in enumerate(words):
            for first in forms_of_word(_ARABIC, word):
                letters = ""
                for end in range(start + 1, len(words) + 1):
                    letters = _joined((letters, first if end == start + 1 else words[end - 1]))
                    if len(letters) > self._longest + 1:
                        break
                    for hit, is_edited in self._within_one_edit(letters, end - start):
                        yield _place(hit, start, end, is_edited=is_edited)

    def _within_one_edit(self, letters: str, n_words: int) -> set[tuple[Hit, bool]]:
        candidates = (self._by_letters.get(rest, ()) for rest in _less_one(letters))
        return {
            (hit, letters != _joined(term))
            for pairs in candidates
            for term, hit in pairs
            if is_within_one_edit(letters, _joined(term)) and _may_differ(letters, n_words, term)
        }

    def _word_by_word(self, words: Words) -> Iterator[Place]:
        near = [self._near_words(word) for word in words]
        for start, firsts in enumerate(near):
            for first in firsts:
                for term, hit in self._by_first.get(first, ()):
                    end = start + len(term)
                    edits = _edits(term, words[start:end], near[start:end])
                    if edits <= 2:
                        yield _place(hit, start, end, is_edited=edits > 0)

    def _near_words(self, word: str) -> set[str]:
        candidates = (self._by_word.get(rest, ()) for rest in _less_one(word))
        return {known for words in candidates for known in words if is_within_one_edit(word, known)}


def near_terms_of(terms: Iterable[tuple[str, Hit]]) -> NearTerms:
    """An index of the terms that are long enough to be known in spite of an edit."""
    by_letters: dict[str, list[tuple[Words, Hit]]] = {}
    by_first: dict[str, list[tuple[Words, Hit]]] = {}
    by_word: dict[str, dict[str, None]] = {}
    longest = 0
    for term, hit in terms:
        words = as_written(readings(term))
        letters = _joined(words)
        if len(letters) < LETTERS_FOR_ONE_EDIT:
            continue
        longest = max(longest, len(letters))
        for rest in _less_one(letters):
            by_letters.setdefault(rest, []).append((words, hit))
        if len(letters) >= LETTERS_FOR_TWO_EDITS and len(words) > 1:
            by_first.setdefault(words[0], []).append((words, hit))
            for word in words:
                for rest in _less_one(word):
                    by_word.setdefault(rest, {})[word] = None
    return NearTerms(by_letters, by_first, {rest: tuple(words) for rest, words in by_word.items()}, longest)


def as_written(read: Iterable[tuple[str, Words]]) -> Words:
    """
    Of the readings of a text, the words in the letters they are written in, without emoji. From another script a word
    comes with guesses in it already; with edits on top, too many innocent words would be near.
    """
    return tuple(word for reading, words in read if reading == "l" for word in words if not is_emoji(word))


def _place(hit: Hit, start: int, end: int, *, is_edited: bool) -> Place:
    return Place(hit=hit, reading="l", start=start, end=end, is_exact=False, is_edited=is_edited)


def _joined(words: Iterable[str]) -> str:
    """The letters of some words, none of them doubled: as in a text that is written without spaces."""
    letters = ""
    for word in words:
        letters += word[1:] if letters[-1:] == word[:1] else word
    return letters


def _may_differ(letters: str, n_words: int, term: Words) -> bool:
    """Spaces may move, or a letter differ; both only in a long term: two short words together are near much else."""
    term_letters = _joined(term)
    return n_words == len(term) or letters == term_letters or len(term_letters) >= LETTERS_FOR_TWO_EDITS


def is_within_one_edit(a: str, b: str) -> bool:
    """Whether two texts are equal, or one letter added, left out, changed or swapped with its neighbour apart."""
    short, long = sorted((a, b), key=len)
    if len(long) - len(short) > 1:
        return False
    at = next((n for n, (x, y) in enumerate(zip(short, long, strict=False)) if x != y), len(short))
    if len(short) < len(long):
        return short[at:] == long[at + 1 :]
    is_swapped = short[at : at + 2] == long[at : at + 2][::-1] and short[at + 2 :] == long[at + 2 :]
    return is_swapped or short[at + 1 :] == long[at + 1 :]


def _less_one(letters: str) -> set[str]:
    """A text, and the same without any one of its letters. Of a single letter, the letter alone."""
    rests = {letters[:n] + letters[n + 1 :] for n in range(len(letters))} if len(letters) > 1 else set()
    return {letters, *rests}


def _edits(term: Words, words: Words, near: Sequence[set[str]]) -> int:
    """How many words of a term were edited, once each; more than any bound where a word is another one."""
    if len(words) < len(term) or not all(word in known for word, known in zip(term, near, strict=True)):
        return len(term) + LETTERS_FOR_TWO_EDITS
    return sum(word != written for word, written in zip(term, words, strict=True))
