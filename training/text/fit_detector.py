"""
Fits the language detector that ships in `recsys/text/data/detector.npz`, and packs the Amazigh glosses beside it.

    python -m training.text.fit_detector DATA [--out recsys/text/data] [--seed 0]

DATA holds four public sets whose licences allow shipped weights: `doda_mit_2023` (MIT, Darija in Latin letters and
English), `counselchat` (MIT, English), `mentalqa` (MIT, Arabic), `gatitos_morocco` (CC BY 4.0, Amazigh and Darija).
The rest is our own: `training/detector_text` and the phrase books of the demo world. NOTICE names them all.

The same data and seed give the same weights. The script prints the share of right answers on sentences held out.
"""

import argparse
import csv
import gzip
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from recsys.errors import DataError
from recsys.text.detect import MIN_WORDS, split_words
from recsys.text.ngrams import BITS, ORDERS, join_texts, ngram_rows
from recsys.text.phrases import phrase_book
from recsys.text.transliterate import arabizi_to_arabic, tifinagh_to_latin
from recsys.types import Array
from training.text.detector_words import MADE_CLASSES, make_phrases

if TYPE_CHECKING:
    from scipy.sparse import csr_array


OWN: Final = Path(__file__).parent / "detector_text"
CLASSES: Final = {"Arab": ("ar", "ary", "other"), "Latn": ("ary-Latn", "en", "fr", "zgh-Latn")}
PHRASES: Final = ("ar", "ary", "ary-Latn", "fr", "en", "zgh-Latn")
WINDOWS: Final = 24_000  # per class
MADE_OF: Final = 30_000  # strings put together by rule, per class
SHARES: Final = (0.55, 0.15, 0.3)  # of the windows: our sentences, the sets' texts, words put together by rule
DRAWS: Final = 5
HELD_OUT: Final = 0.1  # of the sentences
STRENGTH: Final = 20.0  # inverse of the L2 penalty

# Words of Arabic dialects other than Moroccan. They sort MentalQA, whose writers come from many countries.
_OTHER: Final = re.compile(
    r"\b(مش|مو|عايز\w*|عاوز\w*|ايش|إيش|وش|ليش|شو|كتير|هلأ|هلا|بدي|ابغى|أبغى|ابي|أبي|دلوقتي|ازاي|إزاي|النهارده|عشان|علشان|"
    r"اوي|أوي|مفيش|كده|كدا|كدة|لحالي|دي|ده|دا|انو|عم|هيك|مدري|ماني|ودي|بحس|بخاف|بكون|جوزي|لسه|برضو|برضه|وياي|عندو|الحين|ذي)\b"
)
# Words that no Standard text has, but several dialects, Moroccan among them: such a text teaches nothing.
_SHARED: Final = re.compile(
    r"\b(مافي|زي|حالي|مره|اللي|الي|احس|ياريت|ساعات|بعدين|معايا|تعبانه|خايفه|خايفة|شي|بس|كيف|كمان)\b"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassTexts:
    """Texts of one class: our own sentences, those of the sets, and strings made by `detector_words`."""

    own: Sequence[str]
    sets: Sequence[str]
    made: Sequence[str] = ()


def collect(data: Path) -> dict[str, ClassTexts]:
    """All training text by class. Raises DataError when a set is not there."""
    doda = _table(data / "doda_mit_2023" / "sentences_train_8335.csv.gz")
    counsel = _table(data / "counselchat" / "counselchat.csv.gz")
    arabic = _mentalqa(data)
    darija, english = [row["darija_latin"] for row in doda], [row["english"] for row in doda]
    rng = np.random.default_rng(0)
    sets: dict[str, Sequence[str]] = {
        "ar": [text for text in arabic if not _OTHER.search(text) and not _SHARED.search(text)],
        "other": [text for text in arabic if _OTHER.search(text)],
        # Darija in Arabic letters with a free licence is scarce; transliterated, its words are right
        "ary": [
            *(_as_written(text, rng) for text in darija),
            *_several_words(data, "en_darija_arabic", "darija_arabic"),
        ],
        "ary-Latn": darija,
        "en": [*english, *(row["questionText"] for row in counsel), *(row["answerText"] for row in counsel)],
        "fr": (),
        "zgh-Latn": _amazigh(data),
    }
    nouns = sorted({word for text in arabic for word in text.split() if re.fullmatch(r"ال\w{3,7}|\w{3,6}ة", word)})
    made = {name: make_phrases(name, rng, MADE_OF, nouns if name in CLASSES["Arab"] else ()) for name in MADE_CLASSES}
    return {
        name: ClassTexts(own=own_sentences(name), sets=sets[name], made=made.get(name, ()))
        for names in CLASSES.values()
        for name in names
    }


def own_sentences(name: str) -> list[str]:
    """Our own sentences of a class: the file of its name, and the demo world's phrase book."""
    lines = [line for line in (OWN / f"{name}.txt").read_text("utf-8").splitlines() if line.strip()]
    if name in PHRASES:
        book = phrase_book(name)
        lines += [text.replace("{city}", "") for text in _strings([book.topics, book.heavy, book.families])]
        lines += [text.replace("{city}", "") for text in _strings([book.captions])]
    return lines


def fit(texts: Mapping[str, ClassTexts], script: str, rng: np.random.Generator) -> tuple[dict[str, Array], float]:
    """The arrays of one script's model, and the share of right answers on windows of sentences held out."""
    from sklearn.linear_model import LogisticRegression

    pools = {name: _split(texts[name], script, rng) for name in CLASSES[script]}
    coefficients, bias = np.zeros((2**BITS, len(pools))), np.zeros(len(pools))
    for _ in range(DRAWS):  # the mean of linear models is one: steadier, and no slower to serve
        train, labels = _windows([pool.train for pool in pools.values()], WINDOWS, rng)
        model = LogisticRegression(C=STRENGTH, max_iter=300).fit(matrix(train), labels)
        coefficients += model.coef_.T / DRAWS
        bias += model.intercept_ / DRAWS
    test, answers = _windows([pool.test for pool in pools.values()], 1_000, rng)
    right = float(np.mean((matrix(test) @ coefficients + bias).argmax(axis=1) == answers))
    # rarely seen rows get tiny weights: without them the file is half as large, and answers are the same
    weights = np.where(np.abs(coefficients) < 0.01, 0, coefficients).astype(np.float16)
    return {
        f"{script}_classes": np.array(CLASSES[script]),
        f"{script}_weights": weights,
        f"{script}_bias": bias.astype(np.float32),
    }, right


def matrix(texts: Sequence[str]) -> "csr_array[np.float32]":
    """(n, 2 ** BITS) sparse counts over the root of their number, as in `recsys.text.ngrams.stretch_evidence`."""
    from scipy.sparse import csr_array

    joined, starts, ends = join_texts(texts)
    rows = ngram_rows(joined)
    lengths = ends - starts
    spans = [rows[:, a:b].ravel() for a, b in zip(starts, ends, strict=True)]
    values = np.repeat(1 / np.sqrt(lengths * ORDERS), lengths * ORDERS).astype(np.float32)
    places = np.concatenate([[0], np.cumsum(lengths * ORDERS)])
    counts = csr_array((values, np.concatenate(spans).astype(np.int64), places), shape=(len(texts), 2**BITS))
    counts.sum_duplicates()
    return counts


def _as_written(text: str, rng: np.random.Generator) -> str:
    """Arabizi in Arabic letters, with half of the vowels that a writer of Arabic leaves out, or spells otherwise."""

    def respelled(word: str) -> str:
        if len(word) > 3 and word.endswith("ا") and rng.random() < 0.4:
            word = word[:-1] + "ة"
        letters = [letter for n, letter in enumerate(word) if letter != "ا" or n < 2 or rng.random() < 0.5]
        return "".join(letters)

    return " ".join(map(respelled, arabizi_to_arabic(text).split()))


Pools = Sequence[Sequence[Sequence[str]]]
"""Of one class: our own sentences, the sets' and those made by rule, each as its words in one script."""


@dataclass(frozen=True, slots=True)
class _Split:
    """Sentences to fit on and others to test on. What is made by rule is not tested on."""

    train: Pools
    test: Pools


def _split(texts: ClassTexts, script: str, rng: np.random.Generator) -> _Split:
    train: list[list[list[str]]] = []
    test: list[list[list[str]]] = []
    for sentences in (texts.own, texts.sets, texts.made):
        in_script = [[word for of_word, word in split_words(text) if of_word == script] for text in sentences]
        usable = [words for words in in_script if len(words) > 1]
        is_test = rng.random(len(usable)) < HELD_OUT
        train.append([words for words, out in zip(usable, is_test, strict=True) if not out])
        test.append([words for words, out in zip(usable, is_test, strict=True) if out])
    return _Split(train, [*test[:2], []])


def _windows(classes: Sequence[Pools], n: int, rng: np.random.Generator) -> tuple[list[str], list[int]]:
    """About `n` random stretches of 3 to 14 words of each class, and their classes."""
    texts: list[str] = []
    labels: list[int] = []
    for number, pools in enumerate(classes):
        shares = [share if pool else 0 for pool, share in zip(pools, SHARES, strict=True)]
        for pool, share in zip(pools, shares, strict=True):
            drawn = _draw(pool, round(n * share / sum(shares)), rng)
            texts += drawn
            labels += [number] * len(drawn)
    return texts, labels


def _draw(pool: Sequence[Sequence[str]], n: int, rng: np.random.Generator) -> list[str]:
    if not pool:
        return []
    out = []
    for row in rng.integers(0, len(pool), n):
        words = pool[row]
        size = int(rng.integers(MIN_WORDS, 15))
        start = int(rng.integers(0, max(1, len(words) - size + 1)))
        out.append(" ".join(words[start : start + size]))
    return out


def _mentalqa(data: Path) -> list[str]:
    """Questions and answers, cut at full stops, so that a text is of one variety more often."""
    rows = _table(data / "mentalqa" / "train_dev.csv.gz")
    texts = (text for row in rows for text in (row["question"], row["answer"]))
    return [part for text in texts for part in re.split(r"[.!?؟\n،]+", text) if len(part.split()) > 2]


def _amazigh(data: Path) -> list[str]:
    """Entries of the lexicon, five in a row: alone they are too short to learn from."""
    latin = [row["tamazight_latin"] for row in _table(data / "gatitos_morocco" / "en_tamazight_latin.csv")]
    rows = _table(data / "gatitos_morocco" / "en_tamazight_tifinagh.csv")
    words = latin + [tifinagh_to_latin(row["tamazight_tifinagh"]) for row in rows]
    return [" ".join(words[n::len(words) // 5]) for n in range(len(words) // 5)]  # fmt: skip


def _several_words(data: Path, name: str, column: str) -> list[str]:
    texts = [row[column] for row in _table(data / "gatitos_morocco" / f"{name}.csv")]
    return [text for text in texts if len(text.split()) > 1]


def glosses(data: Path) -> bytes:
    """The Amazigh words of GATITOS in Latin letters with their first English gloss, as gzipped TSV."""
    known: dict[str, str] = {}
    for script in ("tifinagh", "latin"):
        for row in _table(data / "gatitos_morocco" / f"en_tamazight_{script}.csv"):
            word = tifinagh_to_latin(row[f"tamazight_{script}"]).lower().replace("ε", "ɛ").strip()
            if word and " " not in word:
                known.setdefault(word, row["english"])
    lines = "".join(f"{word}\t{known[word]}\n" for word in sorted(known))
    return gzip.compress(lines.encode(), mtime=0)


def _table(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise DataError(f"found no {path}, expected one of the four training sets; see the head of this script")
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
    return list(csv.DictReader(io.StringIO(text)))


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _strings(list(value.values()))
    elif isinstance(value, Iterable):
        for part in value:
            yield from _strings(part)


def main() -> None:
    """Fits both scripts and writes the two files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("recsys/text/data"))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    texts = collect(given.data)
    arrays: dict[str, Any] = {}  # Any: the stub of savez would take arrays for its flag
    for script in CLASSES:
        model, right = fit(texts, script, np.random.default_rng(given.seed))
        arrays |= model
        print(f"{script}: {right:.1%} of windows of held-out sentences right")
    given.out.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(given.out / "detector.npz", **arrays)
    (given.out / "gatitos_zgh.tsv.gz").write_bytes(glosses(given.data))
    print(f"{given.out / 'detector.npz'}: {(given.out / 'detector.npz').stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
