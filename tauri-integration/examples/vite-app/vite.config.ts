import { defineConfig } from "vite";

import { sidecarInfo } from "./sidecar-info.ts";

export default defineConfig({
  // The sidecar reads Vite's output line by line; a cleared screen would hide its messages.
  clearScreen: false,
  plugins: [sidecarInfo()],
  server: {
    host: "127.0.0.1",
    // The sidecar chooses the port. Without it, Vite's usual one.
    port: Number(process.env["VITE_DEV_PORT"] ?? 5173),
    // Another port would be one that the app does not know: fail, and let the sidecar choose again.
    strictPort: true,
  },
});
