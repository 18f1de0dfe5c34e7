/**
 * Look at a Tauri app's services, and start and stop them. The app needs the plugin `tauri-plugin-sidecar`, and the
 * window's capability `sidecar:default`, or `sidecar:control` to start and stop.
 *
 * @example
 * ```ts
 * import { on, restart, service, status } from "tauri-plugin-sidecar-api";
 *
 * const api = service("api");
 * await api.whenReady();
 * const answer = await fetch(`${api.origin}/items`);
 *
 * for (const [name, { state, url }] of Object.entries(await status())) console.log(name, state, url);
 * const unlisten = await on("ready", ({ service, url }) => console.log(`${service} answers at ${url}`));
 * await restart("web");
 * unlisten();
 * ```
 *
 * @module
 */

import { Channel, invoke } from "@tauri-apps/api/core";
import { listen, type UnlistenFn } from "@tauri-apps/api/event";

export type State = "stopped" | "starting" | "ready" | "unhealthy" | "backingOff" | "stopping" | "failed" | "unknown";

export type Stream = "stdout" | "stderr" | "unknown";

/** What went wrong, as the sidecar tells it. */
export interface Failure {
  code: number;
  message: string;
  data?: Record<string, unknown>;
}

/** The error of every call in this module. Its `message` is for people: what happened, why, and what to do. */
export class SidecarError extends Error {
  override readonly name = "SidecarError";
  /** For programs, such as `PortUnavailable`. A window that lacks the permission gets `PermissionDenied`. */
  readonly kind: string;
  /** Present where the sidecar answered. */
  readonly code?: number;
  readonly data?: Record<string, unknown>;

  /** `refusal` is the error of Tauri's call: ours, or a text of its own. */
  constructor(refusal: unknown) {
    if (isRefusal(refusal)) {
      super(refusal.message);
      this.kind = refusal.kind;
      if (refusal.code !== undefined) this.code = refusal.code;
      if (refusal.data !== undefined) this.data = refusal.data;
    } else {
      super(refusal instanceof Error ? refusal.message : String(refusal), { cause: refusal });
      this.kind = / not allowed\b/.test(this.message) ? "PermissionDenied" : "TauriError";
    }
  }
}

type Refusal = Pick<SidecarError, "kind" | "message" | "code" | "data">;

function isRefusal(refusal: unknown): refusal is Refusal {
  return typeof refusal === "object" && refusal !== null && "kind" in refusal && "message" in refusal;
}

async function call<T>(command: string, parameters?: Record<string, unknown>): Promise<T> {
  return refusing(invoke<T>(`plugin:sidecar|${command}`, parameters));
}

async function refusing<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (refusal) {
    throw new SidecarError(refusal);
  }
}

export interface ServiceStatus {
  state: State;
  type: string;
  /** Only while it is ready: in any other state another program may answer there. */
  url?: string;
  host?: string;
  port?: number;
  pid?: number;
  /** Since it became ready. */
  uptimeMs?: number;
  /** Since it was started. */
  restarts: number;
  error?: Failure;
  /** While it is unhealthy: what its last health check saw. */
  detail?: string;
  /** While it is starting: the services that it depends on and that are not ready yet. */
  waitingFor?: string[];
  /** Of a task: how its last run ended. */
  exitCode?: number;
  /** Where its output is written, once it has been started. */
  logFile?: string;
}

export interface LogLine {
  stream: Stream;
  text: string;
  /** Its number, as in the event `log`; a line that has not ended has none yet. */
  seq?: number;
}

/** Why a program ended. A newer sidecar may know more causes. */
export type Cause = "requested" | "completed" | "crashed" | "unhealthy" | "timeout" | "portTaken" | "addressChanged";

/** The process that has a port. */
export interface Holder {
  pid?: number;
  command?: string;
  user?: string;
  /** A process of the sidecar: of an earlier run, or of another one. */
  ours: boolean;
}

/** The events, by their names. */
export interface Events {
  /** A service changed its state, or its port was chosen. */
  state: {
    service: string;
    state: State;
    host?: string;
    port?: number;
    pid?: number;
    error?: Failure;
    /** While it is unhealthy: what its last health check saw. */
    detail?: string;
    /** While it is starting: the services that it depends on and that are not ready yet. */
    waitingFor?: string[];
  };
  /** A service runs and is not ready yet; `detail` is what was found so far. */
  waiting: { service: string; elapsedMs: number; detail: string };
  /** A service answers. */
  ready: {
    service: string;
    url: string | null;
    host: string | null;
    port: number | null;
    pid: number;
    elapsedMs: number;
  };
  /**
   * Lines of output; `dropped` lines before them were lost. `partial` is the stream's last line, which has not ended
   * yet: the stream's next `partial` replaces it, and so do its next `lines`, which have it whole. `seq` is the number
   * of the first line, or of the next one if there is none; a service's lines count from 1.
   */
  log: { service: string; stream: Stream; lines: string[]; dropped: number; partial?: string; seq: number };
  /** A service's program, and all it left behind, are gone. */
  exited: { service: string; reason: string; code?: number; signal?: string; cause?: Cause };
  /** A service will be started again. */
  restarting: { service: string; attempt: number; delayMs: number; reason: string; cause?: Cause };
  /** The port is not the one that was wanted; `holder` has that one. */
  "port-changed": { service: string; from: number; to: number; holder?: Holder };
  /** What earlier runs had left has been ended. */
  swept: {
    processes: { pid: number; command?: string }[];
    groups: number;
    records: number;
    folders: number;
    problems: string[];
  };
  /** Something went wrong that no answer can carry. */
  error: { error: Failure };
  /** The sidecar itself ended without being asked to. */
  gone: { message: string; restarting: boolean };
}

/** Starts a service. Resolves when it is ready, and rejects when it has failed. Needs `sidecar:allow-start`. */
export function start(service: string): Promise<ServiceStatus> {
  return call("start", { service });
}

/** Stops a service. Resolves when its whole tree is gone. Needs `sidecar:allow-stop`. */
export function stop(service: string): Promise<ServiceStatus> {
  return call("stop", { service });
}

/** Stops and starts a service, on the same port. Needs `sidecar:allow-restart`. */
export function restart(service: string): Promise<ServiceStatus> {
  return call("restart", { service });
}

/** All services as they are now. */
export function status(): Promise<Record<string, ServiceStatus>> {
  return call("status");
}

/** The last lines of a service's output, at most `tail`, oldest first. */
export function logs(service: string, tail = 100): Promise<LogLine[]> {
  return call("logs", { service, tail });
}

/** Where a service answers, or null if it is not ready: the `url` in its status. */
export function url(service: string): Promise<string | null> {
  return call("url", { service });
}

/**
 * Waits until a service is ready, without starting it. Rejects once it has failed, or is stopped and will not be
 * started by itself.
 */
export function whenReady(service: string): Promise<ServiceStatus> {
  return call("when_ready", { service });
}

/**
 * The secret that services were given as `{token}`, new with each sidecar. Needs `sidecar:allow-token`, which no set of
 * permissions has: give it to a window that loads nothing but your own pages.
 */
export function token(service: string): Promise<string> {
  return call("token", { service });
}

/** Starts the services that do not run, as the failure page's button does. Needs `sidecar:allow-retry`. */
export function retry(): Promise<void> {
  return call("retry");
}

/**
 * Calls `handler` with each event of that name, until the returned function is called. `log` needs
 * `sidecar:allow-follow-logs` and `sidecar:allow-unfollow-logs`: output may hold what only some windows are to see.
 */
export async function on<Name extends keyof Events>(
  name: Name,
  handler: (event: Events[Name]) => void,
): Promise<UnlistenFn> {
  if (name !== "log") {
    return refusing(listen<Events[Name]>(`sidecar://${name}`, ({ payload }) => handler(payload)));
  }
  const channel = new Channel<Events[Name]>(handler);
  await call("follow_logs", { channel });
  return () => {
    channel.onmessage = () => undefined;
    void call("unfollow_logs", { channel: channel.id });
  };
}

/** The functions of this module for one service. */
export class Service {
  /** Does not ask whether there is such a service. */
  constructor(readonly name: string) {}

  /** Its address, whether it answers or not; nothing for one that does not listen, or outside the top frame. */
  get origin(): string | undefined {
    return window.__SIDECAR__?.services[this.name]?.origin;
  }

  /** As the function {@link url}. */
  url(): Promise<string | null> {
    return url(this.name);
  }

  /** As it is now. */
  async status(): Promise<ServiceStatus> {
    const found = (await status())[this.name];
    if (found) return found;
    throw new SidecarError({ kind: "UnknownService", message: `There is no service ${this.name}.` });
  }

  /** As {@link whenReady}. */
  whenReady(): Promise<ServiceStatus> {
    return whenReady(this.name);
  }

  /** As the function {@link token}. */
  token(): Promise<string> {
    return token(this.name);
  }

  /** As {@link start}. */
  start(): Promise<ServiceStatus> {
    return start(this.name);
  }

  /** As {@link stop}. */
  stop(): Promise<ServiceStatus> {
    return stop(this.name);
  }

  /** As {@link restart}. */
  restart(): Promise<ServiceStatus> {
    return restart(this.name);
  }

  /** As {@link logs}. */
  logs(tail?: number): Promise<LogLine[]> {
    return logs(this.name, tail);
  }
}

/** The service with this name. */
export function service(name: string): Service {
  return new Service(name);
}

/** One service's addresses, which are the same as long as the app runs. */
export interface Address {
  /** Without a slash at its end. */
  origin: string;
  /** With one. */
  url: string;
}

declare global {
  interface Window {
    /** The services that listen, in the top frame of the app's own pages, from before their first script. */
    readonly __SIDECAR__?: { readonly services: Readonly<Record<string, Readonly<Address>>> };
  }
}
