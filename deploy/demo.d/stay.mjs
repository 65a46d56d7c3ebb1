// deploy/demo --stay: everything runs on, and what is typed runs as a job.
import path from "node:path";
import { Program } from "../../tests/integration/lib/deployment.mjs";
import { sleep } from "../../tests/lib/wait.mjs";

const LINE_MAX = 1000; // characters of a command

// The URL of the fleet's page.
export async function startConsole(deployment) {
  const console = new Program("console", deployment.program("mayflyctl"),
    ["--config", deployment.configFile, "--json", "console", "--listen", "127.0.0.1:0"], { logFile: path.join(deployment.dir, "console.log") });
  deployment.programs.push(console);
  deployment.consoleUrl = (await console.waitFor((e) => e.url)).url;
  return deployment.consoleUrl;
}

function guide(deployment, screen, root) {
  const ctl = path.relative(process.cwd(), deployment.program("mayflyctl")) || path.join(root, "mayflyctl");
  const body = '{"repo": "acme/app", "labels": ["self-hosted", "microvm"], "command": "uname -a"}';
  const typed = process.stdin.isTTY && screen.live ? "type a shell command here and press Enter; or from elsewhere:\n                 " : "";
  screen.print(`
Everything runs on until Ctrl-C, which ends and removes it.
  console        ${deployment.consoleUrl} in a browser of this machine
  configuration  ${deployment.configFile} (the logs are beside it)
  a job          ${typed}curl -d '${body}' ${deployment.url}/_fake/jobs
  commands       alias mayflyctl='${path.resolve(ctl)} --config ${deployment.configFile}'
                 mayflyctl status            the fleet at a glance; --watch: all the time
                 mayflyctl why JOB           why a job waits, or what became of it; JOB is its id
                 mayflyctl vms               VMs, and the jobs they run
                 mayflyctl pause small       launch no VMs; mayflyctl resume small
                 mayflyctl help              all others
`);
}

// A line that is edited in raw mode, since the table above it is drawn again and again.
function typing(onLine, onInterrupt) {
  const line = { text: "" };
  if (!process.stdin.isTTY) return line;
  process.stdin.setRawMode(true);
  process.stdin.setEncoding("utf8");
  process.stdin.on("data", (keys) => {
    if (keys.startsWith("\x1b")) return; // arrows and the like
    for (const key of keys) {
      if (key === "\x03" || key === "\x04") onInterrupt();
      else if (key === "\r" || key === "\n") { if (line.text.trim()) onLine(line.text); line.text = ""; }
      else if (key === "\x7f" || key === "\b") line.text = line.text.slice(0, -1);
      else if (key === "\x15") line.text = "";
      else if (key >= " " && line.text.length < LINE_MAX) line.text += key;
    }
  });
  return line;
}

export async function stay(deployment, screen, fleet, root) {
  guide(deployment, screen, root);
  const shown = new Set([...fleet.jobs.keys()]);
  const line = typing(
    (command) => deployment.queueJobs({ command, name: "typed" }).catch((error) => screen.say(error.message)),
    () => process.kill(process.pid, "SIGINT"));
  for (;;) {
    fleet.follow(process.stdin.isTTY && screen.live ? ["", `  a job> ${line.text}`] : []);
    for (const job of fleet.jobs.values()) {
      if (job.ended === undefined || shown.has(job.id)) continue;
      shown.add(job.id);
      const { output } = await deployment.job(job.id);
      for (const text of (output ?? "").trimEnd().split("\n")) screen.say(`    job ${job.n}: ${text}`);
    }
    const dead = deployment.programs.find((p) => p.result && p.result.signal !== "SIGKILL");
    if (dead) throw new Error(`${dead.name} has ended`);
    await sleep(150);
  }
}
