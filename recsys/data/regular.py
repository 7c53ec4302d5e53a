"""
Whether delimited text is regular: as many fields in each record as in the first, and quotes around whole fields only.

Whole chunks are looked at at once, so that this costs a small part of reading. A quote before a character turns inside
and outside around: separators and line ends between an odd and an even quote are text.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from recsys.data.text_files import BOM, TextFile, open_plain

_CHUNK: Final = 1 << 20
_LF, _CR = 10, 13
Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.intp]


def is_regular(file: TextFile, separator: str, n_fields: int, quote: str | None) -> bool:
    """
    Whether every record has `n_fields`, or is an empty line, and quotes stand in their places.

    A no may be wrong (lines of blanks, a CR inside a line), a yes never is.
    """
    if file.eol != "\n" or len(separator.encode()) != 1:
        return False
    mark, quoted = ord(separator), None if quote is None else ord(quote)
    n_open, is_inside = 0, False  # of the record that the chunk before left open
    with open_plain(file.path) as raw:
        text = raw.read(_CHUNK).removeprefix(BOM) + raw.readline()
        while text:
            characters = np.frombuffer(text, np.uint8)
            if _has_lone_returns(characters):
                return False
            places = np.flatnonzero((characters == mark) | (characters == _LF))
            quotes = np.flatnonzero(characters == quoted) if quoted is not None else places[:0]
            if len(quotes) or is_inside:
                if not _are_in_place(characters, quotes, mark, is_inside):
                    return False
                places = places[(np.searchsorted(quotes, places) + is_inside) % 2 == 0]
                is_inside = bool((len(quotes) + is_inside) % 2)
            ends = np.flatnonzero(characters[places] == _LF)
            if not _have(n_fields, characters, places, ends, n_open):
                return False
            n_open = len(places) - 1 - int(ends[-1]) if len(ends) else n_open + len(places)
            is_open = is_inside or text[-1] != _LF
            text = raw.read(_CHUNK) + raw.readline()
    return not is_inside and (not is_open or n_open == n_fields - 1)


def _are_in_place(characters: Bytes, quotes: Places, mark: int, is_inside: bool) -> bool:
    """Whether opening quotes follow a separator, a line end or a quote, and closing ones are followed by one."""
    opening, closing = quotes[int(is_inside) :: 2], quotes[1 - int(is_inside) :: 2]
    quote = ord('"')
    before = characters[opening[opening > 0] - 1]
    after = characters[closing[closing < len(characters) - 1] + 1]
    return bool(np.isin(before, (mark, _LF, quote)).all() and np.isin(after, (mark, _LF, _CR, quote)).all())


def _has_lone_returns(characters: Bytes) -> bool:
    """Whether a CR stands anywhere but before a line end; the last character of a chunk is one, or ends the text."""
    returns = np.flatnonzero(characters == _CR)
    return bool(len(returns)) and not bool((characters[np.minimum(returns + 1, len(characters) - 1)] == _LF).all())


def _have(n_fields: int, characters: Bytes, places: Places, ends: Places, n_open: int) -> bool:
    """Whether the records that end in this chunk have as many fields; `ends` are those of `places` that end one."""
    if not len(ends):
        return True
    counts = np.diff(ends, prepend=-1) - 1
    counts[0] += n_open
    wrong = np.flatnonzero(counts != n_fields - 1)
    if not len(wrong):
        return True
    if counts[wrong].any() or (wrong[0] == 0 and n_open):
        return False
    ends_at = places[ends[wrong]]
    begins_at = np.where(wrong > 0, places[ends[wrong - 1]] + 1, 0)
    length = ends_at - begins_at
    return bool(((length == 0) | ((length == 1) & (characters[begins_at] == _CR))).all())
