"""
The starter list of harm-seeking search terms, for whoever reviews it.

    .venv/bin/python -m scripts.harm_terms unpack /private/terms.tsv   # to read and to edit
    .venv/bin/python -m scripts.harm_terms pack /private/terms.tsv     # back into the package

The list is packed so that nobody comes upon it in a listing or a search of the repository. Keep the open file out of
the repository, and never print it. One term a line. A tab and R2: the card comes and the level stays. A tab and R0: an
innocent phrase, whose words are part of no match, or one word, which is then no misspelled term. A heading such as
`# [fr]` begins a variety.
"""

import sys
from pathlib import Path

from recsys.errors import ConfigError
from recsys.safety.harm_terms import harm_match, load_harm_terms, pack_terms, unpack_terms
from recsys.text.term_list import terms_in_file

ROOT = Path(__file__).resolve().parents[1]
PACKED = ROOT / "recsys" / "safety" / "data" / "harm_terms.bin"


def unpack(path: Path) -> str:
    """Writes the open list, for its owner's eyes alone."""
    if path.resolve().is_relative_to(ROOT):
        raise ConfigError(f"found {path} inside the repository, expected a private place; name a file outside of it")
    path.touch(mode=0o600)
    path.write_text(unpack_terms(PACKED.read_bytes()), "utf-8")
    return f"{path}: written; keep it private"


def pack(path: Path) -> str:
    """Packs a list of which every line does what it says."""
    harm_terms = load_harm_terms(path)
    idle = [hit.line for term, hit in terms_in_file(path) if hit.tier != "R0" and harm_match(harm_terms, term) is None]
    if idle:
        lines = ", ".join(map(str, idle))
        raise ConfigError(f"found terms that an R0 line hides, in line {lines}; expected each to match; change either")
    PACKED.write_bytes(pack_terms(path.read_text("utf-8-sig")))
    return f"{PACKED.relative_to(ROOT)}: {harm_terms.n_terms} terms packed"


if __name__ == "__main__":
    commands = {"unpack": unpack, "pack": pack}
    if len(sys.argv) != 3 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    try:
        print(commands[sys.argv[1]](Path(sys.argv[2])))
    except ConfigError as error:
        sys.exit(str(error))
