// A fresh Debian in a folder: made by mmdebstrap, entered by chroot. What is mounted in it is so in this process's mount namespace
// alone (`run` makes one).
import { execFileSync, spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";

// Why none can be had, or null when it is there.
export function makeRoot(suite, root) {
  const made = spawnSync("mmdebstrap", ["--quiet", "--mode=root", "--variant=minbase", "--dpkgopt=force-unsafe-io", "--skip=cleanup/apt/lists", "--include=ca-certificates", suite, root],
    { encoding: "utf8" });
  if (made.error) return `mmdebstrap: ${made.error.message}`;
  if (made.status !== 0) return made.stderr.trim().split("\n").at(-1);
  for (const [kind, from] of [["proc", "proc"], ["--rbind", "/dev"]]) {
    const to = path.join(root, path.basename(from));
    execFileSync("mount", kind === "proc" ? ["-t", "proc", "proc", to] : [kind, from, to]);
  }
  fs.copyFileSync("/etc/resolv.conf", path.join(root, "etc/resolv.conf"));
  return null;
}

// Runs a command in it; its output, all of it in the error if it fails.
export function inRoot(root, ...command) {
  const done = spawnSync("chroot", [root, "/usr/bin/env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8", "HOME=/root", ...command],
    { encoding: "utf8", maxBuffer: 1 << 26 });
  if (done.status !== 0) throw new Error(`${command.join(" ")}: ${done.status}\n${done.stdout}${done.stderr}`);
  return done.stdout + done.stderr;
}

// Another version of a package: the same files.
export function repack(deb, version, folder) {
  const tree = path.join(folder, "repacked");
  fs.rmSync(tree, { recursive: true, force: true });
  execFileSync("dpkg-deb", ["-R", deb, tree]);
  const control = path.join(tree, "DEBIAN/control");
  fs.writeFileSync(control, fs.readFileSync(control, "utf8").replace(/^Version: .*/m, `Version: ${version}`));
  const out = path.join(folder, `mayfly_${version}.deb`);
  execFileSync("dpkg-deb", ["--root-owner-group", "-b", tree, out]);
  return out;
}
