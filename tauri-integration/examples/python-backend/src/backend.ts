import { token } from "tauri-plugin-sidecar-api";

/** What the stream says: how often it has, and how many notes there are. */
export interface Tick {
  count: number;
  notes: number;
}

/** The backend's address: the app's own, the same until the app ends, and known before this line runs. */
export const origin = window.__SIDECAR__?.services["api"]?.origin;

/** An answer other than success, with what the backend says about it. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** Sends a request with the token; while the backend starts, the app holds it back, so that nothing fails. */
export async function request<Answer>(path: string, init: RequestInit = {}, secret?: string): Promise<Answer> {
  const headers = { authorization: `Bearer ${secret ?? (await token("api"))}`, "content-type": "application/json" };
  const response = await fetch(`${origin}${path}`, { ...init, headers });
  if (!response.ok) {
    throw new Refused(response.status, `${response.status} ${await response.text()}`);
  }
  return (await response.json()) as Answer;
}

/** Opens the stream. A browser gives a WebSocket no headers: the token goes with the subprotocols. */
export async function openStream(): Promise<WebSocket> {
  const url = `${origin?.replace("http", "ws")}/stream`;
  return new WebSocket(url, ["notes", `token.${await token("api")}`]);
}
