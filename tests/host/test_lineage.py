"""Which processes are descendants ("kin"): decided by births, sessions and the cookie, never by a reused number."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.host.darwin.lineage import Lineage, Process

OURS, OUR_SESSION = 100, 50


def a_process(pid: int, forker: int, sid: int = OUR_SESSION, birth: int = 0, **more: Any) -> Process:
    """Return a process. Its birth equals its pid unless given."""
    return Process(pid, birth or pid, forker=forker, ppid=1, sid=sid, **more)


def table(*processes: Process) -> dict[int, Process]:
    return {it.pid: it for it in processes}


def pids(found: Iterable[Process]) -> list[int]:
    return sorted(it.pid for it in found)


@pytest.fixture
def lineage() -> Lineage:
    return Lineage(a_process(OURS, 1), since=OURS, outside=OUR_SESSION)


ROOT = a_process(OURS, 1)


def test_children_and_theirs_are_kin_whoever_has_adopted_them(lineage: Lineage) -> None:
    found = lineage.look(table(ROOT, a_process(101, OURS), a_process(102, 101), a_process(103, 102), a_process(104, 1)))
    assert pids(found) == [OURS, 101, 102, 103]


def test_an_orphan_stays_kin_when_all_above_it_are_dead(lineage: Lineage) -> None:
    lineage.look(table(ROOT, a_process(101, OURS), a_process(102, 101)))
    lineage.look(table(a_process(102, 101)))
    lineage.look(table(a_process(102, 101)))
    assert pids(lineage.look(table(a_process(102, 101), a_process(103, 102)))) == [102, 103]


def test_the_last_child_of_one_that_died_between_two_looks_is_kin(lineage: Lineage) -> None:
    """It was forked after the first listing, and its parent was dead at the next one."""
    lineage.look(table(ROOT, a_process(101, OURS)))
    lineage.look(table(ROOT))
    assert pids(lineage.look(table(ROOT, a_process(102, 101)))) == [OURS, 102]


def test_one_that_has_the_pid_of_kin_is_not_taken_for_it(lineage: Lineage) -> None:
    lineage.look(table(ROOT, a_process(101, OURS)))
    assert pids(lineage.look(table(ROOT, a_process(101, 1, birth=900), a_process(102, 900)))) == [OURS]


def test_a_stranger_to_us_in_a_session_of_kin_is_kin(lineage: Lineage) -> None:
    """Its parent was never seen: it died before the first listing."""
    found = lineage.look(table(ROOT, a_process(101, OURS, sid=101), a_process(103, 102, sid=101)))
    assert pids(found) == [OURS, 101, 103]


def test_a_stranger_in_our_own_session_is_not(lineage: Lineage) -> None:
    assert pids(lineage.look(table(ROOT, a_process(101, OURS), a_process(103, 102)))) == [OURS, 101]


def test_a_session_whose_known_members_are_dead_proves_nothing(lineage: Lineage) -> None:
    """The session's number may have been reused."""
    lineage.look(table(ROOT, a_process(101, OURS, sid=101)))
    assert pids(lineage.look(table(ROOT, a_process(103, 102, sid=101)))) == [OURS]
    dead = a_process(101, OURS, sid=101, dead=True)
    for first in (table(ROOT), table(ROOT, a_process(101, OURS, sid=101))):
        again = Lineage(ROOT, since=OURS, outside=OUR_SESSION)
        again.look(first)
        assert pids(again.look(table(ROOT, dead, a_process(103, 102, sid=101)))) == [OURS, 101]


def test_a_session_that_is_held_for_certain_is_believed() -> None:
    """Its leader was a zombie before it could be read. We have not reaped it, so its number is not reused."""
    lineage = Lineage(None, since=OURS, outside=OUR_SESSION)
    assert pids(lineage.look(table(ROOT, a_process(103, 102, sid=101)), session=101)) == [103]
    assert pids(lineage.look(table(ROOT, a_process(103, 102, sid=101)))) == [103]


def test_cookie_is_read_only_of_younger_processes_not_known_otherwise(lineage: Lineage) -> None:
    asked: list[int] = []

    def marked(it: Process) -> bool:
        asked.append(it.pid)
        return it.pid == 103

    seen = table(a_process(7, 1), ROOT, a_process(101, OURS), a_process(103, 102), a_process(104, 103))
    assert pids(lineage.look(seen, marked)) == [OURS, 101, 103, 104]
    assert sorted(asked) == [103, 104]
    assert pids(lineage.look(seen)) == [OURS, 101, 103, 104]


def test_process_met_alone_is_known_from_then_on_and_adopts_no_other(lineage: Lineage) -> None:
    lineage.look(table(ROOT, a_process(101, OURS)))
    assert lineage.adopt(a_process(102, 101))
    assert not lineage.adopt(a_process(104, 1))
    assert pids(lineage.look(table(ROOT, a_process(103, 102)))) == [OURS, 103]


def test_daemon_without_environment_is_a_descendant_by_its_middle_process(lineage: Lineage) -> None:
    middle, daemon = a_process(101, OURS, sid=101), a_process(102, 101, sid=101)
    assert pids(lineage.look(table(ROOT, daemon), lambda _: False)) == [OURS], "the middle process was not seen"
    assert lineage.adopt(middle)
    assert pids(lineage.look(table(ROOT, daemon), lambda _: False)) == [OURS, 102]


LAUNCHD = 1
"""The forker of an orphan after an exec."""


def test_an_orphan_that_execs_is_kin_by_the_version_of_its_forker(lineage: Lineage) -> None:
    middle = a_process(101, OURS, sid=101, version=11)
    orphan = a_process(102, LAUNCHD, sid=102, version=13, forker_version=11)
    assert lineage.adopt(middle)
    assert pids(lineage.look(table(ROOT, orphan), lambda _: False)) == [OURS, 102]
    child = a_process(103, LAUNCHD, sid=103, version=14, forker_version=13)
    assert pids(lineage.look(table(ROOT, child))) == [OURS, 103], "its parent was seen in the last listing"


def test_an_orphan_that_execs_is_kin_when_it_is_met_alone(lineage: Lineage) -> None:
    assert lineage.adopt(a_process(101, OURS, version=11))
    assert lineage.adopt(a_process(102, LAUNCHD, version=13, forker_version=11))
    assert not lineage.adopt(a_process(104, LAUNCHD, version=15, forker_version=14))


def test_each_version_of_a_process_tells_its_children(lineage: Lineage) -> None:
    """It forked one child before its exec, and one after."""
    lineage.look(table(ROOT, a_process(101, OURS, version=11)))
    lineage.note(a_process(101, OURS, version=12))
    before, after = (a_process(pid, LAUNCHD, forker_version=version) for pid, version in ((102, 11), (103, 12)))
    stranger = a_process(104, LAUNCHD, forker_version=20)
    assert pids(lineage.look(table(ROOT, before, after, stranger))) == [OURS, 102, 103]


def test_a_version_is_learned_of_kin_only_and_not_of_who_has_its_pid(lineage: Lineage) -> None:
    lineage.look(table(ROOT, a_process(101, OURS, version=11)))
    lineage.note(a_process(101, LAUNCHD, birth=900, version=12))
    lineage.note(a_process(300, LAUNCHD, version=13))
    strangers = [a_process(pid, LAUNCHD, forker_version=version) for pid, version in ((301, 12), (302, 13))]
    assert pids(lineage.look(table(ROOT, *strangers))) == [OURS]


def test_a_version_that_is_not_known_tells_nothing(lineage: Lineage) -> None:
    """Before macOS 15.4 every process has version 0."""
    lineage.look(table(ROOT, a_process(101, OURS)))
    assert pids(lineage.look(table(ROOT, a_process(101, OURS), a_process(104, LAUNCHD)))) == [OURS, 101]


def test_the_root_is_known_by_its_version_too() -> None:
    lineage = Lineage(a_process(OURS, LAUNCHD, version=7), since=OURS, outside=OUR_SESSION)
    assert pids(lineage.look(table(a_process(101, LAUNCHD, forker_version=7)))) == [101]


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans(), st.booleans(), st.booleans()), max_size=30))
def test_exactly_the_descendants_whose_lineage_was_seen_are_found(
    steps: list[tuple[int, bool, bool, bool]],
) -> None:
    """In each step a process forks, maybe into a new session. Then the parent may die, and we may list."""
    living = {OURS: ROOT, 1: a_process(1, 0, sid=1)}
    ours = {OURS}
    seen = {OURS}
    lineage = Lineage(ROOT, since=OURS, outside=OUR_SESSION)
    for number, (who, setsid, dies, look) in enumerate(steps, 200):
        parent = list(living.values())[who % len(living)]
        child = a_process(number, parent.birth, sid=number if setsid else parent.sid)
        living[number] = child
        if parent.birth in ours:
            ours.add(number)
        if dies and parent.pid not in {OURS, 1}:
            del living[parent.pid]
        if look:
            found = lineage.look(living)
            assert {it.birth for it in found} <= ours
            for it in living.values():
                if it.forker in seen:
                    seen.add(it.birth)
            assert seen & set(living) <= set(pids(found))
