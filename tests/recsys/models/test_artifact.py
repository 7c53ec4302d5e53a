"""Laws of the artifact: whole or not at all, every byte verified, nothing trusted."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import sleep

import msgspec
import numpy as np
import polars as pl
import pytest
from scipy import sparse

from recsys.errors import ArtifactError
from recsys.models import artifact, bpr, item_knn
from recsys.models.artifact import ArtifactContents, load_artifact, save_artifact
from recsys.models.base import ItemItemModel, LinearSpace, PopularityModel
from recsys.models.blend import Blend
from recsys.models.histories import UserHistories, row_numbers
from recsys.models.ials import FactorSpace
from recsys.models.interactions import interactions_from_history
from recsys.models.manifest import FORMAT, Manifest, file_sha256
from recsys.models.popularity import Popularity
from recsys.models.reranker import Reranker, count_features
from recsys.models.text import Centres, TextSpace
from recsys.models.trees import open_booster
from recsys.types import History

ROOT = Path(__file__).parents[3]


def contents(n_items: int = 3) -> ArtifactContents:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(n_items, 4)).astype(np.float32)
    cf = FactorSpace(
        item_vectors=vectors, scales=np.ones(4, np.float32), reg=0.1, power=1.0, unobserved=0.1, negative_weight=0.3
    )
    popularity = Popularity(("MA",), np.ones((2, n_items), np.float32))
    near = sparse.csr_matrix(np.eye(n_items, k=1, dtype=np.float32))
    base_models = {
        "ials": cf,
        "spectral": LinearSpace(vectors, vectors[:, 0], 0.1),
        "popularity": PopularityModel(popularity.scores),
        "graph_filter": ItemItemModel(near, 0.5),
        "ease": ItemItemModel(near.toarray() * 2, 0.0),
        "next_item": ItemItemModel(near, 0.0, True),
    }
    weights = {name: 1 / (at + 1) for at, name in enumerate(base_models)}
    centres = Centres(("ary", "fr"), np.ones((3, 4), np.float32))
    text = TextSpace(item_vectors=vectors * 2, centres=centres, half_life_days=14.0, negative_weight=0.5)
    flat = History(np.array([0, 2, 1], np.int32), np.array([1, -1, 2], np.float32), np.array([5, 6, 7], np.int64))
    ids = [f"v{i}" for i in range(n_items)]
    return ArtifactContents(
        items=pl.DataFrame({"item_id": ids, "title": ["سند", "b", "c"][:n_items]}),
        creators=pl.DataFrame({"creator_id": ["c1"], "country": ["MA"]}),
        users=pl.DataFrame({"user_id": ["u1"], "country": ["MA"]}),
        spaces={"cf": cf, "text": text},
        blend=Blend(base_models, weights, ("MA",), {"MA": {"ials": 1.0, "next_item": 0.5}}),
        popularity=popularity,
        histories=UserHistories(rows=row_numbers(["u1", "u2"]), indptr=np.array([0, 2, 3]), flat=flat),
        safe_feed=("v2", "v0"),
    )


def manifest() -> Manifest:
    return Manifest(
        format=FORMAT,
        created_at="2026-11-20T18:00:00.000Z",
        data_fingerprint="d" * 32,
        config={"seed": 0},
        cutoff=None,
        risk_source="labelled",
        counts={"items": 3},
        features=(),
        spaces=(),
        encoder="e" * 32,
        metrics={},
        settings={},
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_artifact(tmp_path / "model", contents(), manifest())
    return tmp_path / "model"


def test_what_is_loaded_is_what_was_saved(saved: Path) -> None:
    loaded, was = load_artifact(saved), contents()
    assert loaded.items.equals(was.items)
    assert loaded.creators.equals(was.creators)
    assert loaded.users.equals(was.users)
    assert loaded.safe_feed == was.safe_feed
    assert np.array_equal(loaded.popularity.of("MA"), was.popularity.of("MA"))
    assert list(loaded.histories) == ["u1", "u2"]
    for user_id, expected in was.histories.items():
        assert np.array_equal(loaded.histories[user_id].items, expected.items)
        assert np.array_equal(loaded.histories[user_id].weights, expected.weights)
        assert np.array_equal(loaded.histories[user_id].at, expected.at)
        for name, space in was.spaces.items():
            assert np.array_equal(loaded.spaces[name].fold_in(expected), space.fold_in(expected))
        for market in (0, 1):  # Morocco, and the world
            users = interactions_from_history(expected, 3, market)
            assert np.array_equal(loaded.blend.scores(users), was.blend.scores(users))
    assert {name: index.ntotal for name, index in loaded.indexes.items()} == {"cf": 3, "text": 3}
    assert "u3" not in loaded.histories


def with_reranker(names: tuple[str, ...]) -> ArtifactContents:
    """The same, its blend with a re-ranker over these models, which reverses the order."""
    import lightgbm

    was = contents()
    read = {name: was.blend.base_models[name] for name in names}
    table = np.random.default_rng(0).random((200, count_features(read)))
    settings = {"objective": "binary", "verbosity": -1, "num_threads": 1, "min_data_in_leaf": 5, "seed": 0}
    trees = lightgbm.train(settings, lightgbm.Dataset(table, table[:, 0] < 0.5), 3)
    reranker = Reranker(open_booster(trees.model_to_string()), (-5.0, 0.0, 0.1), names, np.ones(3, np.float32))
    return replace(was, blend=replace(was.blend, reranker=reranker))


def test_a_reranker_is_loaded_as_it_was_saved(tmp_path: Path) -> None:
    was = with_reranker(("next_item", "ials", "popularity"))  # an order of its own
    save_artifact(tmp_path / "model", was, manifest())
    loaded = load_artifact(tmp_path / "model").blend
    assert loaded.reranker is not None and loaded.reranker.model_names == ("next_item", "ials", "popularity")
    users = interactions_from_history(
        History(np.array([0], np.int32), np.ones(1, np.float32), np.zeros(1, np.int64)), 3, 0
    )
    found = loaded.scores(users)
    assert np.array_equal(found, was.blend.scores(users))
    plain = replace(was.blend, reranker=None).scores(users)
    assert not np.array_equal(found, plain) and np.array_equal(np.sort(found), np.sort(plain))


def test_a_reranker_over_other_models_is_refused(tmp_path: Path) -> None:
    was = with_reranker(("ials", "popularity"))
    reranker = replace(was.blend.reranker, model_names=("ials",))
    save_artifact(tmp_path / "model", replace(was, blend=replace(was.blend, reranker=reranker)), manifest())
    with pytest.raises(ArtifactError, match="the re-ranker reads 19 features, expected 15"):
        load_artifact(tmp_path / "model")


def test_arrays_are_mapped_not_read_and_cannot_be_written(saved: Path) -> None:
    vectors = load_artifact(saved).spaces["cf"].item_vectors
    assert isinstance(vectors, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        vectors[0, 0] = 1


def test_equal_contents_have_equal_versions_and_another_manifest_another_one(tmp_path: Path) -> None:
    versions = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        save_artifact(tmp_path / name, contents(), msgspec.structs.replace(manifest(), config={"seed": seed}))
        versions.append(load_artifact(tmp_path / name).version)
    assert versions[0] == versions[1] != versions[2]


def test_one_changed_byte_in_any_file_is_refused_by_name(saved: Path) -> None:
    for path in sorted(saved.iterdir()):
        if path.name == "manifest.json":
            continue
        original = path.read_bytes()
        changed = bytearray(original)
        changed[len(changed) // 2] ^= 1
        path.write_bytes(changed)
        with pytest.raises(ArtifactError, match=f"found '{path.name}' with sha256 .* altered or damaged"):
            load_artifact(saved)
        path.write_bytes(original)
    load_artifact(saved)


def test_missing_and_unexpected_files_and_links_are_all_reported_at_once(saved: Path) -> None:
    (saved / "popularity.npy").unlink()
    (saved / "extra.pkl").write_bytes(b"x")
    (saved / "items.parquet").rename(saved.parent / "elsewhere")
    (saved / "items.parquet").symlink_to(saved.parent / "elsewhere")
    with pytest.raises(ArtifactError) as error:
        load_artifact(saved)
    assert len(error.value.problems) == 3
    assert "unexpected file 'extra.pkl'" in str(error.value)


def rewrite(folder: Path, change: Callable[[dict[str, object]], None]) -> None:
    """Without the checksum of the manifest itself: as an earlier version wrote it."""
    said = json.loads((folder / "manifest.json").read_text("utf-8"))
    del said["sha256"]
    change(said)
    (folder / "manifest.json").write_text(json.dumps(said), "utf-8")


@pytest.mark.parametrize("name", ["../outside.npy", "/etc/passwd", "a/b.npy", "..", "UPPER.NPY", ""])
def test_a_file_name_that_leads_elsewhere_is_refused_before_it_is_opened(saved: Path, name: str) -> None:
    rewrite(saved, lambda said: said["files"].update({name: "0" * 64}))
    with pytest.raises(ArtifactError, match="expected a plain name inside the folder"):
        load_artifact(saved)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda said: said.update(format=3), "found an artifact of format 3 .*expected format 4; train it again"),
        (lambda said: said.update(format=99), "format 99 .*serve it by the newer version that made it"),
        (lambda said: said.update(surprise=1), "cannot be read .*surprise"),
        (lambda said: said.pop("counts"), "cannot be read .*counts"),
        (lambda said: said["settings"]["space.cf"].update(kind="other"), "expected factors, text, linear or item_item"),
        (lambda said: said.update(spaces=["cf", "text", "third"]), "do not fit together"),
    ],
)
def test_a_manifest_that_says_something_else_is_refused(
    saved: Path, change: Callable[[dict[str, object]], None], sentence: str
) -> None:
    rewrite(saved, change)
    with pytest.raises(ArtifactError, match=sentence):
        load_artifact(saved)


def test_no_folder_an_empty_one_and_a_torn_manifest_are_sentences(tmp_path: Path, saved: Path) -> None:
    with pytest.raises(ArtifactError, match="make one with `sanad train`"):
        load_artifact(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtifactError, match=r"found no manifest\.json"):
        load_artifact(tmp_path / "empty")
    raw = (saved / "manifest.json").read_bytes()
    for torn in (raw[: len(raw) // 2], b"", b"\xff\xfe", b"[]"):
        (saved / "manifest.json").write_bytes(torn)
        with pytest.raises(ArtifactError, match="cannot be read"):
            load_artifact(saved)


def test_pickled_arrays_are_refused_even_with_the_right_checksum(saved: Path) -> None:
    np.save(saved / "popularity.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    digest = file_sha256(saved / "popularity.npy")
    rewrite(saved, lambda said: said["files"].update({"popularity.npy": digest}))
    with pytest.raises(ArtifactError, match="do not fit together"):
        load_artifact(saved)


def test_tables_and_arrays_of_different_lengths_are_refused(tmp_path: Path) -> None:
    wrong = contents()
    save_artifact(
        tmp_path / "model",
        ArtifactContents(**{**{n: getattr(wrong, n) for n in wrong.__slots__}, "items": wrong.items.head(2)}),
        manifest(),
    )
    with pytest.raises(ArtifactError, match="space cf has 3 items, the table 2"):
        load_artifact(tmp_path / "model")


def test_an_empty_catalogue_can_be_saved_and_loaded(tmp_path: Path) -> None:
    save_artifact(
        tmp_path / "model",
        ArtifactContents(
            items=contents().items.clear(),
            creators=contents().creators.clear(),
            users=contents().users.clear(),
            spaces={"cf": replace(contents().spaces["cf"], item_vectors=np.zeros((0, 4), np.float32))},
            blend=Blend({}, {}),
            popularity=Popularity((), np.zeros((1, 0), np.float32)),
            histories=UserHistories(rows={}, indptr=np.zeros(1, np.int64), flat=History.empty()),
            safe_feed=(),
        ),
        manifest(),
    )
    assert len(load_artifact(tmp_path / "model").items) == 0


def test_saving_replaces_an_artifact_and_leaves_anything_else_alone(saved: Path, tmp_path: Path) -> None:
    before = load_artifact(saved).version
    save_artifact(saved, contents(), msgspec.structs.replace(manifest(), config={"seed": 9}))
    assert load_artifact(saved).version != before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.jpg").write_bytes(b"x")
    with pytest.raises(ArtifactError, match="which is no artifact"):
        save_artifact(tmp_path / "photos", contents(), manifest())
    assert (tmp_path / "photos" / "me.jpg").read_bytes() == b"x"


def test_a_failure_while_saving_leaves_the_old_artifact_and_no_litter(saved: Path, tmp_path: Path) -> None:
    before = load_artifact(saved).version
    broken = contents()
    wrong_space = {"cf": broken.spaces["cf"], "third": object()}
    with pytest.raises(TypeError, match="found a model of type object"):
        save_artifact(
            saved,
            ArtifactContents(**{**{n: getattr(broken, n) for n in broken.__slots__}, "spaces": wrong_space}),
            manifest(),
        )
    assert load_artifact(saved).version == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


KILLED = """
import sys, time
sys.path[:0] = [{root!r}, {here!r}]
from pathlib import Path
from recsys.models import artifact
import test_artifact
artifact._flush = lambda path: (print("writing", flush=True), time.sleep(60))
artifact.save_artifact(Path({folder!r}), test_artifact.contents(), test_artifact.manifest())
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_kill_during_a_save_leaves_no_artifact_and_the_next_save_tidies_up(tmp_path: Path, how: int) -> None:
    folder = tmp_path / "model"
    code = KILLED.format(root=str(ROOT), here=str(Path(__file__).parent), folder=str(folder))
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        sleep(0.05)
        os.kill(process.pid, how)
        process.wait(20)
    assert not folder.exists()
    save_artifact(folder, contents(), manifest())
    load_artifact(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_an_artifact_killed_between_its_two_renames_comes_back(saved: Path, tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    saved.rename(tmp_path / f".model.old-{int(ended.stdout)}")
    artifact._clear_leftovers(saved)
    load_artifact(saved)


def test_loading_imports_no_training_library(saved: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from recsys.models.artifact import load_artifact;"
        f"a = load_artifact(Path({str(saved)!r})); a.spaces['cf'].fold_in(a.histories['u1']);"
        "heavy = ('torch', 'implicit', 'sentence_transformers', 'transformers', 'sklearn');"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_bm25_and_bpr_score_with_the_same_bits_after_a_round_trip(tmp_path: Path) -> None:
    signed = sparse.csr_matrix(np.random.default_rng(1).random((20, 3)) < 0.6, dtype=np.float32)
    whole = contents()
    base_models = {
        **whole.blend.base_models,
        "bm25": item_knn.fit(signed, item_knn.BM25Params()),
        "bpr": bpr.fit(signed, bpr.BPRParams(embedding_size=4, epochs=3), np.random.default_rng(0)),
    }
    blend = replace(whole.blend, base_models=base_models, weights={"bm25": 1.0, "bpr": 0.5})
    save_artifact(tmp_path / "a", replace(whole, blend=blend), manifest())
    loaded = load_artifact(tmp_path / "a").blend
    users = interactions_from_history(whole.histories["u1"], 3, 0)
    for name in ("bm25", "bpr"):
        before, after = base_models[name].scores(users), loaded.base_models[name].scores(users)
        assert before.any() and before.tobytes() == after.tobytes()
    assert loaded.scores(users).tobytes() == blend.scores(users).tobytes()
