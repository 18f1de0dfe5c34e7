// Loaded into Vite's node by --require (see launch.py): the end of stdin is the end of the sidecar, and so of this tree.
//
// Our end of that pipe is never written to, and nobody else has it. Vite listens for the end of stdin but reads no pipe,
// so it would never hear it. This is the last layer: it needs no process of ours that is still alive.
"use strict";

// A worker is given our option too, and has no stdin of its own.
if (require("worker_threads").isMainThread) {
  // A process that Vite forks would inherit the option, and its stdin may be /dev/null, which ends at once.
  const { execArgv, stdin } = process;
  const at = execArgv.findIndex((word, i) => word === "--require" && execArgv[i + 1]?.endsWith("stdin_guard.cjs"));
  if (at >= 0) execArgv.splice(at, 2);

  // SIGKILL, to the whole process group: what would be polite has been asked by then, or nobody is left who could wait.
  stdin.once("end", () => process.kill(0, "SIGKILL"));
  stdin.resume();
  stdin.unref(); // by itself it keeps nothing alive: a vite that only prints its help ends
}
