import type { ServerInfo } from "./info.ts";

/*
 * Vite's client reloads the page when a lost server is back. What the page has to remember over
 * that reload lives in sessionStorage: which server it knew, what happened, how many updates came.
 */

export type EntryKind = "page" | "connect" | "disconnect" | "restart" | "update" | "reload" | "error";

export interface Entry {
  kind: EntryKind;
  text: string;
  /** Milliseconds since the epoch. */
  at: number;
}

export interface Session {
  server: Pick<ServerInfo, "pid" | "startedAt"> | null;
  hotUpdates: number;
  restarts: number;
  /** Newest first. */
  entries: Entry[];
}

const KEY = "sidecar-example/1";

/** Enough to follow a restart or two; the list stays readable and the storage small. */
const MAX_ENTRIES = 40;

export function loadSession(): Session {
  try {
    const stored = sessionStorage.getItem(KEY);
    if (stored !== null) {
      return JSON.parse(stored) as Session;
    }
  } catch {
    // Storage is denied, or holds what we did not write: begin anew.
  }
  return { server: null, hotUpdates: 0, restarts: 0, entries: [] };
}

export function saveSession(session: Session): void {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(session));
  } catch {
    // Storage is denied or full: only the memory across reloads is lost.
  }
}

export function addEntry(session: Session, kind: EntryKind, text: string): void {
  session.entries.unshift({ kind, text, at: Date.now() });
  session.entries.length = Math.min(session.entries.length, MAX_ENTRIES);
}
