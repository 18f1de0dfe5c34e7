#!/usr/bin/env node
// Runs the sidecar's binary, which the package of this platform has (optionalDependencies of package.json).
//
// Node 22.15 and later become the binary by execve, except on Windows: then there is no process of ours to kill.
// Elsewhere we wait for it. It watches us by --parent-pid, so a SIGKILL of us ends the binary and all its services.
// A terminal sends SIGINT to the binary, too, and a second one would end it without grace: we only wait it out.
"use strict";

const { spawn } = require("node:child_process");
const { accessSync, constants } = require("node:fs");
const { dirname, join } = require("node:path");
const { isatty } = require("node:tty");
const { optionalDependencies, version } = require("../package.json");

const WINDOWS = process.platform === "win32";
const CANNOT_RUN = 69; // as the binary's own, for a system that is not supported

/** Print one sentence, and end. */
function fail(message) {
  process.stderr.write(`tauri-sidecar: ${message}\n`);
  process.exit(CANNOT_RUN);
}

/** The C library of this system, as package names have it. */
function libc() {
  if (WINDOWS) return "-msvc";
  if (process.platform !== "linux") return "";
  process.report.excludeNetwork = true; // else it looks up the names of all open sockets
  return process.report.getReport().header.glibcVersionRuntime ? "-gnu" : "-musl";
}

/** The file of the binary. */
function find() {
  const name = `@tauri-sidecar/${process.platform}-${process.arch}${libc()}`;
  if (!(name in optionalDependencies)) {
    const known = Object.keys(optionalDependencies).map((each) => each.split("/")[1]);
    fail(`there is no binary for ${name.split("/")[1]}; there is one for each of ${known.join(", ")}.`);
  }
  try {
    const file = join(dirname(require.resolve(`${name}/package.json`)), WINDOWS ? "sidecar.exe" : "sidecar");
    accessSync(file, constants.X_OK);
    return file;
  } catch (error) {
    if (error.code === "EACCES") fail(`${error.path} may not be executed: make it executable, or install ${name} again.`);
    return fail(
      `the package ${name}, which has the binary for this system, is not installed; a lockfile from another system ` +
        `may lack it, or optional packages are switched off: run npm install --save-optional ${name}@${version}`,
    );
  }
}

const file = find();
const words = process.argv.slice(2);

if (process.execve && !WINDOWS) process.execve(file, [file, ...words], process.env);

const binary = spawn(file, [`--parent-pid=${process.pid}`, ...words], { stdio: "inherit" });
const terminal = [0, 1, 2].some((fd) => isatty(fd));
process.on("SIGINT", () => terminal || binary.kill("SIGINT"));
process.on("SIGTERM", () => binary.kill("SIGTERM"));
if (WINDOWS) process.on("SIGBREAK", () => {}); // it is told, too
binary.on("error", (error) => fail(`${file} could not be started: ${error.message}.`));
binary.on("exit", (code, signal) => {
  if (signal === null) process.exit(code);
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
});
