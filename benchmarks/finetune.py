"""
What a fine-tune of the default encoder reaches on Arabizi, beside the adapter that ships.

    python benchmarks/finetune.py DODA [--minutes 20] [--vocabulary] [--out FOLDER]

Both learn from the same pairs of the Darija Open Dataset and are judged by the same 1,000 held-out ones
(`training.text.fit_adapter.split`), and by the captions of the demo's phrase books, which neither has seen. The encoder
learns by contrast: in a batch, each Arabizi sentence must find its English one, whose vector is the untouched
encoder's, so that the space stays where it is. --vocabulary also moves the vectors of the word pieces.
"""

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from torch.nn import functional

from recsys.text.phrases import phrase_book
from recsys.types import Floats, Rows
from training.text.adapter import load_adapter
from training.text.encoder import cache_folder
from training.text.fit_adapter import accuracy, read_sentences, read_words, split
from training.text.unpack_e5 import unpack

BATCH, RATE, TEMPERATURE = 64, 1e-4, 0.05
BOOKS = ("en", "fr", "ar", "ary-Latn")


def captions(language: str) -> list[str]:
    """The 112 captions of the demo's phrase books, the same ones in every language but a few."""
    book = phrase_book(language)
    parts = (*book.topics.values(), *book.families.values(), book.heavy, book.captions)
    return [phrase.replace("{city}", "Fes") for part in parts for phrase in part]


def encode(model: SentenceTransformer, texts: Sequence[str]) -> Floats:
    """(n, 384) vectors of length 1."""
    model.eval()
    with torch.autocast("cpu", torch.bfloat16):
        return np.asarray(model.encode(list(texts), batch_size=64, show_progress_bar=False), np.float32)


def tune(model: SentenceTransformer, texts: Sequence[str], target: Floats, *, minutes: float, vocabulary: bool) -> int:
    """Learns in place until the time is over; the number of steps."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    transformer = model[0].auto_model
    table = transformer.embeddings.word_embeddings
    table.weight.requires_grad_(vocabulary)
    table.sparse = vocabulary
    rest = [weight for weight in model.parameters() if weight.requires_grad and weight is not table.weight]
    optimisers: list[torch.optim.Optimizer] = [torch.optim.AdamW(rest, lr=RATE, weight_decay=0.01)]
    if vocabulary:
        optimisers.append(torch.optim.SparseAdam([table.weight], lr=10 * RATE))
    rates = [optimiser.param_groups[0]["lr"] for optimiser in optimisers]
    targets, labels = torch.from_numpy(target), torch.arange(BATCH)
    start, steps, batches = time.monotonic(), 0, list[Rows]()
    model.train()
    while (done := (time.monotonic() - start) / (60 * minutes)) < 1:
        if not batches:
            batches = epoch(texts, rng)
        rows = batches.pop()
        for optimiser, rate in zip(optimisers, rates, strict=True):
            optimiser.param_groups[0]["lr"] = rate * min(1, (steps + 1) / 20) * (1 - done)
        features = model.preprocess([texts[row] for row in rows.tolist()], prompt="query: ")
        with torch.autocast("cpu", torch.bfloat16):
            encoded = model(features)["sentence_embedding"]
        likeness = functional.normalize(encoded.float(), dim=1) @ targets[rows].T / TEMPERATURE
        loss = functional.cross_entropy(likeness, labels) + functional.cross_entropy(likeness.T, labels)
        for optimiser in optimisers:
            optimiser.zero_grad()
        loss.backward()
        for optimiser in optimisers:
            optimiser.step()
        steps += 1
        if steps % 50 == 0:
            print(f"  step {steps}, {time.monotonic() - start:.0f} s, loss {loss.item():.2f}", flush=True)
    return steps


def epoch(texts: Sequence[str], rng: np.random.Generator) -> list[Rows]:
    """Rows of batches in any order, each of texts of like length among some that chance put together."""
    mixed = rng.permutation(len(texts))
    pools = [mixed[start : start + 16 * BATCH] for start in range(0, len(mixed), 16 * BATCH)]
    by_length = [np.array(sorted(pool.tolist(), key=lambda row: len(texts[row]))) for pool in pools]
    batches = [rows[start : start + BATCH] for rows in by_length for start in range(0, len(rows), BATCH)]
    whole = [rows for rows in batches if len(rows) == BATCH]
    return [whole[n] for n in rng.permutation(len(whole)).tolist()]


def print_row(name: str, arabizi: Floats, english: Floats, vectors: dict[str, Floats]) -> None:
    """One row: held-out pairs, captions to three languages, and those three among themselves (mean of six)."""
    both = [accuracy(arabizi, english, is_centred=is_centred) for is_centred in (False, True)]
    to = [accuracy(vectors["ary-Latn"], vectors[other], is_centred=True) for other in ("en", "fr", "ar")]
    three = ("en", "fr", "ar")
    among = np.mean([accuracy(vectors[a], vectors[b], is_centred=True) for a in three for b in three if a != b])
    print(f"{name:34} {both[0]:7.1%} {both[1]:7.1%} {to[0]:8.1%} {to[1]:6.1%} {to[2]:6.1%} {among:8.1%}", flush=True)


def main() -> None:
    """Encodes, tunes, judges."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("doda", type=Path)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--vocabulary", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    torch.set_num_threads(1)
    model = SentenceTransformer(str(unpack(cache_folder())), device="cpu", model_kwargs={"dtype": torch.float32})
    table, words = read_sentences(options.doda), read_words(options.doda)
    learned, held = split(len(table))
    arabizi, english = np.array(table["darija_latin"].to_list()), np.array(table["english"].to_list())
    texts = [*arabizi[learned].tolist(), *(spelling for spelling, _ in words)]
    meant = [*english[learned].tolist(), *(meaning for _, meaning in words)]
    target, held_english = encode(model, meant), encode(model, english[held].tolist())
    before = {name: encode(model, captions(name)) for name in BOOKS}
    plain = encode(model, arabizi[held].tolist())
    print(f"{'':34} {'pairs':>7} {'centred':>7} {'captions':>8} {'fr':>6} {'ar':>6} {'en fr ar':>8}")
    print_row("as it is", plain, held_english, before)
    adapter = load_adapter()
    texts_ary = captions("ary-Latn")
    adapted = before | {"ary-Latn": adapter.apply(before["ary-Latn"], texts_ary, np.ones(len(texts_ary), np.bool_))}
    print_row(
        "adapter", adapter.apply(plain, arabizi[held].tolist(), np.ones(len(held), np.bool_)), held_english, adapted
    )
    steps = tune(model, texts, target, minutes=options.minutes, vocabulary=options.vocabulary)
    after = {name: encode(model, captions(name)) for name in BOOKS}
    tuned = encode(model, arabizi[held].tolist())
    kind = f"tuned{', vocabulary too' if options.vocabulary else ''}, {steps} steps"
    print_row(f"{kind}, Arabizi alone", tuned, held_english, before | {"ary-Latn": after["ary-Latn"]})
    print_row(f"{kind}, all", tuned, encode(model, english[held].tolist()), after)
    if options.out:
        model.save(str(options.out))


if __name__ == "__main__":
    main()
