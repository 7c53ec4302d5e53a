"""
What the text functions find, and how fast: languages of captions, coded words, captions a second.

    python benchmarks/text.py [--data DIR] [--encode]

The captions and evasions are our own, in tests/recsys/text. With --data, a folder that holds them, the detector is
also tried on two public sets it never saw: `mac` (tweets, Standard Arabic or dialect) and `cyberagressionado_v1`
(French messages of teenagers). With --encode the default encoder is timed beside sentence-transformers alone.
"""

import argparse
import csv
import gzip
import platform
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from recsys.text.detect import Detected, detect_all, split_words
from recsys.text.normalise import normalise, skeleton
from recsys.text.term_list import TermList
from recsys.types import Floats
from training.text.encoder import EncoderParams, cache_folder, make_encoder
from training.text.unpack_e5 import unpack

HERE = Path(__file__).parents[1] / "tests" / "recsys" / "text"
EXPECTED = {
    "ar": ("ar", "arb"), "ar-other": ("ar", None), "ary": ("ary", "ary"), "ary-Latn": ("ary-Latn", "ary"),
    "fr": ("fr", None), "en": ("en", None), "zgh": ("zgh", None), "zgh-Latn": ("zgh-Latn", None),
}  # fmt: skip


def captions(name: str) -> list[str]:
    """Our captions of one variety."""
    lines = (HERE / "captions" / f"{name}.txt").read_text("utf-8").splitlines()
    return [line for line in lines if not line.startswith("#")]


def languages() -> None:
    """The share of captions whose language, and whose language and dialect, are right."""
    print(f"{'variety':10} {'captions':>8} {'language':>9} {'dialect too':>12} {'unsure':>7}")
    for name, expected in EXPECTED.items():
        rows = detect_all(captions(name))
        right = sum(row.language == expected[0] for row in rows)
        both = sum((row.language, row.dialect) == expected for row in rows)
        unsure = sum(row.language == "und" for row in rows)
        n = len(rows)
        print(f"{name:10} {n:8} {right / n:9.1%} {both / n:12.1%} {unsure / n:7.1%}")


def coded() -> None:
    """Recall of the list on hidden words, by what hides them, and false alarms on captions that hide nothing."""
    term_list = TermList.load(HERE / "terms.tsv")
    terms = [line.split("\t")[0] for line in (HERE / "terms.tsv").read_text("utf-8").splitlines()]
    plain = [term for term in terms if not term.startswith("#")]
    with (HERE / "coded.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    n, before, after = Counter[str](), Counter[str](), Counter[str]()
    for row in rows:
        for kind in (row["kind"], "all"):
            n[kind] += 1
            before[kind] += f" {row['term']} " in f" {row['coded'].lower()} "
            after[kind] += any(terms[hit.line - 1] == row["term"] for hit in term_list.find(row["coded"]))
    print(f"\n{'hidden by':11} {'texts':>5} {'before':>7} {'after':>7}")
    for kind in [*sorted(set(n) - {"all"}), "all"]:
        print(f"{kind:11} {n[kind]:5} {before[kind] / n[kind]:7.1%} {after[kind] / n[kind]:7.1%}")
    innocent = [text for name in EXPECTED for text in captions(name) if not any(_says(text, term) for term in plain)]
    alarms = sum(bool(term_list.find(text)) for text in innocent)
    print(f"false alarms: {alarms} of {len(innocent)} captions that do not hold a term as it is written in the list")


def _says(text: str, term: str) -> bool:
    return f" {skeleton(term)} " in f" {skeleton(text)} "


def speed() -> None:
    """Captions a second on one core, the best of three runs."""
    texts = [text for name in EXPECTED for text in captions(name)] * 10
    term_list = TermList.load(HERE / "terms.tsv")
    jobs: dict[str, Callable[[], object]] = {
        "normalise": lambda: [normalise(text) for text in texts],
        "skeleton": lambda: [skeleton(text) for text in texts],
        "find in a list of 20": lambda: [term_list.find(text) for text in texts],
        "detect, one call": lambda: detect_all(texts),
        "detect, text by text": lambda: [detect_all([text]) for text in texts[:1000]],
    }
    detect_all(texts[:10])
    print()
    for name, job in jobs.items():
        took = min(_seconds(job) for _ in range(3))
        n = 1000 if name == "detect, text by text" else len(texts)
        print(f"{name:21} {n / took:9,.0f} captions a second")


def _seconds(job: Callable[[], object]) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def encoding() -> None:
    """Captions a second of processor time on one core: the engine's encoder, and the plain library in the same run."""
    import torch
    from sentence_transformers import SentenceTransformer

    texts = [f"{text} {n}" for n in range(2) for name in EXPECTED for text in captions(name)]
    ours = make_encoder(EncoderParams(threads=1))
    plain = SentenceTransformer(str(unpack(cache_folder())), device="cpu", model_kwargs={"dtype": torch.float32})
    torch.set_num_threads(1)
    vectors: dict[str, Floats] = {}
    print()
    for name, job in (
        ("sentence-transformers alone", lambda: plain.encode(texts, show_progress_bar=False)),
        ("the engine's encoder", lambda: ours.encode(texts)),
    ):
        job()
        start = time.process_time()
        vectors[name] = job()
        print(f"{name:27} {len(texts) / (time.process_time() - start):6.0f} captions a second of processor time")
    print(f"least cosine between the two: {np.min(np.sum(np.multiply(*vectors.values()), axis=1)):.5f}")


def public_sets(data: Path) -> None:
    """Texts that neither the weights nor our hands ever saw; those of under three words are left out."""
    tweets = _rows(data / "mac" / "mac.csv.gz")
    print()
    for variety in ("standard", "dialectal"):
        _show(f"mac, {variety}", detect_all([row["text"] for row in tweets if row["variety"] == variety]))
    french = _rows(data / "cyberagressionado_v1" / "messages.csv.gz")
    _show("cyberagressionado", detect_all([row["text"] for row in french]))


def _rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if len(split_words(row["text"])) >= 3]


def _show(name: str, rows: Sequence[Detected]) -> None:
    count = Counter(row.language + (f" ({row.dialect or 'other'})" if row.language == "ar" else "") for row in rows)
    shares = ", ".join(f"{language} {n / len(rows):.1%}" for language, n in count.most_common(5))
    print(f"{name}, {len(rows):,} texts: {shares}")


def main() -> None:
    """Prints all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--encode", action="store_true")
    options = parser.parse_args()
    data = options.data
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    print(f"{names[0].split(':')[1].strip() if names else platform.machine()}, Python {platform.python_version()}\n")
    languages()
    coded()
    speed()
    if options.encode:
        encoding()
    if data is not None:
        public_sets(data)


if __name__ == "__main__":
    main()
