import { existsSync, realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { defaultClientConditions, defineConfig } from "vite";

import { sidecarInfo } from "./sidecar-info.ts";

// In this repository the plugin's bindings are a folder beside the example, used as they are written.
const bindings = fileURLToPath(new URL("./node_modules/tauri-plugin-sidecar-api", import.meta.url));

export default defineConfig({
  // The sidecar reads Vite's output line by line; a cleared screen would hide its messages.
  clearScreen: false,
  plugins: [sidecarInfo()],
  resolve: {
    conditions: ["source", ...defaultClientConditions],
    dedupe: ["@tauri-apps/api"],
  },
  // Small modules that only the app loads: bundling them first would cost every start.
  optimizeDeps: { exclude: ["@tauri-apps/api", "tauri-plugin-sidecar-api"] },
  server: {
    fs: { allow: [".", ...(existsSync(bindings) ? [realpathSync(bindings)] : [])] },
    watch: { ignored: ["**/src-tauri/**"] },
    host: "127.0.0.1",
    // The sidecar chooses the port. Without it, Vite's usual one.
    port: Number(process.env["VITE_DEV_PORT"] ?? 5173),
    // Another port would be one that the app does not know: fail, and let the sidecar choose again.
    strictPort: true,
  },
});
