import { existsSync, realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { defaultClientConditions, defineConfig } from "vite";

// In this repository the plugin's bindings are a folder beside the example, used as they are written.
const bindings = fileURLToPath(new URL("./node_modules/tauri-plugin-sidecar-api", import.meta.url));

export default defineConfig({
  clearScreen: false,
  resolve: {
    conditions: ["source", ...defaultClientConditions],
    dedupe: ["@tauri-apps/api"],
  },
  // Small modules that only the app loads: bundling them first would cost every start.
  optimizeDeps: { exclude: ["@tauri-apps/api", "tauri-plugin-sidecar-api"] },
  server: {
    fs: { allow: [".", ...(existsSync(bindings) ? [realpathSync(bindings)] : [])] },
    // The backend has a reloader of its own.
    watch: { ignored: ["**/src-tauri/**", "**/backend/**"] },
  },
});
