// Loaded into Vite's node by --require (see host/stdin_guard.py). It ends Vite when stdin ends, because the sidecar is dead then.
//
// Only the sidecar holds the other end of that pipe, and it never writes to it. Vite listens for the end of stdin, but
// reads nothing from a pipe, so it would never see the end. This is the last layer: it works even if no process of the
// sidecar lives.
"use strict";

// A worker inherits our option, but has no stdin of its own.
if (require("worker_threads").isMainThread) {
  // A process that Vite forks would inherit the option. Its stdin may be /dev/null, which ends at once.
  const { execArgv, stdin } = process;
  const at = execArgv.findIndex((word, i) => word === "--require" && execArgv[i + 1]?.endsWith("stdin_guard.cjs"));
  if (at >= 0) execArgv.splice(at, 2);

  // SIGKILL the whole process group: a graceful stop was tried before, or no process is left that could wait for one.
  stdin.once("end", () => process.kill(0, "SIGKILL"));
  stdin.resume();
  stdin.unref(); // so that it does not keep node alive: a vite that only prints its help must end
}
