"""Backoff, jitter, and the sliding budget."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.config.services import BackoffConfig, RestartConfig
from sidecar.core.restart import RestartBudget

STEADY = BackoffConfig(initial_ms=100, factor=2.0, max_ms=1_000, jitter=0.0)


def test_each_delay_is_twice_the_one_before_until_the_longest() -> None:
    budget = RestartBudget(RestartConfig(backoff=STEADY, limit=10), lambda: 0.5)
    assert [budget.take(0.0) for _ in range(6)] == [100, 200, 400, 800, 1_000, 1_000]


def test_the_budget_is_spent_after_its_limit() -> None:
    budget = RestartBudget(RestartConfig(backoff=STEADY, limit=2), lambda: 0.5)
    assert [budget.take(0.0), budget.take(1.0), budget.take(2.0)] == [100, 200, None]
    assert budget.attempt == 2, "what was refused is no attempt"


def test_a_limit_of_none_refuses_at_once() -> None:
    assert RestartBudget(RestartConfig(limit=0), lambda: 0.5).take(0.0) is None


def test_the_window_slides_and_the_backoff_goes_on() -> None:
    config = RestartConfig(backoff=STEADY, limit=2, window_ms=10_000)
    budget = RestartBudget(config, lambda: 0.5)
    assert budget.take(0.0) == 100
    assert budget.take(5.0) == 200
    assert budget.take(9.999) is None
    assert budget.take(10.0) == 400, "the first one has left the window"
    assert budget.take(14.9) is None


def test_a_reset_is_a_fresh_start() -> None:
    budget = RestartBudget(RestartConfig(backoff=STEADY, limit=1), lambda: 0.5)
    budget.take(0.0)
    budget.reset()
    assert (budget.attempt, budget.take(0.0), budget.attempt) == (0, 100, 1)


@pytest.mark.parametrize(("chance", "delay"), [(0.0, 80), (0.5, 100), (0.75, 110)])
def test_jitter_spreads_the_delay_to_both_sides(chance: float, delay: int) -> None:
    config = RestartConfig(backoff=BackoffConfig(initial_ms=100, jitter=0.2))
    assert RestartBudget(config, lambda: chance).take(0.0) == delay


@given(
    backoff=st.builds(
        BackoffConfig,
        initial_ms=st.integers(0, 86_400_000),
        factor=st.floats(1.0, 10.0),
        max_ms=st.integers(0, 86_400_000),
        jitter=st.floats(0.0, 1.0),
    ),
    chances=st.lists(st.floats(0.0, 1.0, exclude_max=True), min_size=1, max_size=80),
)
def test_no_configuration_gives_a_delay_below_nothing_or_over_the_longest(
    backoff: BackoffConfig, chances: list[float]
) -> None:
    rest = iter(chances)
    budget = RestartBudget(RestartConfig(backoff=backoff, limit=1_000), lambda: next(rest))
    for _ in chances:
        delay = budget.take(0.0)
        assert delay is not None
        assert 0 <= delay <= backoff.max_ms
