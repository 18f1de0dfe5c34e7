import { version } from "./version.js";

const invoke = window.__TAURI__?.core.invoke;
const byId = (id) => document.getElementById(id);

byId("version").textContent = version;
import.meta.hot?.accept("./version.js", (next) => {
  byId("version").textContent = next.version;
});

byId("clean").addEventListener("click", async () => {
  byId("text").textContent = await invoke("clean", { spoken: byId("spoken").value });
});
if (invoke) {
  byId("address").textContent = await invoke("address");
}
