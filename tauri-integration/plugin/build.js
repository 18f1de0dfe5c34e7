// Makes what is published of guest-js/index.ts: `node build.js [--check] [--out FOLDER]`. One source, three forms:
//
// - FOLDER/index.js and index.d.ts for `import`, FOLDER/index.cjs and index.d.cts for `require`;
// - api-iife.js for apps with `withGlobalTauri`: Tauri runs it in each page, which then has `window.__TAURI__.sidecar`.
//   It is a part of the crate, so it is kept in the repository. With --check it has to be what would be made now.
import { execFileSync } from "node:child_process";
import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

const { values } = parseArgs({ options: { check: { type: "boolean" }, out: { type: "string" } } });
const here = import.meta.dirname;
const out = values.out ?? join(here, "dist-js");
const manifest = createRequire(import.meta.url).resolve("typescript/package.json");
const { bin } = JSON.parse(await readFile(manifest, "utf8"));
const tsc = join(manifest, "..", bin.tsc);

function compile(...options) {
  execFileSync(process.execPath, [tsc, "--project", here, ...options], { stdio: "inherit" });
}

/** The body is a CommonJS module; what it requires, `@tauri-apps/api/core`, is `window.__TAURI__.core`. */
function iife(body) {
  return `// Made by build.js of guest-js/index.ts.
if ("__TAURI__" in window) {
  ((exports, require) => {
${body.trimEnd().replace(/^(?=.)/gm, "    ")}
    Object.defineProperty(window.__TAURI__, "sidecar", { value: exports });
  })({}, (name) => window.__TAURI__[name.split("/").at(-1)]);
}
`;
}

const scratch = await mkdtemp(join(tmpdir(), "sidecar-api-"));
try {
  compile("--outDir", out);
  const common = ["--module", "commonjs", "--verbatimModuleSyntax", "false", "--declaration", "false"];
  compile("--outDir", scratch, ...common, "--removeComments");
  await copyFile(join(scratch, "index.js"), join(out, "index.cjs"));
  await copyFile(join(out, "index.d.ts"), join(out, "index.d.cts"));
  const place = join(here, "api-iife.js");
  const made = iife(await readFile(join(scratch, "index.js"), "utf8"));
  const kept = await readFile(place, "utf8").catch((error) => (error.code === "ENOENT" ? "" : Promise.reject(error)));
  if (values.check && made !== kept) {
    throw new Error("api-iife.js is not what guest-js/index.ts says: run npm run build, and commit it");
  }
  if (made !== kept) await writeFile(place, made);
} finally {
  await rm(scratch, { recursive: true });
}
