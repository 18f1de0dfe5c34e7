"""Build all published packages for this platform into dist/: python3 build/dev.py dist.

Every package is made from a staged copy. The version, the repository's URL and the requirement of tauri-sidecar-bin are
filled in there, because a checkout does not need the last two. Then this checks the content of each package, as a
registry and an installer see it. tests/dist installs and uses them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # for this folder's other scripts, and sidecar, also under Wine's Python

from build import platforms  # noqa: E402  see above
from build.freeze import EPOCH, SITE  # noqa: E402  see above
from build.version import version  # noqa: E402
from sidecar.diagnostics import ADDRESS_FILE  # noqa: E402

INTEGRATION = ROOT / "tauri-integration"
PYPI_BIN = ROOT / "build" / "pypi_bin"
SOURCES = ("sidecar", "README.md", "pyproject.toml")
"""The sources of the sdist."""
NOT_STAGED = shutil.ignore_patterns("__pycache__", "node_modules", "target", "dist-js")

REQUIREMENT = '    "msgspec>=0.20",\n'
"""The first requirement in pyproject.toml. The release's own is inserted above it."""

WHEEL_FILES = {"METADATA", "RECORD", "WHEEL"}
API_FILES = {
    "package/README.md",
    "package/dist-js/index.cjs",
    "package/dist-js/index.d.cts",
    "package/dist-js/index.d.ts",
    "package/dist-js/index.js",
    "package/package.json",
    "package/installer-hooks.nsh",
    "package/sidecar-file.schema.json",
    "package/sidecar.schema.json",
    "package/tauri.conf.schema.json",
}
SHIM_FILES = {"package/README.md", "package/bin/tauri-sidecar.js", "package/package.json"}
CRATES = {
    "plugin": {
        "README.md",
        "api-iife.js",
        "build.rs",
        "permissions/default.toml",
        "sidecar.schema.json",
        "src/lib.rs",
    },
    "plugin-build": {"README.md", "src/lib.rs"},
}
"""Folder of a crate → files that it must have."""
CRATE_LEFT_OUT = ("build.js", "guest-js/", "installer-hooks", "tests/", "package", "tsconfig", "dist-js/")


class DistError(Exception):
    """A package could not be built, or is wrong; the message says how."""


@dataclass
class Dist:
    """One build: its output folder, its binary, and the repository to name."""

    out: Path
    work: Path
    triple: str
    binary: Path
    repository: str | None

    @property
    def platform(self) -> platforms.Platform:
        """The platform's names in the registries."""
        return platforms.platform_of(self.triple)

    def folder(self, name: str) -> Path:
        """Return a folder of the output; make it if it is missing."""
        folder = self.out / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    # ── PyPI ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def pure_wheel(self) -> None:
        """Make the sdist, and the wheel from the sdist's content."""
        staged = self.work / "pypi"
        staged.mkdir()
        for name in SOURCES:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, staged / name, ignore=NOT_STAGED)
            else:
                shutil.copy2(source, staged)
        if site := os.environ.get(SITE):
            (staged / "sidecar" / ADDRESS_FILE).write_text(site, encoding="utf-8", newline="\n")
        manifest = staged / "pyproject.toml"
        text = manifest.read_text(encoding="utf-8")
        self._put(manifest, text, REQUIREMENT, f'    "tauri-sidecar-bin=={version()}",\n{REQUIREMENT}')
        if self.repository:
            _make_links_absolute(staged / "README.md", self.repository)
            text = manifest.read_text(encoding="utf-8")
            self._put(manifest, text, "[project.scripts]\n", f"{_urls(self.repository)}\n[project.scripts]\n")
        [sdist] = self._hatch(staged, "sdist")
        with tarfile.open(sdist) as archive:
            archive.extractall(self.work / "sdist", filter="data")
        [unpacked] = (self.work / "sdist").iterdir()
        [wheel] = self._hatch(unpacked, "wheel")
        names = set(zipfile.ZipFile(wheel).namelist())
        ours = {path.relative_to(ROOT).as_posix() for path in (ROOT / "sidecar").rglob("*.py")}
        _same(wheel, {name for name in names if name.endswith(".py")}, ours)

    def binary_wheel(self) -> None:
        """Make the wheel with the binary."""
        staged = self.work / "pypi-bin"
        shutil.copytree(PYPI_BIN, staged, ignore=NOT_STAGED)
        if self.repository:
            manifest = staged / "pyproject.toml"
            text = manifest.read_text(encoding="utf-8")
            self._put(manifest, text, "[tool.hatch.version]", f"{_urls(self.repository)}\n[tool.hatch.version]")
        tag = platforms.wheel_tag(self.triple, self.binary)
        variables = {"SIDECAR_VERSION": version(), "SIDECAR_WHEEL_TAG": tag, "SIDECAR_BINARY": str(self.binary)}
        [wheel] = self._hatch(staged, "wheel", **variables)
        with zipfile.ZipFile(wheel) as archive:
            info = f"{'-'.join(wheel.name.split('-')[:2])}.dist-info"
            place = f"tauri_sidecar_bin/{self._program}"
            _same(wheel, set(archive.namelist()), {place, *(f"{info}/{name}" for name in WHEEL_FILES)})
            if os.name == "posix" and not archive.getinfo(place).external_attr >> 16 & 0o100:
                raise DistError(f"{wheel.name}: {place} may not be executed")

    def _hatch(self, folder: Path, target: str, **variables: str) -> list[Path]:
        """Build in the folder; return the packages, in the output folder."""
        made = self.work / f"{folder.name}-{target}"
        command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(made)]
        _run(command, folder, SOURCE_DATE_EPOCH=EPOCH, **variables)
        return [Path(shutil.copy2(file, self.folder("pypi"))) for file in made.iterdir()]

    # ── npm ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def _program(self) -> str:
        return f"sidecar{'.exe' if 'windows' in self.triple else ''}"

    def shim(self) -> None:
        """Make the package that people install."""
        staged = self.work / "npm"
        shutil.copytree(INTEGRATION / "npm", staged, ignore=NOT_STAGED)
        _same(self._pack(staged), None, SHIM_FILES)

    def platform_package(self) -> None:
        """Make the package with this platform's binary."""
        staged = self.work / "npm-platform"
        staged.mkdir()
        name = f"@tauri-sidecar/{self.platform.npm}"
        manifest = {
            "name": name,
            "version": version(),
            "description": "The binary of tauri-sidecar for one platform. Install tauri-sidecar, which needs this one.",
            "license": "MIT OR Apache-2.0",
            **self.platform.manifest,
            "files": [self._program],
            "preferUnplugged": True,  # for Yarn: a program inside a zip file cannot run
        }
        _write(staged / "package.json", manifest)
        page = "https://www.npmjs.com/package/tauri-sidecar"
        words = f"# {name}\n\nThe binary of [tauri-sidecar]({page}) for one platform.\n"
        (staged / "README.md").write_text(words, encoding="utf-8")
        shutil.copy2(self.binary, staged / self._program)
        (staged / self._program).chmod(0o755)
        package = self._pack(staged)
        _same(package, None, {"package/README.md", "package/package.json", f"package/{self._program}"})
        with tarfile.open(package) as archive:
            if os.name == "posix" and not archive.getmember(f"package/{self._program}").mode & 0o111:
                raise DistError(f"{package.name}: {self._program} may not be executed")

    def api(self) -> None:
        """Make the package with the plugin's TypeScript API."""
        source, staged = INTEGRATION / "plugin", self.work / "npm-api"
        shutil.copytree(source, staged, ignore=NOT_STAGED)
        typescript = source / "node_modules"
        if not typescript.is_dir():
            raise DistError(f"{typescript} is missing: start this by python3 build/dev.py dist")
        _run([_program("node"), "build.js", "--check", "--out", str(staged / "dist-js")], source)
        _same(self._pack(staged), None, API_FILES)

    def _pack(self, folder: Path) -> Path:
        """Make the tarball of a staged package, in a form that npm can publish."""
        manifest = json.loads((folder / "package.json").read_text(encoding="utf-8"))
        if self.repository:
            manifest["repository"] = {"type": "git", "url": f"git+{self.repository}.git"}
        manifest["publishConfig"] = {"access": "public"}  # by default npm publishes a scoped package as private
        manifest.get("scripts", {}).pop("prepack", None)
        _write(folder / "package.json", manifest)
        place = self.folder("npm")
        command = [_program("npm"), "pack", "--json", "--ignore-scripts", f"--pack-destination={place}", str(folder)]
        report = json.loads(_run(command, self.work))
        [told] = report.values() if isinstance(report, dict) else report  # npm 12 prints an object
        return place / Path(told["filename"]).name

    # ── crates.io ────────────────────────────────────────────────────────────────────────────────────────────────────

    def crate(self, name: str, *, verify: bool) -> None:
        """Make a crate; ``verify`` compiles it as cargo publish does."""
        staged = self.work / "crates" / name
        shutil.copytree(INTEGRATION / name, staged, ignore=NOT_STAGED)
        if self.repository:
            manifest = staged / "Cargo.toml"
            text = manifest.read_text(encoding="utf-8")
            self._put(
                manifest, text, 'readme = "README.md"\n', f'readme = "README.md"\nrepository = "{self.repository}"\n'
            )
        # compiling all of Tauri takes minutes, so use the folder that build/dev.py keeps
        kept = os.environ.get("CARGO_TARGET_DIR") if verify else None
        target = Path(kept) if kept else staged / "target"
        package = tomllib.loads((staged / "Cargo.toml").read_text(encoding="utf-8"))["package"]["name"]
        command = ["cargo", "package", "--quiet", "--locked", f"--manifest-path={staged / 'Cargo.toml'}"]
        command += [f"--target-dir={target}", *([] if verify else ["--no-verify"])]
        _run(command, staged)
        made = target / "package" / f"{package}-{version()}.crate"
        crate = Path(shutil.copy2(made, self.folder("crates")))
        with tarfile.open(crate) as archive:
            names = {name.partition("/")[2] for name in archive.getnames()}
        unwanted = sorted(name for name in names if name.startswith(CRATE_LEFT_OUT))
        if unwanted or not CRATES[name] <= names:
            raise DistError(
                f"{crate.name} has files that it should not have, or lacks some: {', '.join(sorted(names))}"
            )

    def _put(self, file: Path, text: str, before: str, after: str) -> None:
        if text.count(before) != 1:
            raise DistError(f"{file.name} has {before.strip()!r} {text.count(before)} times, and once is expected")
        file.write_text(text.replace(before, after), encoding="utf-8", newline="\n")


def main(argv: Sequence[str]) -> int:
    """Build the packages, check their content, and list them with their digests."""
    parser = argparse.ArgumentParser(prog="build/dev.py dist", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="where to put it (default: dist/)")
    parser.add_argument("--binary", type=Path, help="the frozen binary (default: freeze one now)")
    parser.add_argument("--repository", metavar="URL", help="the repository's page, for the packages' metadata")
    parser.add_argument("--binary-only", action="store_true", help="only the packages that differ by platform")
    parser.add_argument("--no-crate", action="store_true", help="leave the crate out: it needs Rust")
    parser.add_argument("--verify", action="store_true", help="compile the crate as cargo publish does; takes minutes")
    options = parser.parse_args(argv)
    out = options.out.resolve()
    for name in ("pypi", "npm", "crates"):
        shutil.rmtree(out / name, ignore_errors=True)
    try:
        with tempfile.TemporaryDirectory(prefix="sidecar-dist-") as folder:
            triple, binary = _binary(options.binary, out)
            dist = Dist(out, Path(folder), triple, binary, options.repository)
            dist.binary_wheel()
            dist.platform_package()
            if not options.binary_only:
                dist.pure_wheel()
                dist.shim()
                dist.api()
            if not (options.binary_only or options.no_crate):
                for name in CRATES:
                    dist.crate(name, verify=options.verify)
            check_metadata(dist.folder("pypi"))
    except (DistError, platforms.UnsupportedError) as problem:
        print(f"The packages could not be made: {problem}.")
        return 1
    if not options.repository:
        print("Note: the packages name no repository; --repository URL is for a release.")
    print(sums(out), end="")
    return 0


def _binary(given: Path | None, out: Path) -> tuple[str, Path]:
    """Put the binary into ``out``; return its target and its file."""
    out.mkdir(parents=True, exist_ok=True)
    if given is None:
        _run([sys.executable, str(ROOT / "build" / "freeze.py"), "--out", str(out)], ROOT)
        from sidecar.commands.init.binary import own_tuple  # noqa: PLC0415
        from sidecar.host.machine import EXECUTABLE_SUFFIX  # noqa: PLC0415  as freeze.py names it

        given = out / f"sidecar-{own_tuple()}{EXECUTABLE_SUFFIX}"
    elif given.parent.resolve() != out:
        given = Path(shutil.copy2(given, out))
    return given.name.removesuffix(".exe").removeprefix("sidecar-"), given.resolve()


def check_metadata(folder: Path) -> None:
    """Make twine read the metadata as PyPI will. build/dev.py sets SIDECAR_TWINE; without it there is no check."""
    twine = os.environ.get("SIDECAR_TWINE")
    if twine:
        files = sorted(str(file) for file in folder.iterdir())
        _run([sys.executable, "-m", "twine", "check", "--strict", *files], ROOT, PYTHONPATH=twine)


def sums(out: Path) -> str:
    """Write SHA256SUMS of all files in ``out``, in the form of sha256sum, and return its text."""
    list_file = out / "SHA256SUMS"
    list_file.unlink(missing_ok=True)
    text = "".join(f"{digest}  {name}\n" for name, digest in _digests(out))
    list_file.write_text(text, encoding="utf-8", newline="\n")
    return text


def _digests(out: Path) -> Iterator[tuple[str, str]]:
    for file in sorted(path for path in out.rglob("*") if path.is_file()):
        yield file.relative_to(out).as_posix(), hashlib.sha256(file.read_bytes()).hexdigest()


def _same(package: Path, names: set[str] | None, wanted: set[str]) -> None:
    """Check that a package has exactly these files. Without ``names`` read them: it is a tarball. Raises DistError."""
    if names is None:
        with tarfile.open(package) as archive:
            names = set(archive.getnames())
    if names != wanted:
        wrong = [
            *(f"has {name}" for name in sorted(names - wanted)),
            *(f"lacks {name}" for name in sorted(wanted - names)),
        ]
        raise DistError(f"{package.name} {', '.join(wrong)}")


def _urls(repository: str) -> str:
    page = f"{repository}/blob/main/tauri-integration"
    return (
        f'[project.urls]\nRepository = "{repository}"\nDocumentation = "{page}/README.md"\n'
        f'Changelog = "{page}/CHANGELOG.md"\nIssues = "{repository}/issues"\n'
    )


def _make_links_absolute(page: Path, repository: str) -> None:
    """Make links and images lead into the repository, at this version's tag: a registry has only this page."""
    text = page.read_text(encoding="utf-8")
    there = f"{repository}/raw/v{version()}/"  # for images: /blob/ would be a page around them
    text = re.sub(r"(!\[[^\]]*\]\()(?!https?:|#)", rf"\g<1>{there}", text)
    text = re.sub(r"((?<!!)\[[^\]]*\]\()(?!https?:|#)", rf"\g<1>{repository}/blob/v{version()}/", text)
    page.write_text(text, encoding="utf-8", newline="\n")


def _write(file: Path, value: dict[str, Any]) -> None:
    file.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8", newline="\n")


def _program(name: str) -> str:
    """Return a program's whole name, because Windows starts npm.cmd only by that. Raises DistError."""
    found = shutil.which(name)
    if found is None:
        raise DistError(f"there is no {name} on PATH")
    return found


def _run(command: Sequence[str], folder: Path, **variables: str) -> str:
    """Run a command to its end; return its output. Raises DistError with its last lines if it failed."""
    env = {**os.environ, **variables}
    done = subprocess.run(
        command, cwd=folder, env=env, stdin=subprocess.DEVNULL, text=True, capture_output=True, check=False
    )
    if done.returncode:
        print((done.stdout + done.stderr)[-4000:])
        raise DistError(f"{' '.join(command[:4])} ended with {done.returncode}; its last lines are above")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
