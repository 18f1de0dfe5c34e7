import { openStream, origin, request, type Tick } from "./backend.ts";

/** Before the stream is opened again. */
const AGAIN_MS = 500;

function element(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (found === null) {
    throw new Error(`index.html has no #${id}`);
  }
  return found;
}

function line(text: string): HTMLLIElement {
  const item = document.createElement("li");
  item.textContent = text;
  return item;
}

function happened(text: string): void {
  element("state").textContent = text;
  if (element("events").lastElementChild?.textContent !== text) {
    element("events").append(line(text));
  }
}

async function showNotes(): Promise<void> {
  const notes = await request<string[]>("/notes");
  element("notes").replaceChildren(...notes.map(line));
}

/** Follows the stream for as long as it lasts, then opens another one: a backend that was restarted is found again. */
async function follow(): Promise<void> {
  const socket = await openStream();
  socket.onopen = () => {
    happened("connected");
    void showNotes().catch(tell);
  };
  socket.onmessage = ({ data }) => {
    const { count, notes } = JSON.parse(data as string) as Tick;
    element("stream").textContent = `Tick ${count}: ${notes} notes.`;
  };
  socket.onclose = () => {
    happened("the backend does not answer");
    setTimeout(() => void follow().catch(tell), AGAIN_MS);
  };
}

function tell(error: unknown): void {
  happened(error instanceof Error ? error.message : (error as { message: string }).message);
}

element("add").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = element("text") as HTMLInputElement;
  request("/notes", { method: "POST", body: JSON.stringify({ text: text.value }) })
    .then(() => {
      text.value = "";
      return showNotes();
    })
    .catch(tell);
});

if (origin === undefined) {
  happened("This page needs the app: run npm run tauri:dev.");
} else {
  element("origin").textContent = origin;
  follow().catch(tell);
}
