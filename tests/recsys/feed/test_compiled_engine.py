"""The whole engine decides the same with the compiled loops and without them, whatever happens to it in between."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
import pytest

from recsys import kernels
from recsys.clock import DAY, MINUTE
from recsys.messages import Context, RankCandidate, RankRequest
from recsys.services.items import put_item
from recsys.services.rights import erase, reset

N_STEPS = 40
SIZES = (1, 2, 20, 50)
LANGUAGES = (None, ("fr",), ("ary", "en"))
ODD = (0.0, -0.0, 1e9, -1e9, 1e-30, 0.5)


@contextmanager
def loops_of(folder: Path) -> Iterator[None]:
    """The compiled loops of a library in this folder; those in Python where it has none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "SOURCES", (folder / "native.c",))
        kernels.library.cache_clear()
        yield
    kernels.library.cache_clear()


def told(make_service: Callable, evening: int, seed: int) -> list[bytes]:
    """All decisions of a service to which the same things happen for the same seed."""
    rng, service, at = np.random.default_rng(seed), make_service(), evening
    people, items = ["casa-adult", "nobody", "someone"], service.engine.resources.catalogue_cache.items
    known = [item_id for item_id in items.item_ids.take(range(len(items))) if item_id]
    service.is_adult("casa-adult").is_adult("someone")
    for step in range(N_STEPS):
        who, some = str(rng.choice(people)), [str(item_id) for item_id in rng.choice(known, 60)]
        at += int(rng.choice([MINUTE, 20 * MINUTE, DAY]))
        size, surface = int(rng.choice(SIZES)), str(rng.choice(["for_you", "local", "together", "following"]))
        page = service.ask(
            who, at, size=size, surface=surface, context=Context(languages=LANGUAGES[int(rng.integers(3))])
        )
        for item in page.items[:3]:
            kind = str(rng.choice(["like", "not_interested", "view", "follow"]))
            more = {"watch_fraction": float(rng.random())} if kind == "view" else {}
            more |= {"creator_id": item.creator_id} if kind == "follow" else {"item_id": item.item_id}
            service.tell({"kind": kind, **more}, user_id=who, at=at)
        listed = [*some[: int(rng.integers(60))], *(f"unlisted-{n}" for n in range(int(rng.integers(1, 30))))]
        candidates = tuple(
            RankCandidate(item_id=item_id, creator_id=f"c{n % 7}", features={"own": float(rng.choice(ODD))})
            for n, item_id in enumerate(listed)
        )
        ranked = RankRequest(
            user_id=who, size=size, candidates=candidates, candidate_ids=tuple(listed), feature_weights={"own": 2.0}
        )
        service.send(ranked, at)
        row = {"creator_id": service.store.catalogue.get(some[0]).fields["creator_id"], "title": f"new {step}"}
        put_item(service.store.catalogue, f"new-{step}", {**row, "risk_tier": str(rng.choice(["R0", "R1", "R2"]))}, at)
        service.edit(some[1], at, **[{"is_hidden": True}, {"risk_tier": "R3"}, {"risk_tier": "R1"}][step % 3])
        if step % 13 == 12:
            (erase if step % 2 else reset)(service.engine, who, at)
    return [msgspec.msgpack.encode(decision) for who in people for decision in service.decisions(who)]


@pytest.mark.parametrize("seed", [1, 2])
def test_the_engine_decides_the_same_with_and_without_the_compiled_loops(native, make_service, evening, tmp_path, seed):
    with loops_of(Path(native._name).parent):
        assert kernels.describe() == "compiled"
        compiled = told(make_service, evening, seed)
    with loops_of(tmp_path):
        assert kernels.describe() == "Python"
        expected = told(make_service, evening, seed)
    assert len(compiled) >= N_STEPS
    assert compiled == expected
