/** Where the dev server describes itself (see sidecar-info.ts). */
export const INFO_PATH = "/__sidecar";

/** A POST here ends the dev server as a crash would (see sidecar-info.ts). */
export const CRASH_PATH = "/__sidecar/crash";

/** A header that a page of another origin cannot send unasked. */
export const CRASH_HEADER = "X-Sidecar-Crash";

export interface ServerInfo {
  /** Whether the sidecar started this Vite, or somebody by hand. */
  supervised: boolean;
  service: string | null;
  runId: string | null;
  pid: number;
  ppid: number;
  /** ISO 8601. With the pid it tells one server from the next. */
  startedAt: string;
}
