"""
The starter list of harm-seeking search terms: what it recognises, and what it takes for harm by mistake.

    python -m benchmarks.harm_terms [ARTIFACT_DATA]

Prints counts and never a word of the list. Recall is measured on every entry in disguise (a seeded generator) and on
150 held-out spellings and 30 paraphrases (`tests/fixtures/harm_terms/heldout.bin`, packed like the list). False alarms
are counted on innocent sentences with words of death and hurt, on captions, on the titles of the demo world (a data
folder, by default `var/data`) and, where they stand beside the repository, on texts that others wrote.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
import polars as pl

from recsys.safety.harm_terms import harm_match, starter_harm_terms, unpack_terms

ROOT = Path(__file__).resolve().parents[1]
FIXTURES = ROOT / "tests" / "fixtures" / "harm_terms"
CAPTIONS = ROOT / "tests" / "recsys" / "text" / "captions"
SHARED = ROOT.parent / "shared" / "data"
TEXTS = (
    ("comments, Arabic and Darija (MAC)", "text/mac/mac.csv.gz", "text"),
    ("comments, Darija (OMCD)", "text/omcd/train.csv.gz", "comment"),
    ("sentences, Darija in Latin letters (DODa)", "text/doda_mit_2023/sentences_train_8335.csv.gz", "darija_latin"),
    ("sentences, English (DODa)", "text/doda_mit_2023/sentences_train_8335.csv.gz", "english"),
    ("messages, French (CyberAgressionAdo)", "text/cyberagressionado_v1/messages.csv.gz", "text"),
    ("video titles, English (MicroLens)", "microlens-titles/MicroLens-50k_titles.csv.gz", "title"),
)
DIGITS = str.maketrans("oieas", "01345")
ARABIC_VOWELS = "\u064e\u064f\u0650\u0640"
LONGEST = 200  # characters of a search

Disguise = Callable[[str, np.random.Generator], str]


def sections(text: str) -> Iterator[tuple[str, str]]:
    """Every term of a list with the heading it stands under; innocent phrases are left out."""
    heading = ""
    for line in text.splitlines():
        if line.startswith("# ["):
            heading = line.removeprefix("# ")
        elif line.strip() and not line.startswith("#") and not line.endswith("\tR0"):
            yield heading, line.split("\t")[0]


def lines_of(path: Path) -> list[str]:
    """The lines of a file of texts, without comments."""
    return [line for line in path.read_text("utf-8").splitlines() if line.strip() and not line.startswith("#")]


def starter_terms() -> list[tuple[str, str]]:
    """The entries of the list that is shipped, by variety."""
    return list(sections(unpack_terms((files("recsys.safety") / "data" / "harm_terms.bin").read_bytes())))


def edited(edit: Callable[[str, int, np.random.Generator], str]) -> Disguise:
    """A disguise of one letter inside one of the longer words."""

    def disguise(term: str, rng: np.random.Generator) -> str:
        words = term.split(" ")
        longer = [n for n, word in enumerate(words) if len(word) >= 4] or [int(np.argmax([len(w) for w in words]))]
        n = int(rng.choice(longer))
        words[n] = edit(words[n], int(rng.integers(1, max(2, len(words[n]) - 1))), rng)
        return " ".join(words)

    return disguise


def changed(word: str, at: int, rng: np.random.Generator) -> str:
    """The word with another letter at a place, of the script it is written in."""
    alphabet = "ابتجحدرسعفقكلمنهوي" if "\u0600" <= word[at % len(word)] <= "\u06ff" else "abdefghiklmnoprstuy"
    return word[:at] + str(rng.choice(list(alphabet))) + word[at + 1 :]


def marked(term: str, rng: np.random.Generator) -> str:
    """Short vowels and tatweel between Arabic letters, accents on Latin ones."""
    return "".join(
        letter
        + (str(rng.choice(list(ARABIC_VOWELS))) if "\u0600" <= letter <= "\u06ff" else "\u0301" * letter.isalpha())
        for letter in term
    )


lost = edited(lambda word, at, rng: word[:at] + word[at + 1 :])
DISGUISES: dict[str, Disguise] = {
    "as it is": lambda term, rng: term,
    "in a sentence": lambda term, rng: f"2024 {term} !!! 😢",
    "capitals and dots": lambda term, rng: term.upper() + "...",
    "a letter held down": edited(lambda word, at, rng: word[:at] + word[at] * int(rng.integers(3, 7)) + word[at + 1 :]),
    "accents, short vowels": marked,
    "digits for letters": lambda term, rng: term.translate(DIGITS),
    "letter by letter": lambda term, rng: " ".join(term.replace(" ", "")),
    "no spaces": lambda term, rng: term.replace(" ", ""),
    "a space inside": edited(lambda word, at, rng: f"{word[:at]} {word[at:]}"),
    "a letter lost": lost,
    "two letters swapped": edited(lambda word, at, rng: word[:at] + word[at : at + 2][::-1] + word[at + 2 :]),
    "a letter changed": edited(changed),
    "two letters lost": lambda term, rng: lost(lost(term, rng), rng),
}


def recall() -> None:
    """How many entries are recognised in each disguise: exactly (the level rises), or at all (the card comes)."""
    harm_terms, terms = starter_harm_terms(), starter_terms()
    print(f"{len(terms)} entries, {harm_terms.n_terms} lines with innocent phrases\n")
    print(f"{'disguise':24} {'entries':>7} {'exact':>7} {'card':>7}")
    rng = np.random.default_rng(2026)
    for name, disguise in DISGUISES.items():
        matches = Counter(harm_match(harm_terms, disguise(term, rng)[:LONGEST]) for _, term in terms)
        n = matches.total()
        print(f"{name:24} {n:7} {matches['exact'] / n:7.1%} {1 - matches[None] / n:7.1%}")
    print(f"\n{'held out':24} {'texts':>7} {'exact':>7} {'card':>7}")
    rows = list(sections(unpack_terms((FIXTURES / "heldout.bin").read_bytes())))
    for heading in dict.fromkeys(heading for heading, _ in rows):
        _print_row(heading, [text for h, text in rows if h == heading])
    for kind in ("spelling", "paraphrase"):
        _print_row(f"all, {kind}", [text for h, text in rows if h.endswith(kind)])


def _print_row(name: str, texts: Sequence[str]) -> None:
    matches = Counter(harm_match(starter_harm_terms(), text[:LONGEST]) for text in texts)
    n = max(1, len(texts))
    print(f"{name:24} {len(texts):7} {matches['exact'] / n:7.1%} {1 - matches[None] / n:7.1%}")


def innocent_texts(data: Path) -> Iterator[tuple[str, list[str]]]:
    """Texts in which nobody looks for harm, by where they are from."""
    yield "innocent, words of death and hurt", lines_of(FIXTURES / "innocent.txt")
    yield "captions, seven varieties", [line for path in sorted(CAPTIONS.glob("*.txt")) for line in lines_of(path)]
    if (data / "items.parquet").is_file():
        yield "titles of the demo world", pl.read_parquet(data / "items.parquet")["title"].drop_nulls().to_list()
    for name, path, column in TEXTS:
        if (SHARED / path).is_file():
            frame = pl.read_csv(SHARED / path, infer_schema_length=0, truncate_ragged_lines=True, ignore_errors=True)
            yield name, frame[column].drop_nulls().to_list()


def false_alarms(texts: Iterable[tuple[str, list[str]]]) -> None:
    """How many innocent texts raise the level, or bring the card alone."""
    print(f"\n{'no harm in':44} {'texts':>7} {'raises':>7} {'card':>6} {'ms a text':>10}")
    for name, lines in texts:
        start = time.perf_counter()
        matches = Counter(harm_match(starter_harm_terms(), line[:LONGEST]) for line in lines)
        ms = 1_000 * (time.perf_counter() - start) / max(1, len(lines))
        print(f"{name:44} {len(lines):7} {matches['exact']:7} {matches['near']:6} {ms:10.2f}")


if __name__ == "__main__":
    recall()
    false_alarms(innocent_texts(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "var" / "data"))
