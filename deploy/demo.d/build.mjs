// From the source to what the demo runs: the programs, the VM image, what the stand-in for GitHub needs from npm.
import fs from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import { spawn } from "../../tests/lib/child.mjs";

const running = new Set();

// A command in a process group of its own, so that one signal ends it with its compilers. Its output goes into a file of its own, the
// end of which is the error if it fails.
function run(name, command, args, { cwd, each = () => {}, root }) {
  const file = path.join(root, "build", `demo-${name}.log`);
  const log = fs.createWriteStream(file);
  const child = spawn(command, args, { cwd: cwd ?? root, detached: true, stdio: ["ignore", "pipe", "pipe"] });
  running.add(child);
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on("line", (line) => { log.write(`${line}\n`); each(line); });
  }
  return new Promise((resolve, reject) => {
    const end = (why) => {
      running.delete(child);
      log.end(() => {
        if (why === 0) return resolve();
        const tail = fs.readFileSync(file, "utf8").trimEnd().split("\n").slice(-40).join("\n");
        return reject(new Error(`${path.basename(command)} ${args.join(" ")} failed (${why}); all of it is in ${file}:\n${tail}`));
      });
    };
    child.once("error", (error) => end(error.message));
    child.once("close", (code, signal) => end(code ?? signal));
  });
}

// Ends what runs; a compiler or the image's builder removes its own temporary files.
export async function stopBuilding() {
  const ended = [...running].map((child) => new Promise((resolve) => { child.once("close", resolve); }));
  const signal = (name) => { for (const child of running) { try { process.kill(-child.pid, name); } catch { /* it has ended */ } } };
  signal("SIGTERM");
  const hard = setTimeout(() => signal("SIGKILL"), 5000);
  await Promise.all(ended);
  clearTimeout(hard);
}

// Whether the image is newer than all that it is made of here; a newer kernel alone makes no new one.
function isNew(image, dir, root) {
  const changed = (name) => fs.statSync(name).mtimeMs;
  const scripts = path.join(root, "deploy/image");
  const parts = ["build-demo-image", "lib.sh", "versions.sh", "standin/run.sh", "standin/run-helper.sh"].map((name) => path.join(scripts, name))
    .concat(["agent/mayfly-agent", "standin/Runner.Listener"].map((name) => path.join(dir, "deploy/image", name)));
  const made = path.join(image, "disk.qcow2");
  return fs.existsSync(made) && parts.filter((name) => fs.existsSync(name)).every((name) => changed(name) < changed(made));
}

const AGENT = ["mayfly-agent", "standin-listener"];
const PROGRAMS = ["mayfly-ingress", "mayfly-worker", "mayfly-reaper", "mayflyctl"];

// npm and the image run beside the compilers; the image as soon as the agent is there, which is small.
export async function build(screen, root) {
  const dir = path.join(root, "build/release");
  const image = path.join(root, "build/demo-image");
  const fakes = path.join(root, "tests/fakes");
  fs.mkdirSync(path.join(root, "build"), { recursive: true });
  const now = {};
  const progress = (what, text) => { now[what] = text; screen.progress(Object.values(now).filter(Boolean).join("; ")); };
  const compile = async (name, targets) => {
    await run(name, "cmake", ["--build", "--preset", "release", "--target", ...targets], { root, each: (line) => {
      const [, at, of] = line.match(/^\[(\d+)\/(\d+)\]/) ?? [];
      if (of) progress("build", `${at} of ${of} files compiled and linked`);
    } });
    progress("build", "");
  };
  // npm writes this file last.
  const npm = async () => {
    if (fs.existsSync(path.join(fakes, "node_modules/.package-lock.json"))) return;
    await run("npm", "npm", ["ci", "--omit=dev", "--no-audit", "--no-fund", "--loglevel=error"], { root, cwd: fakes });
  };
  const makeImage = async () => {
    if (isNew(image, dir, root)) { screen.say("3/5 image: that of the last run, of the same agent"); return; }
    screen.say("3/5 image: Debian's kernel, busybox, the agent and a stand-in for GitHub's runner");
    await run("image", path.join(root, "deploy/image/build-demo-image"), ["--agent", path.join(dir, "deploy/image/agent/mayfly-agent"), "--output", image],
      { root, each: (line) => progress("image", line) });
    progress("image", "");
  };
  const programs = async () => {
    progress("build", "cmake looks for compiler and libraries");
    await run("configure", "cmake", ["--preset", "release"], { root });
    await compile("build-agent", AGENT);
    await Promise.all([compile("build", PROGRAMS), makeImage()]);
  };
  screen.say("2/5 build: the programs, with cmake --preset release");
  await Promise.all([programs(), npm()]);
  screen.paint([]);
  return { bin: dir, image };
}
