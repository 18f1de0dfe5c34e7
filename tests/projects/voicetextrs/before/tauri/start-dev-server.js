// Looks for a free port, tells it to Vite's configuration and to the app by a file, and starts Vite there.
const { spawn, exec } = require("child_process");
const fs = require("fs");
const net = require("net");
const path = require("path");

const PORT_FILE = path.join(__dirname, ".vite-port");
const FIRST_PORT = 1420;

function isFree(port) {
  return new Promise((resolve) => {
    const probe = net.createServer();
    probe.once("error", () => resolve(false));
    probe.once("listening", () => probe.close(() => resolve(true)));
    probe.listen(port, "127.0.0.1");
  });
}

async function main() {
  let port = FIRST_PORT;
  while (!(await isFree(port))) {
    console.log(`Port ${port} is taken, trying ${port + 1}`);
    port += 1;
  }
  fs.writeFileSync(PORT_FILE, String(port));

  const vite = spawn(`npx vite --port ${port}`, { cwd: __dirname, shell: true, stdio: "inherit" });
  vite.on("exit", (code) => process.exit(code ?? 0));

  for (const signal of ["SIGINT", "SIGTERM"]) {
    process.on(signal, () => {
      vite.kill();
      if (process.platform === "win32") {
        exec("taskkill /F /IM node.exe");
      }
      if (fs.existsSync(PORT_FILE)) {
        fs.unlinkSync(PORT_FILE);
      }
      process.exit(0);
    });
  }
}

main();
