"""
Make the dictionary that packed decision records refer to (`recsys.codes`), from pages of a demo market.

    python scripts/record_dictionary.py ARTIFACT recsys/record-5.dictionary.bin

ARTIFACT is a folder that `sanad demo --prepare` filled. Nobody in it is real, so the dictionary says nothing about
anybody. Records name their format and a format has one dictionary: another dictionary is another format.
"""

import sys
import zlib
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from recsys.clock import MINUTE, from_text
from recsys.experiments.payload import Experiments
from recsys.feed.answer import answer_of, without_ids
from recsys.feed.build import build_engine
from recsys.feed.engine import feed
from recsys.feed.record import tables_of
from recsys.messages import Context, FeedRequest
from recsys.models.artifact import load_artifact
from recsys.policy.checks import load_market
from recsys.resources import DEFAULT_POLICY
from recsys.stores.memory import MemoryStore

SIZE = 26_000  # bytes; deflate looks back 32 kB, of which a page needs some
EVENING = from_text("2026-11-20T18:30:00Z")
LANGUAGES = (("ary", "ar"), ("fr",), ("en",), ("ary-Latn", "fr"), ("zgh-Latn",), ("ar",))
BANDS = ("18+", "18+", "16-17", "13-15", None)


class Sample(NamedTuple):
    """A page: the fields of its record, in the tables of its record and the pieces of its answer."""

    tables: bytes
    before: bytes
    items: list[bytes]
    after: bytes


def pages(artifact: Path) -> list[Sample]:
    """Pages of all kinds of people."""
    store = MemoryStore()
    engine = build_engine(
        load_artifact(artifact), load_market(DEFAULT_POLICY), Experiments(), stores=store.stores, key=b"k", at=EVENING,
        new_id=lambda: "",
    )  # fmt: skip
    rng, samples = np.random.default_rng(3), []
    people = sorted(load_artifact(artifact).histories)
    for n in range(240):
        user_id = people[int(rng.integers(40))]
        request = _request(n, user_id, rng)
        feed(engine, request, EVENING + n * MINUTE)
        stored = engine.stores.users.read(user_id, request.request_id).answer
        if stored is None:
            raise SystemExit(f"{request.request_id}: found no stored answer")
        answer = msgspec.json.encode(without_ids(answer_of(stored, b"k")))
        samples.append(Sample(tables_of(stored.decision), *_split(answer)))
    return samples


def _split(answer: bytes) -> tuple[bytes, list[bytes], bytes]:
    """An answer before its items, the items, and after them."""
    start, end = answer.index(b'"items":[') + 9, answer.index(b'],"cards":')
    items = answer[start:end].replace(b'},{"item_id"', b'},\n{"item_id"').split(b"\n")
    return answer[:start], items, answer[end:]


def _request(n: int, user_id: str, rng: np.random.Generator) -> FeedRequest:
    context = Context(
        country="MA",
        region="MA-06" if rng.random() < 0.5 else None,
        languages=LANGUAGES[int(rng.integers(len(LANGUAGES)))],
        age_band=BANDS[int(rng.integers(len(BANDS)))],
    )
    return FeedRequest(
        user_id=user_id,
        request_id=f"{rng.integers(2**60):x}",
        size=20,
        surface="for_you" if n % 4 else "local",
        context=context if n % 3 else Context(),
        explain=("none", "reasons", "reasons", "full")[n % 4],
    )


def cover(samples: list[Sample], size: int) -> bytes:
    """
    The tables of two records, the ends of answers with and without much in them, and items that make the answers of the
    other half of the pages short, the most useful last: near matches are the cheapest.
    """
    rng, tests = np.random.default_rng(4), [b"".join([s.before, *s.items, s.after]) for s in samples[1::7]]
    ends = sorted({sample.after for sample in samples}, key=len)
    chosen = samples[0].tables + samples[-1].tables + ends[-1] + ends[len(ends) // 2] + samples[0].before
    items = sorted({item for sample in samples[::2] for item in sample.items})
    while len(chosen) < size:
        tried = [items[n] for n in rng.choice(len(items), 60, replace=False)]
        chosen += min(tried, key=lambda item: sum(len(_deflated(test, chosen + item)) for test in tests))
    return chosen


def _deflated(text: bytes, dictionary: bytes) -> bytes:
    compressor = zlib.compressobj(6, zlib.DEFLATED, -15, 9, zdict=dictionary)
    return compressor.compress(text) + compressor.flush()


if __name__ == "__main__":
    Path(sys.argv[2]).write_bytes(cover(pages(Path(sys.argv[1])), SIZE))
