"""The one seam to the system: what the runtime needs from a platform. It is narrow enough for a complete fake.

``Host`` is the system below us. ``Session`` is what we depend on: the app, and the guard if there is one.

The runtime's main thread calls all methods of a host, with four exceptions: probes, checks and preparations call
``owns``, ``owner_of``, ``listening`` and ``holder`` from their own threads. A *tree* is a service's program with
everything that it started, directly or through other processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal, Protocol, assert_never

from msgspec import Struct

from sidecar.core.events import Launch, Owner
from sidecar.errors import ProcessSpawnFailedError
from sidecar.protocol.messages import Guarantees, Holder, OriginOwner, ServiceReady, ServiceState, SupervisorSwept


class Child(Struct, frozen=True):
    """A started program: its pid, and the descriptors of its output. The caller owns these."""

    pid: int
    stdout: int
    stderr: int


class Ended(Struct, frozen=True):
    """A service's whole tree is gone. One of ``code`` and ``signal`` (a name such as SIGKILL) is set."""

    service: str
    code: int | None
    signal: str | None
    left: tuple[int, ...] = ()
    """Pids of the processes that survived SIGKILL: they hang in the kernel (uninterruptible sleep), or are another
    user's. 0 stands for a process that is hidden from us."""


class Claim(Struct, frozen=True):
    """The owner of what listens at an address. ``service`` is set if a service owns it."""

    owner: OriginOwner
    service: str | None = None


FOREIGN = Claim("foreign")
NOBODY = Claim("nobody")
UNKNOWN = Claim("unknown")


def joined(claims: Iterable[Claim]) -> Claim:
    """Combine the claims on several sockets or addresses into one.

    The result is a service only if no one else owns any of them. If two services own some, the result is unknown: the
    kernel may give a connection to either.
    """
    found = set(claims) - {NOBODY}
    if FOREIGN in found:
        return FOREIGN
    if len(found) > 1:
        return UNKNOWN
    return next(iter(found), NOBODY)


Members = Mapping[str, set[tuple[int, int]]]
"""Each service's processes: the pid, and a number that differs for a later process with the same pid."""


def of_services(pids: set[int], before: Members, after: Members) -> tuple[set[Claim], set[int]]:
    """Return the claims of the services that have processes among ``pids``, and the pids that are left.

    A system may reuse a pid at once. ``before`` and ``after`` are the members before and after ``pids`` were read. A
    process that is in both surely belongs to the service. If it is in only one of them, its owner is unknown.
    """
    claims: set[Claim] = set()
    left = set(pids)
    for service in before.keys() | after.keys():
        then, now = before.get(service, set()), after.get(service, set())
        sure = pids & {pid for pid, _ in then & now}
        unsure = pids & {pid for pid, _ in then ^ now} - sure
        claims |= {Claim("service", service)} if sure else set()
        claims |= {UNKNOWN} if unsure else set()
        left -= sure | unsure
    return claims, left


def as_owner(claim: Claim) -> Owner:
    """Turn a claim into the answer of ``owns``. The claim must come from a check of this service alone."""
    match claim.owner:
        case "service":
            return "ours"
        case "foreign" | "nobody":
            return "foreign"
        case "unknown":
            return "unknown"
        case _ as never:
            assert_never(never)


def refuse_pid_namespace(service: str, launch: Launch) -> None:
    """Raise if the service asks for a pid namespace, which this platform lacks, instead of silently ignoring it."""
    if launch.pid_namespace:
        raise ProcessSpawnFailedError(
            f"{service}: isolation 'pidNamespace' exists on Linux only. Leave isolation out for this system.",
            service=service,
            program=launch.argv[0],
        )


class Host(Protocol):
    """A platform."""

    def guarantees(self) -> Guarantees:
        """Return the layers of the kill that are active, and no others."""
        ...

    def spawn(self, service: str, launch: Launch) -> Child:
        """Start the program in a tree of its own.

        Raises ``ProcessSpawnFailedError``, also if the service asks for a pid namespace and none can be made.
        """
        ...

    def terminate(self, service: str, signal: str) -> None:
        """Ask the program and its process group to end. Does nothing if the program is gone."""
        ...

    def kill(self, service: str) -> None:
        """End the whole tree. ``reap`` returns its ``Ended``."""
        ...

    def reap(self) -> list[Ended]:
        """Collect the dead. Report each tree once, when all of it is gone. Call this after each child signal."""
        ...

    def kill_all(self) -> None:
        """End every tree, and everything else below us."""
        ...

    def owns(self, service: str, address: str, port: int) -> Owner:
        """Tell whether the service's socket takes the connections to ``address``:``port`` (a literal address).

        The answer is ``foreign``, too, if no socket listens there, or the service is not running.
        Raises ``OSError`` if the system has no descriptor, process or memory to spare for the check.
        """
        ...

    def owner_of(self, address: str, port: int) -> Claim:
        """Tell what can take a connection to ``address``:``port`` (a literal address of this machine), now.

        It is a service only if its tree owns each socket that is bound to this address or to a wildcard.
        Raises ``OSError`` as ``owns`` does.
        """
        ...

    def listening(self, service: str) -> tuple[tuple[str, int], ...] | None:
        """Return each (literal address, port) on which the service's tree listens by TCP, in order.

        Empty is certain: the tree listens nowhere. ``None`` means that we cannot read it. Never raises.
        """
        ...

    def holder(self, port: int) -> Holder | None:
        """Return what listens on ``port``; ``None`` if nothing does."""
        ...

    def memory(self, service: str) -> int | None:
        """Return the tree's resident memory in bytes; ``None`` if it cannot be read."""
        ...


class Seen(Protocol):
    """A process as job control sees it."""

    @property
    def pid(self) -> int:
        """Its process id."""
        ...

    @property
    def ppid(self) -> int:
        """Its parent's pid; 0 if we cannot see the parent."""
        ...

    @property
    def stopped(self) -> bool:
        """Whether a signal has stopped it."""
        ...


SignalledTo = Literal["us", "guard", "bootloader"]
"""Which of our processes a signal was sent to. A signal to the whole process group reaches each of them."""


class Session(Protocol):
    """What a supervisor depends on. When it breaks, everything below us has to end."""

    def watch_signals(self, seen: Callable[[int], None], child_died: Callable[[], None]) -> None:
        """Report each signal that is sent to us, and each death below us, from now on. Call this on the main thread.

        Neither callback may block: they run in a signal handler, or on a thread of the system. ``child_died`` sometimes
        runs without a death.
        """
        ...

    def make_host(self, run_id: str) -> Host:
        """Wait until the guard, if there is one, is watching, then make the host. So no child starts earlier.

        ``run_id`` marks every process of this run.
        """
        ...

    def watch(self, gone: Callable[[str], None], forwarded: Callable[[SignalledTo, int], None]) -> None:
        """A thread's body: report, once each, the end of a process we depend on. Report signals sent to the guard."""
        ...

    def read_stdin(self, read: Callable[[], None]) -> None:
        """A thread's body: run ``read``, which returns at the end of stdin. That end counts as the app's death.

        If our loop does not end the tree in time, the guard ends it; or we exit, and the guard or the job ends it.
        """
        ...

    def announce_grace(self, ms: int) -> None:
        """Tell the guard, if there is one, how long to wait for us when the app dies."""
        ...

    def begin_record(self, guarantees: Guarantees) -> None:
        """Write this run's record. Raises ``OSError``."""
        ...

    def sweep(self) -> SupervisorSwept | None:
        """End and remove what dead runs left. Return what there is to report. Never raises."""
        ...

    def keep_record(self) -> None:
        """A thread's body, after ``begin_record``: keep the record up to date."""
        ...

    def note(self, told: ServiceState | ServiceReady) -> None:
        """Write this message into the record."""
        ...

    def let_go(self) -> None:
        """Remove what the next start would have to sweep, and wake the guard. Call this when all below us is dead."""
        ...
