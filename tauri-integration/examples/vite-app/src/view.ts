import type { ServerInfo } from "./info.ts";
import type { Entry, EntryKind } from "./session.ts";

export type State = "connecting" | "ready" | "restarted" | "unreachable" | "built";

const STATE_WORDS: Record<State, { state: string; page: string }> = {
  connecting: { state: "Connecting", page: "connecting" },
  ready: { state: "Ready", page: "connected" },
  restarted: { state: "Restarted", page: "connected again" },
  unreachable: { state: "Unreachable", page: "waiting for Vite" },
  built: { state: "Built page", page: "on its own" },
};

const ENTRY_WORDS: Record<EntryKind, string> = {
  page: "page",
  connect: "connect",
  disconnect: "lost",
  restart: "restart",
  update: "update",
  reload: "reload",
  error: "error",
};

const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium", hourCycle: "h23" });

export function element(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (found === null) {
    throw new Error(`index.html has no element with the id "${id}"`);
  }
  return found;
}

function setText(id: string, text: string): void {
  const target = element(id);
  // Writing an equal text would still make a screen reader speak and a selection vanish.
  if (target.textContent !== text) {
    target.textContent = text;
  }
}

export function showState(state: State, detail: string): void {
  document.documentElement.dataset["state"] = state;
  const words = STATE_WORDS[state];
  document.title = `${words.state} · ${location.host}`;
  setText("state", words.state);
  setText("link-page", words.page);
  setText("state-detail", detail);
}

export function showAddress({ protocol, hostname, port }: Location): void {
  setText("url-scheme", `${protocol}//`);
  setText("url-host", hostname);
  setText("url-port", port === "" ? "" : `:${port}`);
  setText("fact-port", port === "" ? "default" : port);
}

export function showServer(info: ServerInfo): void {
  document.documentElement.dataset["supervised"] = String(info.supervised);
  element("unsupervised").hidden = info.supervised;
  setText("link-parent", info.supervised ? "Sidecar" : "Not supervised");
  setText("link-parent-pid", `process ${info.ppid}`);
  setText("link-vite-pid", `process ${info.pid}`);
  setText("fact-service", info.service ?? "none");
  setText("fact-pid", String(info.pid));
  setText("fact-run", info.runId ?? "none");
}

export function showUptime(text: string): void {
  setText("fact-uptime", text);
}

export function showCounts(hotUpdates: number, restarts: number): void {
  setText("fact-updates", String(hotUpdates));
  setText("fact-restarts", String(restarts));
}

export function showMessage(text: string): void {
  const target = element("message");
  const changed = target.textContent !== "" && target.textContent !== text;
  target.textContent = text;
  if (changed) {
    target.getAnimations().forEach((animation) => animation.cancel());
    target.classList.remove("changed");
    void target.offsetWidth; // A class that leaves and returns within one frame restarts no animation.
    target.classList.add("changed");
  }
}

export function showEntries(entries: readonly Entry[]): void {
  element("entries").replaceChildren(...entries.map(entryItem));
}

function entryItem({ kind, text, at }: Entry): HTMLLIElement {
  const time = document.createElement("time");
  time.dateTime = new Date(at).toISOString();
  time.textContent = clock.format(at);

  const label = document.createElement("span");
  label.className = "kind";
  label.textContent = ENTRY_WORDS[kind];

  const words = document.createElement("span");
  words.className = "text";
  words.textContent = text;

  const item = document.createElement("li");
  item.dataset["kind"] = kind;
  item.append(time, label, words);
  return item;
}

export function duration(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  if (hours > 0) {
    return `${hours} h ${minutes % 60} min`;
  }
  return minutes > 0 ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}
