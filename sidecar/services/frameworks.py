"""The one table of dev servers: how we recognise and start each, how we tell it its port, and when it is ready.

A row's ``type`` is the ``type`` of a service in a configuration. A framework that is Vite with plugins, and that Vite's
own command line starts, has a row for its name, and the type ``vite``.

The launch in stdio mode loads this module, so it imports only msgspec.
"""

from __future__ import annotations

from msgspec import Struct

JS = (".js", ".mjs", ".ts", ".cjs", ".mts", ".cts")
"""Suffixes of configuration files, in the order in which Vite looks for its own."""

HERE = ("--host", "{host}", "--port", "{port}")

READY = "answer"
"""Ready as soon as our tree owns the socket on its port and the server answers anything: see ``ready_probe`` in
``config.services``."""


class Framework(Struct, frozen=True, kw_only=True):
    """One dev server."""

    name: str
    title: str
    """Its name as people write it."""
    type: str
    """The ``type`` of its service."""
    configs: tuple[str, ...] = ()
    """Names of its configuration files. A name without a suffix stands for one with each of ``JS``."""
    depends: tuple[str, ...] = ()
    """Packages. A project that depends on any of them is a project of this framework."""
    package: str = ""
    """The package that has its program. If empty, we look for the program on PATH."""
    program: str
    """The program of the package that we start."""
    verb: tuple[str, ...] = ("dev",)
    """What follows the program, before all arguments."""
    called: tuple[str, ...]
    """The words that begin a script that starts it."""
    others: tuple[str, ...] = ()
    """Subcommands that start no dev server, for a program that starts one without a subcommand."""
    listen: tuple[str, ...] = HERE
    """The arguments that tell it where to listen."""
    env: tuple[tuple[str, str], ...] = ()
    """The variables that tell it where to listen, if it has no arguments for that."""
    port_flags: tuple[str, ...] = ("--port", "-p")
    host_flags: tuple[str, ...] = ("--host", "-H", "--hostname")
    open_flags: tuple[str, ...] = ("--open", "-o")
    reads: str = ""
    """The variable from which the script, or the file that it runs, reads its port."""
    ready: str = READY
    port: int
    """Its default port. We prefer it, too."""

    @property
    def _own(self) -> tuple[str, ...]:
        return ("package.json", "index.html") if self.vite else ("package.json",) if self.package else ()

    def files(self) -> tuple[str, ...]:
        """Return the files that mark such a project: its folder has at least one of them."""
        return (*self._own, *(each for name in self.configs for each in config_files(name)))

    def marks(self) -> str:
        """Return the names of these files, for people."""
        *most, last = *self._own, *self.configs
        return f"{', '.join(most)} or {last}" if most else last

    def described(self) -> str:
        """Return its title, and Vite's if it is started as Vite but has another name."""
        return f"{self.title} (Vite)" if self.vite and self.name != self.type else self.title

    @property
    def vite(self) -> bool:
        """Whether it is based on Vite and started as Vite."""
        return self.type == "vite"


def config_files(name: str) -> tuple[str, ...]:
    """Return the files that a configuration's name in the table stands for."""
    return (name,) if name.endswith((".json", ".toml", "rc")) else tuple(name + suffix for suffix in JS)


def _on_vite(
    name: str,
    title: str,
    depends: tuple[str, ...],
    *,
    configs: tuple[str, ...] = (),
    called: tuple[str, ...] = (),
) -> Framework:
    """Make the row of a framework that Vite's own command line starts.

    ``called`` is the framework's own command that starts the same server.
    """
    return Framework(
        name=name,
        title=title,
        type="vite",
        configs=configs,
        depends=depends,
        package="vite",
        program="vite",
        verb=(),
        called=called,
        others=("build", "preview", "optimize"),
        listen=(*HERE, "--strictPort"),
        port_flags=("--port",),
        host_flags=("--host",),
        open_flags=("--open",),
        port=5173,
    )


TABLE: tuple[Framework, ...] = (
    # ── servers of their own ─────────────────────────────────────────────────────────────────────────────────────────
    Framework(
        name="astro",
        title="Astro",
        type="astro",
        configs=("astro.config",),
        depends=("astro",),
        package="astro",
        program="astro",
        called=("astro dev",),
        port_flags=("--port",),
        host_flags=("--host",),
        open_flags=("--open",),
        port=4321,
    ),
    Framework(
        name="nuxt",
        title="Nuxt",
        type="nuxt",
        configs=("nuxt.config",),
        depends=("nuxt", "nuxt-nightly"),
        package="nuxt",
        program="nuxt",
        called=("nuxt dev", "nuxi dev"),
        host_flags=("--host", "-h"),
        port=3000,
    ),
    Framework(
        name="next",
        title="Next.js",
        type="next",
        configs=("next.config",),
        depends=("next",),
        package="next",
        program="next",
        called=("next", "next dev"),
        others=("build", "start", "export", "lint", "info", "telemetry", "typegen", "experimental-test", "upgrade"),
        listen=("--hostname", "{host}", "--port", "{port}"),
        host_flags=("--hostname", "-H"),
        open_flags=(),
        port=3000,
    ),
    Framework(
        name="angular",
        title="Angular",
        type="angular",
        configs=("angular.json",),
        depends=("@angular/cli",),
        package="@angular/cli",
        program="ng",
        verb=("serve",),
        called=("ng serve", "ng dev", "ng s"),
        port_flags=("--port",),
        host_flags=("--host",),
        port=4200,
    ),
    Framework(
        name="vinxi",
        title="Vinxi (SolidStart 1)",
        type="vinxi",
        configs=("app.config",),
        depends=("vinxi",),
        package="vinxi",
        program="vinxi",
        called=("vinxi dev",),
        listen=("--port", "{port}"),
        env=(("HOST", "{host}"),),  # its --host takes no address, and makes it listen on all
        port=3000,
    ),
    Framework(
        name="gatsby",
        title="Gatsby",
        type="gatsby",
        configs=("gatsby-config",),
        depends=("gatsby",),
        package="gatsby",
        program="gatsby",
        verb=("develop",),
        called=("gatsby develop",),
        host_flags=("--host", "-H"),
        port=8000,
    ),
    Framework(
        name="remix-classic",
        title="Remix (classic compiler)",
        type="remix",
        configs=("remix.config",),
        package="@remix-run/dev",
        program="remix",
        called=("remix dev",),
        listen=(),
        env=(("PORT", "{port}"), ("HOST", "{host}")),
        port=3000,
    ),
    Framework(
        name="rsbuild",
        title="Rsbuild",
        type="rsbuild",
        configs=("rsbuild.config",),
        depends=("@rsbuild/core",),
        package="@rsbuild/core",
        program="rsbuild",
        called=("rsbuild", "rsbuild dev"),
        others=("build", "preview", "inspect"),
        host_flags=("--host",),
        port_flags=("--port",),
        port=3000,
    ),
    Framework(
        name="vue-cli",
        title="Vue CLI",
        type="vue-cli",
        configs=("vue.config",),
        depends=("@vue/cli-service",),
        package="@vue/cli-service",
        program="vue-cli-service",
        verb=("serve",),
        called=("vue-cli-service serve",),
        host_flags=("--host",),
        port_flags=("--port",),
        open_flags=("--open",),
        port=8080,
    ),
    Framework(
        name="react-scripts",
        title="Create React App",
        type="react-scripts",
        depends=("react-scripts",),
        package="react-scripts",
        program="react-scripts",
        verb=("start",),
        called=("react-scripts start",),
        listen=(),
        env=(("PORT", "{port}"), ("HOST", "{host}")),
        port=3000,
    ),
    Framework(
        name="parcel",
        title="Parcel",
        type="parcel",
        configs=(".parcelrc",),
        depends=("parcel",),
        package="parcel",
        program="parcel",
        verb=("serve",),
        called=("parcel", "parcel serve"),
        others=("build", "watch", "help"),
        host_flags=("--host",),
        port=1234,
    ),
    Framework(
        name="webpack",
        title="webpack-dev-server",
        type="webpack",
        depends=("webpack-dev-server",),
        package="webpack",
        program="webpack",
        verb=("serve",),
        called=("webpack serve", "webpack server", "webpack s", "webpack-dev-server"),
        others=("build", "bundle", "b", "watch", "w", "init", "info", "configtest", "help", "version"),
        listen=(*HERE, "--no-open"),  # it opens a browser even with BROWSER=none
        host_flags=("--host",),
        port_flags=("--port",),
        port=8080,
    ),
    Framework(
        name="trunk",
        title="Trunk",
        type="trunk",
        configs=("Trunk.toml",),
        program="trunk",
        verb=("serve",),
        called=("trunk serve",),
        listen=("--address", "{host}", "--port", "{port}"),
        host_flags=("--address", "-a"),
        port=8080,
    ),
    # ── Vite with plugins: its own command line starts them ──────────────────────────────────────────────────────────
    _on_vite("sveltekit", "SvelteKit", ("@sveltejs/kit",)),
    _on_vite(
        "react-router",
        "React Router",
        ("@react-router/dev",),
        configs=("react-router.config",),
        called=("react-router dev",),
    ),
    _on_vite("remix", "Remix", ("@remix-run/dev",), called=("remix vite:dev",)),
    _on_vite("tanstack-start", "TanStack Start", ("@tanstack/react-start", "@tanstack/solid-start")),
    _on_vite("qwik", "Qwik", ("@builder.io/qwik", "@qwik.dev/core")),
    _on_vite("solidstart", "SolidStart", ("@solidjs/start",)),
    _on_vite("vite", "Vite", ("vite",), configs=("vite.config",), called=("vite", "vite dev", "vite serve")),
)

SCRIPT = Framework(
    name="dev",
    title="a dev script that reads PORT",
    type="command",
    program="",
    verb=(),
    called=(),
    listen=(),
    env=(("PORT", "{port}"), ("HOST", "{host}")),
    reads="PORT",
    port=3000,
)
"""A server that is not in the table but takes its port from the environment. A shell runs its script unchanged."""


def _script(name: str, title: str, called: tuple[str, ...], port: int, listen: tuple[str, ...] = HERE) -> Framework:
    """Make the row of a server that a shell starts by its script, with ``listen`` in place of its own port and host."""
    return Framework(
        name=name,
        title=title,
        type="command",
        program="",
        verb=(),
        called=called,
        others=("build", "preview", "init"),
        listen=listen,
        host_flags=("--host", "-h", "-a", "--bind"),
        port=port,
    )


SCRIPTED = (
    _script("vitepress", "VitePress", ("vitepress", "vitepress dev"), 5173, (*HERE, "--strictPort")),
    _script("storybook", "Storybook", ("storybook dev",), 6006, (*HERE, "--exact-port", "--ci")),
    _script("docusaurus", "Docusaurus", ("docusaurus start",), 3000, (*HERE, "--no-open")),
    _script("rspack", "Rspack", ("rspack serve", "rspack dev"), 8080),
    _script("slidev", "Slidev", ("slidev",), 3030, ("--port", "{port}")),
    _script("eleventy", "Eleventy", ("eleventy --serve", "@11ty/eleventy --serve"), 8080, ("--port", "{port}")),
    _script("http-server", "http-server", ("http-server",), 8080, ("-a", "{host}", "-p", "{port}")),
)
"""Servers that only ``sidecar dev`` recognises. They have no ``type`` of their own: the service is a command with their
script."""

VITE = TABLE[-1]
BY_NAME = {row.name: row for row in TABLE}
BY_TYPE = {row.type: row for row in TABLE}
"""By a service's type. ``vite`` is plain Vite, because it is the last row with that type."""


CALLED = {words: row for row in TABLE for words in row.called}
PROGRAMS = {words.partition(" ")[0]: row for words, row in CALLED.items()}
"""The programs by which scripts start dev servers. Some of them can do other things, too."""
