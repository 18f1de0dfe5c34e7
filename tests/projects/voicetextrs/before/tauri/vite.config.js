import { existsSync, readFileSync } from "node:fs";

import { defineConfig } from "vite";

const portFile = new URL(".vite-port", import.meta.url);
const port = existsSync(portFile) ? Number(readFileSync(portFile, "utf8")) : 1420;

export default defineConfig({
  clearScreen: false,
  server: {
    port,
    strictPort: true,
    watch: { ignored: ["**/src-tauri/**"] },
  },
});
