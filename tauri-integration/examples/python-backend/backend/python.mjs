// The backend's Python: `install` makes backend/.venv from the lock, `freeze` makes src-tauri/notes-backend from it.
// A script for node, because the project has node anyway, and Python is `python3` here and `py` there.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const here = import.meta.dirname;
const windows = process.platform === "win32";
const venv = join(here, ".venv");
const python = windows ? join(venv, "Scripts", "python.exe") : join(venv, "bin", "python");
const lock = join(here, "requirements.lock");
const stamp = join(venv, "made-from.lock");
const tauri = join(here, "..", "src-tauri");

function run(command, ...words) {
  const { error, status } = spawnSync(command, words, { cwd: here, stdio: "inherit" });
  if (error !== undefined || status !== 0) {
    console.error(`${command} ${words.join(" ")}: ${error?.message ?? `exit code ${status}`}`);
    process.exit(1);
  }
}

function install() {
  const wanted = readFileSync(lock, "utf8");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) {
    return;
  }
  rmSync(venv, { recursive: true, force: true });
  run(process.env.PYTHON ?? (windows ? "py" : "python3"), "-m", "venv", venv);
  run(python, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--require-hashes", "--no-deps", "-r", lock);
  writeFileSync(stamp, wanted);
}

// A folder, not one file: it starts at once, and unpacks nothing that could stay behind.
function freeze() {
  install();
  const work = join(here, ".venv", "freeze");
  run(
    python, "-m", "PyInstaller", "--log-level=WARN", "--noconfirm", "--onedir", "--name=notes-backend", "--paths=.",
    `--specpath=${work}`, `--workpath=${work}`, `--distpath=${tauri}`,
    "--hidden-import=notes.web", join("notes", "__main__.py"),
  );
}

switch (process.argv[2]) {
  case "install":
    install();
    break;
  case "freeze":
    freeze();
    break;
  default:
    console.error("usage: node backend/python.mjs install | freeze");
    process.exit(2);
}
