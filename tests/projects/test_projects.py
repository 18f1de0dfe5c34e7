from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import Future

import pytest
from msgspec import structs

assert sys.platform == "linux"  # for mypy: conftest.py leaves this module out elsewhere

from tests.projects.setups import load
from tests.projects.tries import Result, attempt, attempts, missing, quick

SETUPS = load()
WHY_NOT = missing()

pytestmark = [pytest.mark.vite, pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))]


@pytest.fixture(scope="module")
def tried(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[Result]]]:
    """At the first test, start all selected set-ups, two at a time."""
    names = [
        str(item.callspec.params["name"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.module is request.module and hasattr(item, "callspec")
    ]
    with attempts({name: SETUPS[name] for name in names}) as futures:
        yield futures


@pytest.mark.parametrize("name", quick(SETUPS))
def test_project(name: str, tried: dict[str, Future[Result]]) -> None:
    result = tried[name].result()
    assert not result.fault, f"{result.setup.what}: {result.setup.expect}.\n{result.fault}"


def test_a_set_up_that_is_not_as_expected_is_a_fault() -> None:
    setup, source = SETUPS["ends-at-once"]
    wrong = structs.replace(setup, steps=[{"exits": 0}])
    assert "the exit code is 3" in attempt("wrong", wrong, source).fault
    unknown = structs.replace(setup, steps=[{"does": "no such thing"}])
    assert "there is no step does" in attempt("unknown", unknown, source).fault
