"""Give npm and cargo the packages that build/dist.py made, without the internet.

For npm this is a registry on loopback. For cargo it is a file that says where our crates are.

A published release has all six platform packages. npm reads their manifests, writes all into the lock, and fetches only
the package of its own platform. Only that package is built here, so this registry has only manifests of the others.
Verdaccio cannot do that, and would bring 327 packages. (By hand, verdaccio 6.8.0 accepted the tarballs from npm
publish, and npm installed them.)
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from build.platforms import PLATFORMS
from build.version import version

Json = dict[str, Any]


def manifest_of(tarball: Path) -> Json:
    with tarfile.open(tarball) as archive:
        file = archive.extractfile("package/package.json")
        assert file
        value: Json = json.load(file)
    return value


class Registry:
    """The registry's packages, and the requests that it could not answer."""

    def __init__(self, tarballs: list[Path], port: int, others: str | None) -> None:
        """``others`` is the URL of the registry for all other packages."""
        self.others = others
        self.url = f"http://127.0.0.1:{port}"
        self.refused: list[str] = []
        self._files = {file.name: file.read_bytes() for file in tarballs}
        self._manifests = {it.npm: self._elsewhere(it.npm, it.manifest) for it in PLATFORMS.values()}
        self._manifests = {it["name"]: it for it in self._manifests.values()}
        for file in tarballs:
            manifest = manifest_of(file)
            integrity = base64.b64encode(hashlib.sha512(self._files[file.name]).digest()).decode()
            dist = {"tarball": f"{self.url}/-/{file.name}", "integrity": f"sha512-{integrity}"}
            self._manifests[manifest["name"]] = {**manifest, "dist": dist}

    def _elsewhere(self, name: str, fields: Json) -> Json:
        integrity = base64.b64encode(hashlib.sha512(b"").digest()).decode()
        dist = {"tarball": f"{self.url}/-/{name}.tgz", "integrity": f"sha512-{integrity}"}
        return {"name": f"@tauri-sidecar/{name}", "version": version(), **fields, "dist": dist}

    def answer(self, path: str) -> bytes | str | None:
        """Return what to send: a package, a redirect, or 404."""
        name = unquote(path).lstrip("/")
        if name.startswith("-/"):
            found = self._files.get(name.removeprefix("-/"))
        elif name in self._manifests:
            manifest = self._manifests[name]
            number = manifest["version"]
            package = {"name": name, "dist-tags": {"latest": number}, "versions": {number: manifest}}
            found = json.dumps(package).encode()
        else:
            found = None
        if found is None and self.others is not None:
            return self.others + path
        if found is None:
            self.refused.append(name)
        return found


@contextmanager
def serving(folder: Path, *, others: bool = False) -> Iterator[Registry]:
    """Run a registry with this folder's packages. It redirects npm to ``others`` for everything else."""
    asked = subprocess.run(["npm", "config", "get", "registry"], capture_output=True, text=True, check=True)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = registry.answer(self.path)
            body = answer if isinstance(answer, bytes) else b""
            self.send_response(404 if answer is None else 200 if isinstance(answer, bytes) else 302)
            if isinstance(answer, str):
                self.send_header("Location", answer)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        upstream = asked.stdout.strip().rstrip("/") if others else None
        registry = Registry(sorted(folder.glob("*.tgz")), server.server_address[1], upstream)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield registry
        finally:
            server.shutdown()
            thread.join()


def unpack_crates(dist: Path, folder: Path) -> None:
    """Make cargo use our packed crates in all projects below the folder."""
    lines = ["[patch.crates-io]"]
    for crate in sorted((dist / "crates").glob("*.crate")):
        with tarfile.open(crate) as archive:
            archive.extractall(folder / "crates", filter="data")
        name = crate.name.removesuffix(f"-{version()}.crate")
        lines.append(f'{name} = {{ path = "{folder / "crates" / crate.stem}" }}')
    (folder / ".cargo").mkdir()
    (folder / ".cargo" / "config.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
