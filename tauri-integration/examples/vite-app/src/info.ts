/** Where the dev server describes itself (see sidecar-info.ts). */
export const INFO_PATH = "/__sidecar";

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
