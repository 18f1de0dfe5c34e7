import type { Plugin } from "vite";

import { CRASH_HEADER, CRASH_PATH, INFO_PATH, type ServerInfo } from "./src/info.ts";

/** Lets the page ask the dev server who it is and who started it. No part of a build. */
export function sidecarInfo(): Plugin {
  return {
    name: "sidecar-info",
    apply: "serve",
    configureServer(server) {
      const service = process.env["SIDECAR_SERVICE"] ?? null;
      const runId = process.env["SIDECAR_RUN_ID"] ?? null;
      const info: ServerInfo = {
        supervised: runId !== null,
        service,
        runId,
        pid: process.pid,
        ppid: process.ppid,
        startedAt: new Date().toISOString(),
      };
      server.middlewares.use(CRASH_PATH, (request, response) => {
        if (request.method === "POST" && CRASH_HEADER.toLowerCase() in request.headers) {
          process.kill(process.pid, "SIGKILL");
        }
        response.statusCode = 405;
        response.end();
      });
      server.middlewares.use(INFO_PATH, (_request, response) => {
        response.setHeader("Content-Type", "application/json");
        response.setHeader("Cache-Control", "no-store");
        response.end(JSON.stringify(info));
      });
    },
  };
}
