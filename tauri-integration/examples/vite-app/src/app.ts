import { invoke } from "@tauri-apps/api/core";
import * as sidecar from "tauri-plugin-sidecar-api";

import { CRASH_HEADER, CRASH_PATH } from "./info.ts";
import { element } from "./view.ts";

/* What the page can do in a Tauri app and in no browser: ask Rust, and steer its own dev server. */

/** Enough to read back a restart or two. */
const MAX_LINES = 300;

const log = element("app-log");
const told = element("app-told");
const stopButton = element("app-stop");
let lines: string[] = [];
let state: sidecar.State = "ready";

function showLines(more: string[]): void {
  const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
  lines = [...lines, ...more].slice(-MAX_LINES);
  log.textContent = lines.join("\n");
  if (atEnd) {
    log.scrollTop = log.scrollHeight;
  }
}

function isDown(now: sidecar.State): boolean {
  return now === "stopped" || now === "failed";
}

function showState(now: sidecar.State, detail = ""): void {
  state = now;
  told.textContent = detail === "" ? `The sidecar says: ${now}.` : detail;
  stopButton.textContent = isDown(now) ? "Start" : "Stop";
}

/** Buttons answer with what the sidecar says, be it an error. */
function onClick(id: string, deed: () => Promise<unknown>): void {
  element(id).addEventListener("click", () => {
    deed().catch((error: unknown) => {
      told.textContent = (error as sidecar.SidecarError).message;
    });
  });
}

async function crash(): Promise<void> {
  told.textContent = "Vite is killed.";
  // It dies before it can answer.
  await fetch(CRASH_PATH, { method: "POST", headers: { [CRASH_HEADER]: "1" } }).catch(() => undefined);
}

/** Which of the app's services this page came from: its address is the app's own, and is there before any script. */
function ownService(): string | undefined {
  const services = Object.entries(window.__SIDECAR__?.services ?? {});
  return services.find(([, { origin }]) => origin === location.origin)?.[0];
}

export async function showApp(): Promise<void> {
  const greeting = element("greeting");
  element("greet").addEventListener("submit", (event) => {
    event.preventDefault();
    const { value } = element("greet-name") as HTMLInputElement;
    invoke<string>("greet", { name: value }).then(
      (answer) => (greeting.textContent = answer),
      (error: unknown) => (greeting.textContent = String(error)),
    );
  });
  element("app").hidden = false;

  const service = ownService();
  if (service === undefined) {
    told.textContent = "The app’s sidecar has not started this page’s dev server.";
    return;
  }
  onClick("app-restart", () => sidecar.restart(service));
  onClick("app-stop", () => (isDown(state) ? sidecar.start(service) : sidecar.stop(service)));
  onClick("app-crash", crash);
  onClick("app-relaunch", () => invoke("relaunch"));

  await Promise.all([
    sidecar.on("log", (event) => event.service === service && showLines(event.lines)),
    sidecar.on("state", (event) => event.service === service && showState(event.state)),
    sidecar.on("restarting", ({ service: of, reason, delayMs }) => {
      if (of === service) {
        showState("backingOff", `${reason}: again in ${delayMs} ms.`);
      }
    }),
    sidecar.on("gone", (event) => showState("stopped", event.message)),
  ]);
  showState((await sidecar.status())[service]?.state ?? "stopped");
  showLines((await sidecar.logs(service)).map(({ text }) => text));
}
