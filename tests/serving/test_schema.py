"""The whole description of the interface, tried by machine: no request that it allows or forbids ends in an error."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import negative_data_rejection, positive_data_acceptance
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.app import create_app
from serving.run import open_engine
from serving.settings import Settings
from tests.serving.conftest import StillClock

N_EXAMPLES = 10


@pytest.fixture(scope="module")
def app(artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ASGIApp]:
    """A service of its own, with every address there is."""
    chosen = Settings(artifact=artifact, state=tmp_path_factory.mktemp("schema") / "state.db", port=0)
    clock = StillClock()
    with open_engine(chosen, clock=clock) as engine:
        yield _called_from_here(create_app(engine, settings=chosen, clock=clock))


def _called_from_here(app: ASGIApp) -> ASGIApp:
    """The service as a program on this machine calls it."""

    async def local(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
            scope = {**scope, "client": ("127.0.0.1", 5_000), "headers": [*headers, (b"host", b"127.0.0.1:8000")]}
        await app(scope, receive, send)

    return local


@pytest.fixture(scope="module")
def described(app: ASGIApp) -> Any:
    return schemathesis.openapi.from_asgi("/openapi.json", app)


MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)


@pytest.mark.slow
@pytest.mark.soak
def test_every_answer_is_one_that_is_described(described: Any, is_soak: bool) -> None:
    """
    Each call with requests that the description allows, and with others: the status, type and body are described.

    What a schema cannot say (who may have a guardian, what is printable) is refused with 422, which is described too.
    """
    problems = [
        problem
        for result in described.get_all_operations()
        for mode in MODES
        for problem in _problems(result.ok(), mode, 200 if is_soak else N_EXAMPLES)
    ]
    assert not problems, "\n\n".join(problems)


@schemathesis.serializer("application/x-ndjson")
def lines(_: object, value: object) -> bytes:
    """A body of JSON Lines as it is; whatever is no text as one line."""
    return value.encode("utf-8", "replace") if isinstance(value, str) else str(value).encode()


def _not_of(label: str) -> list[Any]:
    """
    What does not hold for a call by design: events and lines are judged one by one, and the answer names wrong ones.
    """
    return [negative_data_rejection] if label in ("POST /v1/events", "POST /v1/bulk/{table}") else []


def _problems(operation: Any, mode: GenerationMode, n_examples: int) -> list[str]:
    """What is wrong with the answers of one call, as text."""

    @settings(max_examples=n_examples, deadline=None, derandomize=True, database=None,
              phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(operation.as_strategy(generation_mode=mode))
    def check(case: Any) -> None:
        answered = case.call()
        try:
            case.validate_response(answered, excluded_checks=[positive_data_acceptance, *_not_of(operation.label)])
        except BaseExceptionGroup as group:
            sentences = "; ".join(map(str, group.exceptions))
            raise AssertionError(f"{operation.label}, {mode}: {sentences}\n{case!r}\n{answered.text[:500]}") from group

    try:
        check()
    except Unsatisfiable:
        return []  # nothing about this call can be wrong
    except AssertionError as error:
        return [str(error)]
    return []
