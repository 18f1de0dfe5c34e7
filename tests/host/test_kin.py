"""Who is whose: by births, sessions and the cookie, and never by chance."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.host.darwin.kin import Kin, Process

OURS, OUR_SESSION = 100, 50


def a_process(pid: int, forker: int, sid: int = OUR_SESSION, birth: int = 0, **more: bool) -> Process:
    """Its birth is its pid, unless told."""
    return Process(pid, birth or pid, forker=forker, ppid=1, sid=sid, **more)


def table(*processes: Process) -> dict[int, Process]:
    return {it.pid: it for it in processes}


def pids(found: Iterable[Process]) -> list[int]:
    return sorted(it.pid for it in found)


@pytest.fixture
def kin() -> Kin:
    return Kin(a_process(OURS, 1), since=OURS, outside=OUR_SESSION)


ROOT = a_process(OURS, 1)


def test_children_and_theirs_are_kin_whoever_has_adopted_them(kin: Kin) -> None:
    found = kin.look(table(ROOT, a_process(101, OURS), a_process(102, 101), a_process(103, 102), a_process(104, 1)))
    assert pids(found) == [OURS, 101, 102, 103]


def test_an_orphan_stays_kin_when_all_above_it_are_dead(kin: Kin) -> None:
    kin.look(table(ROOT, a_process(101, OURS), a_process(102, 101)))
    kin.look(table(a_process(102, 101)))
    kin.look(table(a_process(102, 101)))
    assert pids(kin.look(table(a_process(102, 101), a_process(103, 102)))) == [102, 103]


def test_the_last_child_of_one_that_died_between_two_looks_is_kin(kin: Kin) -> None:
    """It was forked after the pids were listed, and its parent was dead when the next list was made."""
    kin.look(table(ROOT, a_process(101, OURS)))
    kin.look(table(ROOT))
    assert pids(kin.look(table(ROOT, a_process(102, 101)))) == [OURS, 102]


def test_one_that_has_the_pid_of_kin_is_not_taken_for_it(kin: Kin) -> None:
    kin.look(table(ROOT, a_process(101, OURS)))
    assert pids(kin.look(table(ROOT, a_process(101, 1, birth=900), a_process(102, 900)))) == [OURS]


def test_a_stranger_to_us_in_a_session_of_kin_is_kin(kin: Kin) -> None:
    """Its parent was never seen: it had died before anybody looked."""
    found = kin.look(table(ROOT, a_process(101, OURS, sid=101), a_process(103, 102, sid=101)))
    assert pids(found) == [OURS, 101, 103]


def test_a_stranger_in_our_own_session_is_not(kin: Kin) -> None:
    assert pids(kin.look(table(ROOT, a_process(101, OURS), a_process(103, 102)))) == [OURS, 101]


def test_a_session_whose_known_members_are_dead_proves_nothing(kin: Kin) -> None:
    """Its number may be another one's by now."""
    kin.look(table(ROOT, a_process(101, OURS, sid=101)))
    assert pids(kin.look(table(ROOT, a_process(103, 102, sid=101)))) == [OURS]
    dead = a_process(101, OURS, sid=101, dead=True)
    for first in (table(ROOT), table(ROOT, a_process(101, OURS, sid=101))):
        again = Kin(ROOT, since=OURS, outside=OUR_SESSION)
        again.look(first)
        assert pids(again.look(table(ROOT, dead, a_process(103, 102, sid=101)))) == [OURS, 101]


def test_a_session_that_is_held_for_certain_is_believed() -> None:
    """Its leader was a zombie before it could be looked at: a child of ours that we have not reaped."""
    kin = Kin(None, since=OURS, outside=OUR_SESSION)
    assert pids(kin.look(table(ROOT, a_process(103, 102, sid=101)), session=101)) == [103]
    assert pids(kin.look(table(ROOT, a_process(103, 102, sid=101)))) == [103]


def test_the_cookie_is_asked_for_only_of_the_younger_ones_that_nothing_else_tells(kin: Kin) -> None:
    asked: list[int] = []

    def marked(it: Process) -> bool:
        asked.append(it.pid)
        return it.pid == 103

    seen = table(a_process(7, 1), ROOT, a_process(101, OURS), a_process(103, 102), a_process(104, 103))
    assert pids(kin.look(seen, marked)) == [OURS, 101, 103, 104]
    assert sorted(asked) == [103, 104]
    assert pids(kin.look(seen)) == [OURS, 101, 103, 104]


def test_one_that_is_met_alone_is_known_from_then_on_and_takes_nobody_from_the_family(kin: Kin) -> None:
    kin.look(table(ROOT, a_process(101, OURS)))
    assert kin.adopt(a_process(102, 101))
    assert not kin.adopt(a_process(104, 1))
    assert pids(kin.look(table(ROOT, a_process(103, 102)))) == [OURS, 103]


def test_a_daemon_with_an_empty_environment_is_kin_if_its_middle_process_was_met(kin: Kin) -> None:
    middle, daemon = a_process(101, OURS, sid=101), a_process(102, 101, sid=101)
    assert pids(kin.look(table(ROOT, daemon), lambda _: False)) == [OURS], "nobody has seen the middle one"
    assert kin.adopt(middle)
    assert pids(kin.look(table(ROOT, daemon), lambda _: False)) == [OURS, 102]


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans(), st.booleans(), st.booleans()), max_size=30))
def test_whatever_happens_only_descendants_are_kin_and_all_whose_line_was_seen(
    steps: list[tuple[int, bool, bool, bool]],
) -> None:
    """Each step: somebody forks (a new session or not), somebody may die, and we may look."""
    living = {OURS: ROOT, 1: a_process(1, 0, sid=1)}
    ours = {OURS}
    seen = {OURS}
    kin = Kin(ROOT, since=OURS, outside=OUR_SESSION)
    for number, (who, setsid, dies, look) in enumerate(steps, 200):
        parent = list(living.values())[who % len(living)]
        child = a_process(number, parent.birth, sid=number if setsid else parent.sid)
        living[number] = child
        if parent.birth in ours:
            ours.add(number)
        if dies and parent.pid not in {OURS, 1}:
            del living[parent.pid]
        if look:
            found = kin.look(living)
            assert {it.birth for it in found} <= ours
            for it in living.values():
                if it.forker in seen:
                    seen.add(it.birth)
            assert seen & set(living) <= set(pids(found))
