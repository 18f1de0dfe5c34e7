// A real Vite as a hostile tree: it connects to the roll call as trees.py does (see there), and its plugin's helper
// ignores signals and leaves a daemon. With ROLL_DECOY set, the same command line is a decoy and starts no server.
import { spawn } from "node:child_process";
import { connect, createServer } from "node:net";

const { ROLL_CALL, ROLL_DEADLINE, ROLL_DECOY, ROLL_HELPER, ROLL_MOMENT } = process.env;
const never = new Promise(() => {});

// No other process has this connection: node passes no descriptors to children unless told to.
function enroll(words) {
  const roll = connect({ path: `\0${ROLL_CALL}` });
  roll.on("error", () => process.exit()).on("close", () => process.exit());
  roll.on("data", (word) => roll.write(word));
  roll.write(`${words}\n`);
  setTimeout(() => process.exit(), Math.max(1, 1000 * ROLL_DEADLINE - Number(process.hrtime.bigint() / 1_000_000n)));
}

if (ROLL_DECOY) {
  createServer().listen(0, "127.0.0.1");
  enroll("decoy decoy");
  await never;
}
enroll("vite server");
const [program, ...words] = JSON.parse(ROLL_HELPER);
spawn(program, words, { stdio: "ignore" });

export default {
  clearScreen: false,
  optimizeDeps: { noDiscovery: true }, // bundling unused packages would slow every cell
  plugins: [
    {
      name: "test",
      configureServer: () => (ROLL_MOMENT === "starting" ? never : undefined), // it never listens
      buildEnd: () => (ROLL_MOMENT === "stopping" ? never : undefined), // after SIGTERM it never finishes
    },
  ],
};
