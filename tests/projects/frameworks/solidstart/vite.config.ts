import { defineConfig } from "vite"; import { solidStart } from "@solidjs/start/config"; export default defineConfig({ plugins: [solidStart()] })
