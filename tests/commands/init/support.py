"""A minimal Tauri + Vite project, which a test may change."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

CONFIG = """\
{
  "$schema": "https://schema.tauri.app/config/2",
  "identifier": "dev.sidecar.test",
  "build": {
    "beforeDevCommand": "npm run dev",
    "devUrl": "http://localhost:1420",
    "frontendDist": "../dist"
  },
  "app": {
    "windows": [
      { "title": "test", "width": 800 }
    ]
  },
  "bundle": {
    "active": true,
    "icon": ["icons/icon.png"]
  }
}
"""
PACKAGE = """\
{
  "name": "test",
  "scripts": {
    "dev": "vite",
    "tauri": "tauri"
  },
  "devDependencies": {
    "@tauri-apps/cli": "^2",
    "vite": "^8"
  }
}
"""
CARGO = """\
[package]
name = "test"
version = "0.1.0"
edition = "2021"

[build-dependencies]
tauri-build = "2"

[dependencies]
tauri = { version = "2", features = [] } # the framework

# below: how it is built
[profile.release]
lto = true
"""
MAIN = """\
// The app.
#[tauri::command]
fn say_hello(name: &str) -> String {
    format!("hello {name}")
}

fn main() {
    tauri::Builder::default()
        .invoke_handler(tauri::generate_handler![say_hello])
        .run(tauri::generate_context!())
        .expect("the app could not be run");
}
"""
BUILD = """\
fn main() {
    tauri_build::build()
}
"""
CAPABILITY = """\
{
  "identifier": "default",
  "windows": ["main"],
  "permissions": ["core:default"]
}
"""
FILES = {
    "package.json": PACKAGE,
    "src-tauri/Cargo.toml": CARGO,
    "src-tauri/build.rs": BUILD,
    "src-tauri/capabilities/default.json": CAPABILITY,
    "src-tauri/src/main.rs": MAIN,
    "src-tauri/tauri.conf.json": CONFIG,
}

Texts = dict[str, str | None]
"""Files by their path in the project; ``None``: there is no such file."""


def make(folder: Path, **changed: str | None) -> Path:
    """Write the project into ``folder``. ``changed`` replaces files of ``FILES``, by path."""
    texts: Texts = {**FILES, **changed}
    for name, text in texts.items():
        if text is not None:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files, by path."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
