"""How ``init`` reads a node script that starts the dev server."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from sidecar.commands.init.dev_command.meaning import Meaning, Quiet, Start, Unclear
from sidecar.commands.init.dev_command.understand import understand
from sidecar.commands.init.dev_command.workspace import Package
from sidecar.commands.init.node_script.read import FILES_MOST
from sidecar.commands.init.node_script.source_file import DEPTH_MOST, LINE_MOST, SCRIPT_BYTES_MOST, TOKENS_MOST

DEV = """\
#!/usr/bin/env node
// Looks for a free port, tells it by a file, and starts Vite there.
const { spawn, exec } = require('child_process');
const fs = require('fs');
const net = require('net');
const path = require('path');

const PORT_FILE = path.join(__dirname, '.vite-port');

function isFree(port) {
  return new Promise((resolve) => {
    const server = net.createServer();
    server.once('error', () => resolve(false));
    server.once('listening', () => server.close(() => resolve(true)));
    server.listen(port, '127.0.0.1');
  });
}

async function main() {
  let port = 1420;
  while (!(await isFree(port))) port += 1;
  fs.writeFileSync(PORT_FILE, String(port));
  console.log(`port ${port} / ${path.basename(PORT_FILE)}`);
  const vite = spawn(`npx vite --port ${port} --strictPort`, { shell: true, stdio: 'inherit', cwd: __dirname });
  process.on('SIGINT', () => {
    vite.kill();
    exec('taskkill /F /IM node.exe');
    process.exit(0);
  });
}

main();
"""


def meaning_of(folder: Path, text: str, scripts: dict[str, str] | None = None, name: str = "dev.js") -> Meaning:
    (folder / name).write_text(text)
    scripts = {"synced": "tsc && vite", **(scripts or {})}
    return understand(f"node {name}", Package(folder, scripts))


def started(meaning: Meaning) -> Start:
    assert isinstance(meaning, Start), meaning
    return meaning


def test_a_script_that_finds_a_port_and_spawns_vite_is_understood(tmp_path: Path) -> None:
    start = started(meaning_of(tmp_path, DEV))
    [reading] = start.readings
    assert reading.port_files == [".vite-port"]
    assert (start.root, start.port, start.args, start.env) == (".", None, [], {})


SPAWNS = [
    ("const {spawn} = require('child_process'); spawn('npx', ['vite']);", Start()),
    ("import { spawn } from 'node:child_process'\nspawn('npx', ['vite', '--mode', 'x'])\n", Start(mode="x")),
    ("import { spawn as run } from 'child_process'; run('npx', ['vite'], { stdio: 'inherit' });", Start()),
    ("import * as cp from 'child_process'; cp.spawn('npx', ['vite']);", Start()),
    ("const cp = require('node:child_process'); cp.exec('npx vite --port ' + port, (error) => {});", Start()),
    ("const { execSync } = require('child_process'); execSync(`npx vite --port ${port}`);", Start()),
    ("require('child_process').exec('npm run dev')", Start(mode="dev")),
    ("const { exec: go } = require('child_process'); go('npm run dev', function (error) {})", Start(mode="dev")),
    ("const cp = await import('child_process'); cp.spawn('vite', ['--port', String(port)]);", Start()),
    (
        (
            "import { spawn } from 'child_process';\n"
            "const npx = process.platform === 'win32' ? 'npx.cmd' : 'npx';\n"
            "const args = ['vite', '--port', port.toString()];\n"
            "args.push('--host', host);\n"
            "spawn(npx, args, { shell: process.platform === 'win32' });\n"
        ),
        Start(host=True),
    ),
    (
        (
            "import { spawn } from 'child_process';\n"
            "const host = process.env.TAURI_DEV_HOST;\n"
            "spawn('npx', ['vite', ...(host ? ['--host', host] : []), ...process.argv.slice(2)]);\n"
        ),
        Start(host=True),
    ),
    (
        (
            "const { fork } = require('child_process'); const { join } = require('path');\n"
            "fork(join(__dirname, 'node_modules/vite/bin/vite.js'), ['--port', `${port}`]);"
        ),
        Start(),
    ),
    (
        (
            "const { spawn } = require('child_process');\n"
            "spawn(process.execPath, [require.resolve('../node_modules/vite/bin/vite.js')]);"
        ),
        Start(),
    ),
    ("import spawn from 'cross-spawn'; spawn('vite', ['dev']);", Start()),
    ("import { execa } from 'execa'; await execa('vite', ['--force']);", Start(args=["--force"])),
    (
        (
            "const { spawn } = require('child_process');\n"
            "const env = { ...process.env, A: 'b', VITE_PORT: port };\n"
            "spawn('npx', ['vite'], { env });"
        ),
        Start(env={"A": "b"}, port_env=["VITE_PORT"]),
    ),
    (
        "process.env.PORT = String(port); process.env.B = 'c';\nimport { spawn } from 'child_process'; spawn('vite');",
        Start(env={"B": "c"}, port_env=["PORT"]),
    ),
    ("const { spawn } = require('child_process'); spawn('vite', [], { cwd: 'web' });", Start(folder=Path("web"))),
    ("import { createServer } from 'vite'; const s = await createServer(); await s.listen();", Start()),
    (
        (
            "import { spawn } from 'child_process'; import { dirname } from 'path';\n"
            "import { fileURLToPath } from 'url';\n"
            "const __dirname = dirname(fileURLToPath(import.meta.url))\n"
            "const here = dirname(fileURLToPath(import.meta.url))\n"
            "spawn('vite', [`--mode=a\\n${x}`.length ? '' : '', ].slice(0), { cwd: here })"
        ).replace("[`--mode=a\\n${x}`.length ? '' : '', ].slice(0)", "['--port=' + port, '--host=' + host]"),
        Start(host=True),
    ),
    ("const {spawn} = require('child_process'); spawn('vite', [], {cwd: process.cwd(), env: process.env});", Start()),
    (
        "import { createServer } from 'vite'; createServer({ root: process.cwd(), configFile: 'a.js' });",
        Start(config="a.js"),
    ),
    ("const {exec} = require('child_process'); exec((`npx vite`));", Start()),
    ("const cp = require('child_process'); cp.spawn('cmd.exe', ['/s', '/c', 'npx', 'vite', '--port', port]);", Start()),
    ("const cp = require('child_process'); cp.spawn('cmd', ['/c', `npx vite --port ${port}`]);", Start()),
    (
        "const cp = require('child_process'); cp.spawn('sh', ['-c', `exec=1 npx vite --port ${port}`]);",
        Start(env={"exec": "1"}),
    ),
    (
        (
            "import { createServer } from 'vite';\n"
            "const options = { root: 'web', mode: 'x', logLevel: 'info',\n"
            "server: { port, strictPort: true, host: '0.0.0.0' } };\n"
            "await (await createServer(options)).listen();"
        ),
        Start(root="web", mode="x", host=True),
    ),
    ("const vite = require('vite'); vite.createServer({ server: { port: 3000 } });", Start(port=3000)),
    (
        (
            "const { spawn } = require('child_process');\n"
            "const ok = /^a\"`'b$/.exec(text); // a pattern, and no program\n"
            "if (5 / 2 > 1) spawn('vite');"
        ),
        Start(),
    ),
]


@pytest.mark.parametrize(("text", "wanted"), SPAWNS, ids=range(len(SPAWNS)))
def test_vite_is_found_however_it_is_started(tmp_path: Path, text: str, wanted: Start) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "package.json").write_text("{}")
    start = started(meaning_of(tmp_path, text, {"dev": "vite --mode dev"}))
    start.readings = []
    if wanted.folder is not None:
        wanted.folder = tmp_path / wanted.folder
    assert start == wanted


CLEANUPS = [
    "taskkill /F /IM node.exe",
    "cmd /c taskkill /F /IM node.exe",
    "lsof -ti:1420 | xargs kill -9 || true",
    "fuser -k 1420/tcp 2>&1",
]


@pytest.mark.parametrize("line", CLEANUPS)
def test_what_ends_an_earlier_vite_is_no_reason_to_stay_away(tmp_path: Path, line: str) -> None:
    text = f"const {{exec, spawn}} = require('child_process'); exec('{line}'); spawn('npx', ['vite']);"
    assert started(meaning_of(tmp_path, text)).type == "vite"


UNCLEAR = [
    (
        "const {exec} = require('child_process'); exec('pkill x; node api.js'); exec('vite');",
        "starts 'pkill x; node api.js'",
    ),
    ("const {exec} = require('child_process'); exec('lsof -i | node api.js'); exec('vite');", "starts 'lsof -i | node"),
    ("const cp = require('child_process'); cp.spawn('cmd', ['/c', 'vite', '&', 'x']);", "starts 'cmd /c vite "),
    ("const cp = require('child_process'); cp.spawn('cmd', ['/k']);", "starts 'cmd /k'"),
    ("import { $ } from 'execa'; await $`vite`;", "it uses $ of 'execa'"),
    ("let cp; cp = require('child_process'); cp.x();", "a way that is not understood"),
    ("exports.cp = require('child_process');", "it uses 'child_process' in a way that is not understood"),
    ("const {exec} = require('child_process'); exec(`vite --port '${port}`);", "starts 'vite --port '"),
    ("const {exec} = require('child_process'); exec();", "a program that is computed"),
    ("const {spawn} = require('child_process'); spawn('npx', ['vite', ...flags]);", "a program that is computed"),
    ("const {spawn} = require('child_process'); spawn('npx', list());", "a program that is computed"),
    ("const {spawn} = require('child_process'); spawn('npm', ['run', 'synced'], {env: {A: 'b'}});", "'npm run synced'"),
    (
        "import { createServer } from 'vite'; createServer({ root: 'a', mode: 'b', configFile() {} });",
        "option configFile",
    ),
    (
        "import { createServer } from 'vite'; createServer({ root: 'a b' }, createServer({ mode: 'c' }));",
        "in more than one",
    ),
    ("const {exec} = require('child_process'); exec(`${`a${'}'}`} vite`);", "a program that is computed"),
    (
        "const {spawn} = require('child_process'); spawn('npx',['vite']); spawn('node',['api.js']);",
        "starts 'node api.js'",
    ),
    (
        "const {exec} = require('child_process'); exec('npx vite'); exec('tsc');",
        "more than start Vite: it starts 'tsc'",
    ),
    ("const {exec} = require('child_process'); exec('npx vite'); exec('vite --mode b');", "in more than one way"),
    ("const {exec} = require('child_process'); exec('npx vite & node api.js');", "starts 'npx vite & node api.js'"),
    ("const {exec} = require('child_process'); exec(`npx vite ${flags}`);", "starts 'npx vite …'"),
    ("const {exec} = require('child_process'); exec(command);", "a program that is computed (exec)"),
    ("const {exec} = require('child_process'); const f = exec; exec('vite');", "it passes exec on"),
    ("const {exec} = require('child_process'); exec('make dev');", "starts 'make dev'"),
    (
        "const {promisify} = require('util'); const run = promisify(require('child_process').exec);",
        "child_process.exec",
    ),
    ("export { spawn } from 'child_process';", "it passes 'child_process' on"),
    ("const cp = require('child_process'); start(cp);", "it passes cp on"),
    ("let c = 'vite'; c += ' & x'; require('child_process').exec(c);", "a program that is computed"),
    ("const a = ['vite']; a.unshift('x'); require('child_process').spawn('npx', a);", "a program that is computed"),
    ("const a = ['vite']; a[0] = x; require('child_process').spawn('npx', a);", "a program that is computed"),
    ("const {spawn} = require('child_process'); spawn('vite', [], {cwd: find()});", "it computes a folder"),
    ("const {spawn} = require('child_process'); spawn('vite', [], {env: {A: b()}});", "computes the variable A"),
    ("const {spawn} = require('child_process'); spawn('vite', [], {gid: 1, argv0: 'x'});", "with the option argv0"),
    ("process.env['A'] = b; require('child_process').spawn('vite');", "computes a variable's name"),
    ("Object.assign(process.env, x); require('child_process').spawn('vite');", "it computes variables"),
    (
        "const {exec} = require('child_process'); fs.writeFileSync('src/made.ts', x); exec('vite');",
        "it writes 'made.ts'",
    ),
    ("import { build, createServer } from 'vite'; await build(); await createServer();", "it calls build of Vite"),
    ("import { preview } from 'vite'; await preview();", "serves what was built before"),
    ("import { createServer } from 'vite'; createServer({ plugins: [x()] });", "with the option plugins"),
    ("import { createServer } from 'vite'; createServer({ server: { proxy: {} } });", "with the option server.proxy"),
    ("import { createServer } from 'vite'; createServer(options());", "it computes options"),
    ("import { createServer } from 'vite'; const make = createServer;", "it passes createServer of Vite on"),
    ("import express from 'express'; express().listen(1);", "it imports 'express'"),
    ("const s = require('http').createServer().listen(1);", "it uses http.createServer"),
    ("import http from 'http'; http.createServer().listen(1);", "it uses http.createServer"),
    ("import { Server } from 'http'; new Server().listen(1);", "it uses Server of 'http'"),
    ("import net from 'net'; net.createServer().listen(1);", "opens a port and does not close it"),
    ("import net from 'net'; net.createServer().close();", "opens a port"),
    ("import './other.js';", "it imports ./other.js, which is not read"),
    ("const m = require(name);", "a module whose name is computed"),
    ("await import(`./${name}.js`);", "a module whose name is computed"),
    ("const r = require; r('http');", "it passes require on"),
    ("module.require('http').createServer();", "it uses http.createServer"),
    ("process.getBuiltinModule('http');", "it uses process.getBuiltinModule"),
    ("eval(text);", "it uses eval"),
    ("new Function('x')();", "it uses Function"),
    ("Bun.serve({ fetch() {} });", "it uses Bun"),
    ("Deno.serve(() => {});", "it uses Deno"),
    ("process.binding('x');", "it uses process.binding"),
    ("import { Worker } from 'worker_threads';", "it imports 'worker_threads'"),
    ("console.log(`${require('http').createServer().listen(1)}`);", "it uses http.createServer"),
]


@pytest.mark.parametrize(("text", "reason"), UNCLEAR, ids=range(len(UNCLEAR)))
def test_a_script_that_may_do_more_is_told_with_its_reason(tmp_path: Path, text: str, reason: str) -> None:
    meaning = meaning_of(tmp_path, text, name="dev.mjs")
    assert isinstance(meaning, Unclear), meaning
    assert reason in meaning.reason


@pytest.mark.parametrize(
    "text",
    [
        "// require('http').createServer()\n/* spawn('x') */ const text = \"require('express')\";",
        "import fs from 'fs'; import path from 'node:path'; fs.cpSync('a', path.join('b', 'c'));",
        "const { spawn } = { spawn: 1 }; const exec = /x/.exec('y');",
        "require('fs').mkdirSync('a'); const from = 'http'; Array.from 'x'; const t = `a\\`b${`c${'}'}`}`;",
        "",
    ],
)
def test_a_script_that_cannot_start_anything_is_no_server(tmp_path: Path, text: str) -> None:
    assert meaning_of(tmp_path, text, name="made.mjs") == Quiet()


def test_what_a_script_imports_is_read_with_it(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "port.ts").write_text(
        "import net from 'net'; export const a = net.connect(1); import '../dev.js'"
    )
    text = "import { a } from './lib/port.js'; import { spawn } from 'child_process'; spawn('npx', ['vite']);"
    assert started(meaning_of(tmp_path, text)).type == "vite"
    (tmp_path / "lib" / "port.ts").write_text("import ws from 'ws';")
    meaning = meaning_of(tmp_path, text)
    assert isinstance(meaning, Unclear)
    assert "it imports 'ws'" in meaning.reason


@pytest.mark.parametrize(
    ("folder", "wanted"),
    [
        ("__dirname", "scripts"),
        ('path.join(__dirname, "..")', "."),
        ('path.resolve(__dirname, "../ui")', "ui"),
        ("path.dirname(__dirname)", "."),
        ('fileURLToPath(new URL("..", import.meta.url))', "."),
        ("path.dirname(fileURLToPath(import.meta.url))", "scripts"),
        ("process.cwd()", "."),
        ('"ui"', "ui"),
        ("root", "."),
    ],
)
def test_a_folder_is_the_script_s_or_the_one_it_runs_in(tmp_path: Path, folder: str, wanted: str) -> None:
    text = f"""
        import {{ spawn }} from "child_process"; import path from "path"; import {{ fileURLToPath }} from "url";
        const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..");
        spawn("npx", ["vite"], {{ cwd: {folder} }});
    """
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "dev.mjs").write_text(text)
    start = started(understand("node scripts/dev.mjs", Package(tmp_path)))
    assert (start.folder or tmp_path) == tmp_path / wanted


@pytest.mark.parametrize("folder", ["somewhere()", '"/srv"', "path.relative(__dirname, x)"])
def test_a_folder_that_is_not_known_is_told(tmp_path: Path, folder: str) -> None:
    meaning = meaning_of(tmp_path, f"require('child_process').spawn('npx', ['vite'], {{ cwd: {folder} }});")
    assert isinstance(meaning, Unclear)
    assert "it computes a folder" in meaning.reason


@pytest.mark.parametrize("words", ["ts-node --esm", "node --loader ts-node/esm", "node -r esbuild-register", "tsx"])
def test_a_script_in_typescript_is_read_whatever_runs_it(tmp_path: Path, words: str) -> None:
    (tmp_path / "dev.ts").write_text("import { spawn } from 'child_process';\nspawn('npx', ['vite']);\n")
    assert isinstance(understand(f"{words} dev.ts", Package(tmp_path)), Start)


def test_vite_keeps_the_memory_that_node_is_given(tmp_path: Path) -> None:
    meaning = understand("node --max-old-space-size=8192 node_modules/vite/bin/vite.js", Package(tmp_path))
    assert started(meaning).env == {"NODE_OPTIONS": "--max-old-space-size=8192"}


def test_only_so_many_files_are_read(tmp_path: Path) -> None:
    for number in range(FILES_MOST + 1):
        (tmp_path / f"f{number}.js").write_text(f"import './f{number + 1}.js';")
    meaning = meaning_of(tmp_path, "import './f0.js';")
    assert isinstance(meaning, Unclear)
    assert f"more than {FILES_MOST} files" in meaning.reason


def test_a_script_outside_of_the_project_or_of_another_package_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "app" / "node_modules" / "x").mkdir(parents=True)
    (tmp_path / "out.js").write_text("")
    (tmp_path / "app" / "node_modules" / "x" / "a.js").write_text("")
    for name in ("../out.js", "node_modules/x/a.js"):
        meaning = understand(f"node {name}", Package(tmp_path / "app"))
        assert isinstance(meaning, Unclear)
        assert "is not a file of this project" in meaning.reason


def test_a_link_that_leads_away_and_a_pipe_are_not_read(tmp_path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("Windows has no such files in a folder")
    (tmp_path / "app").mkdir()
    (tmp_path / "secret.js").write_text("")
    (tmp_path / "app" / "link.js").symlink_to(tmp_path / "secret.js")
    os.mkfifo(tmp_path / "app" / "pipe.js")
    for name in ("link.js", "pipe.js"):
        assert isinstance(understand(f"node {name}", Package(tmp_path / "app")), Unclear)


def test_a_script_that_is_too_long_or_no_text_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "long.js").write_bytes(b" " * (SCRIPT_BYTES_MOST + 1))
    (tmp_path / "bytes.js").write_bytes(b"\xff")
    (tmp_path / "deep.js").write_text("`${\n" * 5_000)
    told = {"long.js": "is larger than 64 KiB", "bytes.js": "is not UTF-8", "deep.js": "is nested too deeply"}
    for name, reason in told.items():
        meaning = understand(f"node {name}", Package(tmp_path))
        assert isinstance(meaning, Unclear)
        assert reason in meaning.reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x" * (LINE_MOST + 1), "has a line of more than"),
        ("x\n" * (TOKENS_MOST + 1), "has more than"),
        ("f(" * (DEPTH_MOST + 1), "is nested too deeply"),
    ],
)
def test_a_script_that_nobody_wrote_is_not_read(tmp_path: Path, text: str, reason: str) -> None:
    """A naive reader searches for the ends of its expressions again and again."""
    meaning = meaning_of(tmp_path, text)
    assert isinstance(meaning, Unclear)
    assert reason in meaning.reason
