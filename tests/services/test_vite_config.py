"""The port of a vite.config is read where it is a literal of the configuration itself, and nothing is taken for it."""

from __future__ import annotations

import pytest

from sidecar.services.vite_config import BYTES_MOST, LINE_MOST, PLACES_MOST, ServerPort, read_server_port

TAURI = """
import { defineConfig } from "vite";
// @ts-expect-error process is a nodejs global
const host = process.env.TAURI_DEV_HOST;
export default defineConfig(async () => ({
  plugins: [react()],
  clearScreen: false,
  server: {
    // 2. tauri expects a fixed port, not port: 9
    port: 1420,
    strictPort: true,
    host: host || false,
    hmr: host ? { protocol: "ws", host, port: 1421 } : undefined,
    watch: { ignored: ["**/src-tauri/**"] },
  },
}));
"""


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("export default { server: { port: 1420 } }", 1420),
        ("module.exports = { server: { port: 3 } }", 3),
        ("exports.default = { server: { port: 3 } }", 3),
        ("export default defineConfig({ base: '/', server: { host: true, port: 4_000, }, })", 4000),
        ("export default defineConfig(({ mode }) => { const x = 1; return { server: { port: 5 } } })", 5),
        ("export default (env) => ({ 'server': { \"port\": 6 } })", 6),
        ("export default async function () { return { server: { port: 6 } } }", 6),
        ("const config: UserConfig = { server: { port: 7 } }\nexport default config", 7),
        ("const config = defineConfig({ server: { port: 8 } })\nexport default config", 8),
        ("export default { server: { port: 9 } } satisfies UserConfig", 9),
        ("export default <UserConfig>{ server: { port: 10 } }", 10),
        ("export default mergeConfig(base, defineConfig({ server: { port: 11 } }))", 11),
        ("export default { server: { ...base, port: 12 } }", 12),
        ("export default { server: { /* port: 1 */ port: 13 /* , port: 2 */ } }", 13),
        ("export default { x: 'server: {port: 1}', y: `server: {port: 2}`, server: { port: 14 } }", 14),
        ("export default { x: /[/{]server: {port: 1}/g, y: 4 / 2, server: { port: 15 } }", 15),
        ("export default { plugins: [proxy({ server: { port: 1 } })], server: { port: 16 } }", 16),
        ("export default { preview: { port: 1 }, server: { hmr: { port: 2 }, port: 17 } }", 17),
        ("if (a) { b() } else if (c) {}\nexport default { server: { port: 18 } }", 18),
    ],
)
def test_a_literal_port_of_the_configuration_is_read(text: str, port: int) -> None:
    assert read_server_port(text) == ServerPort(port)


def test_tauris_own_template_asks_for_its_port_and_no_other() -> None:
    assert read_server_port(TAURI) == ServerPort(1420, strict=True)


@pytest.mark.parametrize(
    "text",
    [
        "export default { server: { port } }",
        "export default { server: { port: Number(process.env.PORT) || 3000 } }",
        "export default { server: { port: 3000 + 1 } }",
        "export default { server: { port: '3000' } }",
        "export default { server: { port: 0x10 } }",
        "export default { server: { port: 70000 } }",
        "export default { server: { ...shared } }",
        "export default { server }",
        "export default { server: shared }",
        "export default (e) => { if (e) { return { server: { port: 1 } } } return { server: { port: 2 } } }",
    ],
)
def test_what_only_running_it_would_tell_is_passed_over_and_said(text: str) -> None:
    assert read_server_port(text) == ServerPort(passed_over=True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "server",
        "export default {}",
        "export default { server: { https: true } }",
        "export default { test: { server: { port: 1 } } }",
        "export default { plugins: [mock({ server: { port: 1 } })] }",
        "const other = { server: { port: 1 } }; export default { plugins: [] }",
        "// server: { port: 1 }",
        "export default { preview: { port: 4173, strictPort: true } }",
        "export default { server: { strictPort: true } }",
        "export default { server: { port: Number(process.env['VITE_DEV_PORT'] ?? 5173), strictPort: true } }",
        "export default { server: { port: +process.env.VITE_DEV_PORT } }",
        "\x00\xff }}} ((( server: { port: 1",
        "x server: {",
    ],
)
def test_where_nothing_is_said_of_the_port_nothing_is_read(text: str) -> None:
    assert read_server_port(text) == ServerPort()


def test_a_text_that_only_opens_is_read_in_a_moment() -> None:
    assert read_server_port("{server:" * 2_000) == ServerPort(passed_over=True)
    assert read_server_port("{server:\n" * PLACES_MOST) == ServerPort()


@pytest.mark.parametrize(
    "text",
    [
        "export default { server: { port: 1 } } // " + "x" * LINE_MOST,
        "export default { server: { port: 1 } }\n" + "x\n" * BYTES_MOST,
        "export default { server: { port: 1 } }\n" + "x({ server: 1 })\n" * PLACES_MOST,
        f"export default {{ server: {{ port: 1{'0' * 3_000} }} }}",
    ],
    ids=["a long line", "a long file", "many servers", "many digits"],
)
def test_a_configuration_that_nobody_wrote_is_passed_over(text: str) -> None:
    assert read_server_port(text) == ServerPort(passed_over=True)


@pytest.mark.parametrize(
    "text", ["/* " * 300_000, "(/[" * 20_000, "{server:{port:1}}," * 50_000, "x={server:{" * 90_000]
)
def test_a_hostile_text_is_read_in_a_moment(text: str) -> None:
    """Each took minutes, in which a supervisor would have served nobody. pytest's own bound ends a test that hangs."""
    assert read_server_port(text).port is None


def test_a_port_with_too_many_digits_is_none() -> None:
    assert read_server_port("export default { server: { port: " + "9" * 5_000 + " } }") == ServerPort(passed_over=True)
