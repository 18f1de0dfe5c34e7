import { INFO_PATH, type ServerInfo } from "./info.ts";
import "./message.ts";
import { addEntry, loadSession, saveSession, type EntryKind } from "./session.ts";
import * as view from "./view.ts";

type Hot = NonNullable<ImportMeta["hot"]>;

/** How long "Restarted" stays before it becomes "Ready": long enough to be seen and read out. */
const RESTARTED_SHOWN_MS = 10_000;

/** The dev server is on this machine and answers in milliseconds; after this it is not answering. */
const INFO_TIMEOUT_MS = 5_000;

const session = loadSession();
let startedAt: number | null = null;
let lostAt: number | null = null;
let restartedTimer: number | undefined;

function record(kind: EntryKind, text: string): void {
  addEntry(session, kind, text);
  saveSession(session);
  view.showEntries(session.entries);
  view.showCounts(session.hotUpdates, session.restarts);
}

function tick(): void {
  if (lostAt !== null) {
    view.showUptime(`down for ${view.duration(Date.now() - lostAt)}`);
  } else if (startedAt !== null) {
    view.showUptime(view.duration(Date.now() - startedAt));
  }
}

function becomeReady(info: ServerInfo): void {
  view.showState("ready", info.supervised ? "Vite answers, and the sidecar watches it." : "Vite answers.");
}

function becomeUnreachable(): void {
  clearTimeout(restartedTimer);
  lostAt ??= Date.now();
  view.showState("unreachable", "The dev server is gone. The page comes back with it.");
  tick();
}

/** Asks the dev server who it is, and compares that with the one this page knew before. */
async function meetServer(): Promise<void> {
  let info: ServerInfo;
  try {
    const response = await fetch(INFO_PATH, { signal: AbortSignal.timeout(INFO_TIMEOUT_MS) });
    info = (await response.json()) as ServerInfo;
  } catch {
    becomeUnreachable();
    return;
  }
  const known = session.server;
  const same = known !== null && known.pid === info.pid && known.startedAt === info.startedAt;
  lostAt = null;
  startedAt = Date.parse(info.startedAt);
  session.server = { pid: info.pid, startedAt: info.startedAt };
  view.showServer(info);
  tick();

  if (known === null || same) {
    becomeReady(info);
  } else {
    session.restarts += 1;
    const change = known.pid === info.pid ? `Process ${info.pid} began again` : `Process ${known.pid} became ${info.pid}`;
    record("restart", change);
    view.showState("restarted", `${change}. The address stayed the same.`);
    restartedTimer = setTimeout(becomeReady, RESTARTED_SHOWN_MS, info);
  }
  saveSession(session);
}

function follow(hot: Hot): void {
  hot.on("vite:ws:connect", () => {
    record("connect", "Websocket open");
    if (lostAt !== null) {
      void meetServer();
    }
  });
  hot.on("vite:ws:disconnect", () => {
    record("disconnect", "Websocket closed");
    becomeUnreachable();
  });
  hot.on("vite:afterUpdate", ({ updates }) => {
    session.hotUpdates += 1;
    record("update", [...new Set(updates.map((update) => update.path))].join(", "));
  });
  hot.on("vite:beforeFullReload", ({ path }) => {
    record("reload", path ?? "The whole page");
  });
  hot.on("vite:error", ({ err }) => {
    record("error", err.message);
  });
}

view.showAddress(location);
view.showEntries(session.entries);
view.showCounts(session.hotUpdates, session.restarts);

if (import.meta.hot) {
  follow(import.meta.hot);
  record("page", "Page loaded");
  setInterval(tick, 1_000);
  void meetServer();
  if ("__TAURI_INTERNALS__" in window) {
    void import("./app.ts").then(({ showApp }) => showApp());
  }
} else {
  view.showState("built", "Served from files. No dev server is needed.");
}
