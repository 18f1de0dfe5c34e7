"""The demo's steps."""

from __future__ import annotations

import http
import json
import os
import re
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from build.demo.app import INITIALIZE, START, App
from build.demo.roles import AS_STRANGER, ROOT, first_line, started
from build.demo.show import DemoError, Show, Watch
from build.demo.stranger import held
from tests.support.deaths import DEATH_S, Tree, kill
from tests.support.page import HotUpdates, edited, fetch

EDITED = "src/message.ts"
HOLDERS_HIDDEN = "SIDECAR_WINE_RUN" in os.environ
"""Wine (see build/wine.py) does not report which process has a port."""
KILLED = "ended by TerminateProcess" if sys.platform == "win32" else "SIGKILLed"


def demonstrate(show: Show, stack: ExitStack, project: Path, port: int) -> None:
    """Do all steps; ``stack`` ends what they start. Raises ``DemoError`` at the first step that does not hold."""
    began = time.monotonic()
    where = project.relative_to(ROOT) if project.is_relative_to(ROOT) else project
    show.title(f"The main job, shown by doing it, on {where}")

    watch = Watch()
    if held(port):
        stranger, foreign = None, ""
        show.done(watch.ms(), f"port {port} is held already: its holder is the foreign server")
    else:
        stranger = stack.enter_context(started([AS_STRANGER, str(port)]))
        foreign = first_line(stranger)
        if not foreign:
            raise DemoError(f"the foreign server could not take port {port}")
        show.done(watch.ms(), f"a foreign server (pid {foreign}) is put on port {port}")

    watch = Watch()
    state = stack.enter_context(tempfile.TemporaryDirectory(prefix="sidecar-demo-"))
    app = App(stack, project, port, state)
    hello = app.hear(lambda message: message.get("id") == INITIALIZE)["result"]
    layers = {name: value for name, value in hello["guarantees"].items() if name != "platform"}
    active = ", ".join(name for name, value in layers.items() if value not in (False, "none"))
    show.done(watch.ms(), f"a stand-in app (pid {app.pid}) launches the sidecar (pid {app.sidecar}): {active}")

    chosen = app.hear(lambda message: message.get("method") in ("service/portChanged", "service/ready"))
    if chosen["method"] != "service/portChanged":
        raise DemoError(f"port {port} was not seen as held: {json.dumps(chosen['params'])}")
    change = chosen["params"]
    holder = change.get("holder") or {}
    if foreign and str(holder.get("pid")) != foreign and ("pid" in holder or not HOLDERS_HIDDEN):
        raise DemoError(f"the holder of port {port} is pid {foreign}, but was named as {json.dumps(holder)}")
    pid, user, command = (holder.get(it, "unknown") for it in ("pid", "user", "command"))
    named = f"pid {pid}, {user}: {command}" if "pid" in holder else "a process that the system does not name"
    show.done(app.ms(), f"port {change['to']} is negotiated, as {port} is held by {named}")

    ready = app.hear(lambda message: message.get("method") == "service/ready")["params"]
    url = ready["url"]
    show.done(app.ms(), f"Vite (pid {ready['pid']}) is ready at {url}, counted from the launch of the sidecar")
    app.hear(lambda message: message.get("id") == START)

    watch = Watch()
    status, page = fetch(url)
    title = re.search(r"<title>(.*?)</title>", page)
    if status != http.HTTPStatus.OK or "/@vite/client" not in page:
        raise DemoError(f"{url} answered {status}, and not with the page that Vite serves")
    show.done(watch.ms(), f"the page is fetched: {len(page)} characters, “{title[1] if title else 'no title'}”")

    with HotUpdates(url) as updates:
        fetch(f"{url}{EDITED}")  # as a browser does: Vite tells only of modules that were fetched
        sentence = f"Edited by the demo in process {os.getpid()}."
        with edited(project / EDITED, sentence):
            watch = Watch()
            updates.hear("update", f"/{EDITED}")
            ms = watch.ms()
            if sentence not in fetch(f"{url}{EDITED}?t={time.time_ns()}")[1]:
                raise DemoError(f"{EDITED} was edited and announced, but is served as it was")
    show.done(ms, f"{EDITED} is edited: the hot update arrives over Vite's websocket (and the file is put back)")

    cookie = json.loads(fetch(f"{url}__sidecar")[1])["runId"]
    tree = stack.enter_context(Tree(app.pid, cookie))
    watch = Watch()
    kill(tree.app)
    last = tree.last_death()
    survivors = tree.survivors()
    if survivors:
        raise DemoError(f"{len(survivors)} of {tree.size} processes survived their app by {DEATH_S:g} s: {survivors}")
    show.done(
        watch.ms(last),
        f"the app is {KILLED}: 0 survivors of {tree.size} processes; this is the time of the last death",
    )

    if held(change["to"]):
        raise DemoError(f"port {change['to']} is not free again")
    if stranger is not None and (stranger.poll() is not None or not held(port)):
        raise DemoError(f"the foreign server on port {port} did not live through it")
    show.done(watch.ms(), f"port {change['to']} is free again, and the foreign server on {port} was left alone")
    show.title(f"All of it held ({time.monotonic() - began:.1f} s)")
