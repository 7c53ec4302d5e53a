"""
One spelling for what is written in many ways, by habit or to pass a filter.

Two forms of a text. `normalise` keeps what a reader sees: words, accents, punctuation, emoji; it undoes what is
invisible or only looks different. `skeleton` keeps what a list of words needs: no case, no accents, no punctuation,
no repeated letters, letters that were spelled out one by one joined again. Both sides of a comparison go through the
same function, so that what is lost is lost on both.

Both are total (any `str`, also halves of characters), idempotent, and linear in the length of the text.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Final

from recsys.text.letters import (
    ARABIC_SKELETON,
    ARABIC_VARIANTS,
    CONTROLS,
    ELISION,
    EMOJI,
    IN_SQUARES,
    INVISIBLE,
    LATIN_SKELETON,
    LEET,
    LONG_LIGATURES,
    LOOKALIKES,
    LOOSE_JOINER,
    MARKS,
    NOT_LATIN,
    TWINS,
)

_PASSES: Final = 6  # a pass undoes one layer; hidden text has two or three
_ARABIC_VARIANT: Final = re.compile(f"[{''.join(map(chr, ARABIC_VARIANTS))}]")
_LOOKALIKE: Final = re.compile(f"[{''.join(LOOKALIKES)}]")
_LOOKALIKES: Final = str.maketrans(LOOKALIKES)
_WORD: Final = re.compile(r"[^\W\d_]+")
_LATIN: Final = re.compile("[A-Za-zÀ-ɏḀ-ỿ]")
_THREE: Final = re.compile(r"([^\W\d_])\1{2,}")
_SPACES: Final = re.compile(r"\s+")

_TWO: Final = re.compile(r"([^\W\d_])\1+")
_FLAGS: Final = re.compile("[\U0001f1e6-\U0001f1ff]+")
_APOSTROPHE: Final = re.compile(f"(?<=\\d)[{ELISION}]")
_DIGIT: Final = re.compile("[0-9@$€!|]")
_TOKEN: Final = re.compile(r"[a-z0-9@$€!|]+")
_BETWEEN: Final = re.compile(f"(?<=[^\\W_])(?:[{EMOJI}\ufe0f\u200d])+(?=[^\\W_])")
_CHUNK: Final = re.compile(r"\S+")
_SEPARATORS: Final = re.compile(r"[\W_]+")
_INNER: Final = re.compile(f"[^\\W_](?:[^\\w\\s{ELISION}]|_)+[^\\W_]")
_SPELLED: Final = re.compile(r"(?<!\S)[^\W_](?: [^\W_]){2,}(?!\S)")
_NOT_KEPT: Final = re.compile(f"[^\\w{EMOJI}]|_")
_EMOJI: Final = re.compile(f"([{EMOJI}])[\ufe0f\u200d]*")


def normalise(text: str, gloss: Callable[[str], str] | None = None) -> str:
    """
    A text as its reader sees it: lower case, single spaces, NFKC, letters of their own script, nothing invisible.

    Undone: tatweel and short vowels, zero-width characters, direction overrides, full-width and mathematical letters,
    Arabic presentation forms, letters of Persian and Urdu keyboards, look-alikes of other scripts, stacked accents,
    halves of characters, letters repeated three times or more (twice stays). Digits, accents, punctuation and emoji
    stay. `gloss`, when given, sees the result last; see `emoji_gloss`.
    """
    for _ in range(_PASSES):
        before, text = text, _fold(text)
        if text == before:
            break
    return gloss(text) if gloss else text


def emoji_gloss(words: Mapping[str, str]) -> Callable[[str], str]:
    """A `gloss` for `normalise` that writes an emoji's word after it: `glossed({"💀": "mort"})("💀")` is `💀 mort`."""

    def gloss(text: str) -> str:
        return _SPACES.sub(" ", _EMOJI.sub(lambda m: f"{m[0]} {words[m[1]]} " if m[1] in words else m[0], text)).strip()

    return gloss


def skeleton(text: str) -> str:
    """
    The words of a text, one space between them, in the form that words are looked up in.

    On top of `normalise`: no accents and no doubled letters; hamza forms, final ya and ta marbuta as the hurried write
    them; digits and signs inside a Latin word as the letters they look like (`d3pr1m` is `deprim`); pieces and single
    letters put together again (`m.o.u.t`, `m o u t`, `m🖤o🖤u🖤t`). Emoji stay as words of their own.
    """
    return _until_stable(text, _with_letters_for_digits)


def arabizi_skeleton(text: str) -> str:
    """The same with the digits that are letters of Arabizi left as they are (`7zin`), and only the others read."""
    return _until_stable(text, _with_some_letters_for_digits)


def _until_stable(text: str, read_digits: Callable[[str], str]) -> str:
    for _ in range(_PASSES):
        before, text = text, _strip(normalise(text), read_digits)
        if text == before:
            break
    return text


def _fold(text: str) -> str:
    if text.isascii():  # most of French, English and Arabizi: nothing below the letters is there to undo
        folded = CONTROLS.sub(" ", text).lower()
    else:
        for ligature, words in LONG_LIGATURES.items():
            text = text.replace(ligature, words)
        folded = unicodedata.normalize("NFKC", CONTROLS.sub(" ", text))
        if NOT_LATIN.search(folded):
            folded = _undisguised(folded)
        folded = unicodedata.normalize("NFKC", folded.casefold())
    return _SPACES.sub(" ", _THREE.sub(r"\1\1", folded)).strip()


def _undisguised(text: str) -> str:
    """A text without what is invisible or loose, with the letters that others stand for."""
    text = LOOSE_JOINER.sub("", INVISIBLE.sub("", text))
    if _ARABIC_VARIANT.search(text):  # to translate takes as long as all else here
        text = text.translate(ARABIC_VARIANTS)
    text = MARKS.sub("", text)
    return _WORD.sub(_without_lookalikes, text) if _LOOKALIKE.search(text) else text


def _without_lookalikes(word: re.Match[str]) -> str:
    """A word that mixes scripts, or is made of twins alone, is a Latin word in disguise; others stay."""
    latin: str = word[0].translate(_LOOKALIKES)
    is_disguise = _LATIN.search(word[0]) or all(letter in TWINS for letter in word[0])
    return latin if is_disguise else word[0]


def _strip(text: str, read_digits: Callable[[str], str]) -> str:
    text = _FLAGS.sub(lambda m: m[0].translate(IN_SQUARES) if len(m[0]) > 2 else m[0], text)
    text = _APOSTROPHE.sub("", text.translate(_SQUARES_ONLY))
    text = _TWO.sub(r"\1", MARKS.sub("", unicodedata.normalize("NFKD", text))).translate(_SKELETON)  # ɣɣ is gh
    text = _BETWEEN.sub("", text)
    if _DIGIT.search(text):
        text = _TOKEN.sub(lambda m: read_digits(m[0]), text)
    if _INNER.search(text):
        text = _CHUNK.sub(_join_pieces, text)
    words = _SPACES.sub(" ", _EMOJI.sub(r" \1 ", _NOT_KEPT.sub(" ", text))).strip()
    joined = _SPELLED.sub(lambda m: m[0].replace(" ", ""), _TWO.sub(r"\1", words))
    return unicodedata.normalize("NFC", _TWO.sub(r"\1", joined))


def _join_pieces(chunk: re.Match[str]) -> str:
    """`m.o.u.t` and `mo-ut` are one word in pieces; `end.Start` are two words, and `l'eau` is left alone."""
    pieces = [piece for piece in _SEPARATORS.split(chunk[0]) if piece]
    is_cut = len(pieces) > 1 and all(len(piece) <= 2 for piece in pieces) and _INNER.search(chunk[0])
    return "".join(pieces) if is_cut else chunk[0]


_SKELETON: Final = ARABIC_SKELETON | LATIN_SKELETON
_SQUARES_ONLY: Final = {code: letter for code, letter in IN_SQUARES.items() if code < 0x1F1E6}


def _with_letters_for_digits(token: str) -> str:
    """Digits and signs of a Latin word as letters; a number, a sign alone and a mention stay."""
    return _replace_digits(token, LEET)


def _with_some_letters_for_digits(token: str) -> str:
    return _replace_digits(token, _LEET_BESIDE_ARABIZI)


def _replace_digits(token: str, table: Mapping[int, int]) -> str:
    has_letter = any("a" <= sign <= "z" for sign in token)
    stem = token.rstrip("!|")  # an exclamation mark at the end is one
    if not has_letter or token.startswith("@"):
        return token
    return stem.translate(table) + token[len(stem) :]


_LEET_BESIDE_ARABIZI: Final = {code: letter for code, letter in LEET.items() if chr(code) not in "345678"}
