// What the tests of mayflyctl share: a folder with a configuration of two SQLite files, and calls of the real program.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../..");
export const bin = process.env.MAYFLY_BUILD ?? path.join(root, "build/dev");
export const mayflyctl = path.join(bin, "deploy/ctl/mayflyctl");
export const dir = fs.mkdtempSync(path.join(os.tmpdir(), "mayfly-ctl-"));
process.on("exit", () => fs.rmSync(dir, { recursive: true, force: true }));
export const config = path.join(dir, "mayfly.yaml");
export const plainEnv = { PATH: process.env.PATH, HOME: dir, TERM: "xterm" };

export function writeConfig(changes = {}, file = config) {
  fs.writeFileSync(file, JSON.stringify({
    deployment: "box", queue: `sqlite://${dir}/queue.db`, ledger: `sqlite://${dir}/ledger.db`, state_dir: dir,
    github: { token: "ghp_" + "a".repeat(36), webhook_secrets: ["a-long-secret"] },
    limits: { max_vms: 10 },
    classes: [{ name: "small", labels: ["self-hosted", "linux", "x64", "microvm"], required_labels: ["microvm"], provider: "qemu", max_vms: 8, qemu: { image: "/var/lib/mayfly/image" } }],
    ...changes,
  }, null, 1));
}

// Returns { status, stdout, stderr }.
export const ctl = (args, { env = {}, ...more } = {}) =>
  spawnSync(mayflyctl, args, { encoding: "utf8", timeout: 60000, env: { ...plainEnv, ...env }, ...more });
// The stores, made by the start of a worker, which then ends: the image of its class is missing. `as`: words before the command.
export function makeStores(file = config, as = []) {
  const own = `${file}.worker`;
  const read = JSON.parse(fs.readFileSync(file));
  fs.writeFileSync(own, JSON.stringify({ ...read, worker: { admin_listen: "127.0.0.1:0" }, classes: read.classes.map((c) => ({ ...c, qemu: { image: "/nowhere" } })) }), { mode: 0o644 });
  const [command, ...args] = [...as, path.join(bin, "worker/mayfly-worker"), "--config", own];
  const made = spawnSync(command, args, { encoding: "utf8", env: plainEnv, timeout: 60000 });
  fs.rmSync(own);
  return made;
}
