"""The cost of the app's own address: loading modules and a large file, and hot updates, through the app and directly.

The app relays each connection to Vite. The same window of the same app opens both addresses in turn, so the web view's
own work counts in both.
"""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from itertools import product
from pathlib import Path

from tests.bench.processes import ONLY_LINUX, BenchError, Pen
from tests.bench.report import Goal, Report, Row, ratios

if sys.platform != "linux":
    raise ImportError(ONLY_LINUX)

from tests.app import support
from tests.app.support import App, Screen, Window

BENCH = "front"
OURS, DIRECT = "through the app", "directly"
MODULES = 1_000
FILE_BYTES = 100_000_000
PINGS = 200

PAGE = "<!doctype html><title>bench</title><script type=module src=/bench/main.js></script>"
MAIN = """
const times = {};
const timed = async (name, work) => {
  const began = performance.now();
  await work();
  times[name] = performance.now() - began;
};
const file = async () => {
  const reader = (await fetch("/large.bin", { cache: "no-store" })).body.getReader();
  let left = BYTES;
  for (let part = await reader.read(); !part.done; part = await reader.read()) left -= part.value.length;
  if (left !== 0) throw new Error(`${left} bytes of the file are missing`);
};
const ping = () => new Promise((done) => {
  import.meta.hot.on("bench:pong", function told() { import.meta.hot.off("bench:pong", told); done(); });
  import.meta.hot.send("bench:ping");
});
const all = (more) => Promise.all(Array.from({ length: COUNT }, (_, at) => import(`/bench/modules/m${at}.js${more}`)));
if (location.search === "?new") {
  await timed("first", () => all(`?${performance.timeOrigin}`));
} else {
  await timed("again", () => all(""));
  await timed("file", file);
  await ping();
  await timed("pings", async () => { for (let left = PINGS; left > 0; left -= 1) await ping(); });
}
document.title = JSON.stringify(times);
"""
"""The page's script. ``import.meta.hot`` is Vite's hot update socket.

``again`` is a page that was there before: the web view asks whether each module has changed, and WebKit closes the
connection after each answer that it has not, so that it opens a thousand. ``first`` is a page that was not: each module
has a new URL, which Vite transforms, and a few connections carry all of them.
"""
VISITS = ("", "?new")
"""The queries for the two."""

ANSWER_PINGS = 'configureServer({ ws }) { ws.on("bench:ping", (_, client) => client.send("bench:pong")); }'


def missing() -> str | None:
    """Return why this cannot be measured here; ``None`` if it can."""
    return support.missing()


def prepare(project: Path) -> None:
    """Turn a copy of the example into the measured page."""
    support.copy_app(project)
    support.add_vite_plugin(project, ANSWER_PINGS)
    (project / "bench.html").write_text(PAGE)
    modules = project / "bench" / "modules"
    modules.mkdir(parents=True)
    for number in range(MODULES):
        (modules / f"m{number}.js").write_text(f"export const m{number} = {number};\n")
    words = {"COUNT": MODULES, "BYTES": FILE_BYTES, "PINGS": PINGS}
    main = MAIN
    for word, value in words.items():
        main = main.replace(word, str(value))
    (modules.parent / "main.js").write_text(main)
    with (project / "public" / "large.bin").open("wb") as file:
        file.truncate(FILE_BYTES)


def accepted() -> int:
    """Return how many TCP connections this machine has accepted (``PassiveOpens`` of RFC 4022)."""
    names, values = (line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if line[:4] == "Tcp:")
    return int(values[names.index("PassiveOpens")])


def load(window: Window, url: str) -> dict[str, float]:
    """Load the page; return the milliseconds of each part, and the connections that the machine has accepted."""
    before = accepted()
    window.web.get(url)
    try:
        told = window.until(lambda: (title := window.web.title).startswith("{") and title, "the page's own times")
    except AssertionError as error:
        raise BenchError(str(error)) from error
    times = json.loads(str(told))
    return {**times, f"connections {next(iter(times))}": accepted() - before}


def run(report: Report, pen: Pen, rounds: int) -> None:
    """Measure ``rounds`` rounds, each address twice a round, after a round in which Vite transforms the modules."""
    taken: dict[str, dict[str, list[float]]] = {OURS: {}, DIRECT: {}}
    project = pen.folder / "front"
    prepare(project)
    with ExitStack() as stack:
        screen = stack.enter_context(Screen())
        app = stack.enter_context(App(support.build(), project, screen, pen.folder))
        window = stack.enter_context(Window(app)).await_app()
        places = [(OURS, app.port), (DIRECT, app.vite_port())]
        # one visit after the other: new modules drive the old ones out of the web view's memory
        for visit, turn in product(VISITS, range(rounds + 1)):
            seen: dict[str, list[dict[str, float]]] = {name: [] for name in taken}
            for name, port in (*places, *reversed(places)):  # the second of two visits takes longer
                seen[name].append(load(window, f"http://127.0.0.1:{port}/bench.html{visit}"))
            for name, (one, other) in seen.items() if turn else ():
                for part in one:
                    taken[name].setdefault(part, []).append((one[part] + other[part]) / 2)
    pen.empty()
    titles = {
        "first": f"{MODULES:,} modules for the first time",
        "again": f"{MODULES:,} modules again",
        "file": f"a file of {FILE_BYTES // 10**6} MB",
    }
    for part in ("first", "again"):
        values = tuple(taken[DIRECT][f"connections {part}"])
        report.rows.append(Row(BENCH, f"{titles[part]}: connections", DIRECT, "", values, "all of the visit"))
    for part, what in titles.items():
        ours, direct = (taken[name][part] for name in (OURS, DIRECT))
        report.rows += [Row(BENCH, what, name, "ms", tuple(it)) for name, it in ((OURS, ours), (DIRECT, direct))]
        report.rows.append(Row(BENCH, f"{what}, by comparison", OURS, "×", ratios(ours, direct), "", (Goal(1.05),)))
    trips = {name: [value / PINGS for value in parts["pings"]] for name, parts in taken.items()}
    what = "there and back on the socket of hot updates"
    report.rows += [Row(BENCH, what, name, "ms", tuple(it)) for name, it in trips.items()]
    more = tuple(ours - direct for ours, direct in zip(trips[OURS], trips[DIRECT], strict=True))
    report.rows.append(Row(BENCH, f"{what}, longer by", OURS, "ms", more, "", (Goal(2),)))
