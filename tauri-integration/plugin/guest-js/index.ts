import { invoke } from "@tauri-apps/api/core";
import { listen, type UnlistenFn } from "@tauri-apps/api/event";

export type State = "stopped" | "starting" | "ready" | "unhealthy" | "backingOff" | "stopping" | "failed";

export type Stream = "stdout" | "stderr";

/** What went wrong, as the sidecar tells it. */
export interface Failure {
  code: number;
  message: string;
  data?: Record<string, unknown>;
}

/** What a rejected call of this module is rejected with. */
export interface SidecarError {
  /** The error's name, such as `PortUnavailable`. */
  kind: string;
  /** For people: what, why, and what to do. */
  message: string;
  /** Present where the sidecar answered. */
  code?: number;
  data?: Record<string, unknown>;
}

export interface ServiceStatus {
  state: State;
  type: string;
  url?: string;
  host?: string;
  port?: number;
  pid?: number;
  /** Since it became ready. */
  uptimeMs?: number;
  /** Since it was started. */
  restarts?: number;
  error?: Failure;
  /** While it is unhealthy: what its last health check saw. */
  detail?: string;
}

export interface LogLine {
  stream: Stream;
  text: string;
}

/** Who has a port. */
export interface Holder {
  pid?: number;
  command?: string;
  user?: string;
  /** A process of the sidecar: of an earlier run, or of another one. */
  ours?: boolean;
}

/** What happens, by its name. */
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
   * yet: the stream's next `partial` replaces it, and so do its next `lines`, which have it whole.
   */
  log: { service: string; stream: Stream; lines: string[]; dropped?: number; partial?: string };
  /** A service's program, and all it left behind, are gone. */
  exited: { service: string; reason: string; code?: number; signal?: string };
  /** A service will be started again. */
  restarting: { service: string; attempt: number; delayMs: number; reason: string };
  /** The port is not the one wanted; `holder` has that. */
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

/** Starts a service; answered when it is ready, rejected when it has failed. Needs `sidecar:allow-start`. */
export function start(service: string): Promise<ServiceStatus> {
  return invoke("plugin:sidecar|start", { service });
}

/** Stops a service; answered when its whole tree is gone. Needs `sidecar:allow-stop`. */
export function stop(service: string): Promise<ServiceStatus> {
  return invoke("plugin:sidecar|stop", { service });
}

/** Stops and starts a service, on the same port. Needs `sidecar:allow-restart`. */
export function restart(service: string): Promise<ServiceStatus> {
  return invoke("plugin:sidecar|restart", { service });
}

/** All services as they are now. */
export function status(): Promise<Record<string, ServiceStatus>> {
  return invoke("plugin:sidecar|status");
}

/** The last lines of a service's output, at most `tail`, oldest first. */
export function logs(service: string, tail = 100): Promise<LogLine[]> {
  return invoke("plugin:sidecar|logs", { service, tail });
}

/** Where a service answers, or null. */
export function url(service: string): Promise<string | null> {
  return invoke("plugin:sidecar|url", { service });
}

/** Calls `handler` with each event of that name, until the function that it is answered with is called. */
export function on<Name extends keyof Events>(
  name: Name,
  handler: (event: Events[Name]) => void,
): Promise<UnlistenFn> {
  return listen<Events[Name]>(`sidecar://${name}`, ({ payload }) => handler(payload));
}
