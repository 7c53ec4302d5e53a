"""
Language tags as devices and catalogues write them, reduced to the languages of the vocabulary.

RFC 4647 lookup: a tag is tried as it is, then without its last subtag, and so on. `fr-FR` is `fr`, `ary-Latn-MA` is
`ary-Latn`. A market says what a tag of its country stands for: in Morocco `ar-MA` is Standard Arabic and Darija.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from recsys.vocabulary import LANGUAGES

PATTERN: Final = r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8})*$"
"""Well-formed tags; underscores as some devices send them."""

ALIASES: Final[Mapping[str, str]] = {
    "tzm": "zgh", "ber": "zgh", "shi": "zgh", "rif": "zgh", "kab": "zgh",
    "ar-Latn": "ary-Latn", "ary-Arab": "ary", "ar-Arab": "ar", "zgh-Tfng": "zgh",
    "tzm-Latn": "zgh-Latn", "ber-Latn": "zgh-Latn", "shi-Latn": "zgh-Latn", "rif-Latn": "zgh-Latn",
    "tzm-Tfng": "zgh", "ber-Tfng": "zgh", "shi-Tfng": "zgh", "rif-Tfng": "zgh",
}  # fmt: skip
"""Tags that people use for a language of the vocabulary. Amazigh varieties are read together."""

Ranges = Mapping[str, tuple[str, ...]]
"""What the tags of a market's country stand for; a key of the policy file."""

NO_RANGES: Final[Ranges] = {}


def lookup(tag: str, ranges: Ranges = NO_RANGES) -> tuple[str, ...]:
    """
    The languages that a tag stands for, best first; never empty.

    A language outside the vocabulary is reduced to its first subtag: `pt-BR` is `pt`.
    """
    shortened = tuple(_shortened(_canonical(tag)))
    for candidate in shortened:
        if candidate in ranges:
            return ranges[candidate]
        language = ALIASES.get(candidate, candidate)
        if language in LANGUAGES:
            return (language,)
    return (shortened[-1],)


def lookup_all(tags: Iterable[str], ranges: Ranges = NO_RANGES) -> tuple[str, ...]:
    """The languages that several tags stand for, in order, each once."""
    return tuple(dict.fromkeys(language for tag in tags for language in lookup(tag, ranges)))


def _canonical(tag: str) -> str:
    """The tag with the casing of RFC 5646, without extensions: `AR_ma-u-nu-latn` is `ar-MA`."""
    first, *others = re.split(r"[-_]", tag)
    parts = [first.lower()]
    for part in others:
        if len(part) == 1:
            break  # a singleton begins an extension, which says nothing of the language
        parts.append(part.title() if len(part) == 4 else part.upper() if len(part) == 2 else part.lower())
    return "-".join(parts)


def _shortened(tag: str) -> Iterator[str]:
    while tag:
        yield tag
        tag = tag.rpartition("-")[0]
