// `mayflyctl console` as a server: what it prints, whom it serves, and how it ends. The page itself is in page.test.mjs.
import test from "node:test";
import assert from "node:assert/strict";
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import { once } from "node:events";
import { spawnSync } from "node:child_process";
import { createInterface } from "node:readline";
import { spawn } from "../../lib/child.mjs";
import { config, ctl, dir, makeStores, mayflyctl, plainEnv, writeConfig } from "../ctl/setup.mjs";

writeConfig();
makeStores();

// Starts it; { url, child, ended, lines }.
async function start(t, args = [], file = config) {
  const child = spawn(mayflyctl, ["--config", file, "console", "--json", ...args], { env: plainEnv, stdio: ["ignore", "pipe", "pipe"] });
  const ended = once(child, "exit");
  t.after(async () => { child.kill("SIGKILL"); await ended; });
  const first = await new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).once("line", (line) => resolve(JSON.parse(line)));
    child.stderr.once("data", (text) => reject(new Error(String(text))));
  });
  return { ...first, child, ended };
}

// fetch() may not set Host.
const ask = (url, { method = "GET", headers = {}, socketPath } = {}) => new Promise((resolve, reject) => {
  const { hostname, port, pathname, search } = new URL(url);
  const request = http.request({ ...(socketPath ? { socketPath } : { host: hostname, port }), path: pathname + search, method, headers }, (response) => {
    let body = "";
    response.on("data", (bytes) => { body += bytes; });
    response.on("end", () => resolve({ status: response.statusCode, headers: response.headers, body }));
  });
  request.on("error", reject).end();
});

// Events of the stream until wanted(name, data).
async function event(url, wanted, headers = {}) {
  const stop = new AbortController();
  const response = await fetch(`${url}api/stream`, { headers, signal: stop.signal });
  assert.equal(response.status, 200);
  const reader = response.body.getReader();
  for (let text = ""; ;) {
    const { value, done } = await reader.read();
    assert.ok(!done, "the stream ended");
    text += Buffer.from(value);
    const found = [...text.matchAll(/event: (\w+)\ndata: (.*)\n\n/g)].map(([, name, data]) => [name, JSON.parse(data)]).find(([name, data]) => wanted(name, data));
    if (found) { stop.abort(); return found[1]; }
  }
}

test("on_loopback_it_needs_no_token_and_shows_what_the_commands_do", async (t) => {
  const { url, token_is_needed: needsToken, child, ended } = await start(t, ["--listen", "127.0.0.1:0"]);
  assert.match(url, /^http:\/\/127\.0\.0\.1:\d+\/$/);
  assert.equal(needsToken, false);
  const page = await ask(url);
  assert.match(page.body, /<!DOCTYPE html>/);
  assert.doesNotMatch(page.body, /<script>|<style|style=|onclick|https?:/); // nothing inline, nothing from elsewhere
  for (const [, file] of page.body.matchAll(/(?:src|href)="(\/[^"]+)"/g)) assert.equal((await ask(new URL(file, url))).status, 200, file);
  for (const [route, args] of [["jobs", ["jobs"]], ["vms", ["vms"]], ["hosts", ["hosts"]], ["workers", ["workers"]], ["circuits", ["circuits"]], ["dlq", ["dlq", "list"]], ["classes", ["classes"]]]) {
    assert.deepEqual(JSON.parse((await ask(`${url}api/${route}`)).body), JSON.parse(ctl(["--config", config, "--json", ...args]).stdout), route);
  }
  const snapshot = await event(url, (name) => name === "snapshot");
  assert.equal(snapshot.status.deployment, "box");
  assert.equal(snapshot.github, "https://github.com");
  assert.equal(snapshot.viewers, 1);
  child.kill("SIGTERM");
  assert.deepEqual(await ended, [0, null]);
});

test("another_hosts_name_another_method_and_a_page_of_another_site_are_refused", async (t) => {
  const { url } = await start(t, ["--listen", "127.0.0.1:0", "--host", "fleet.acme.example"]);
  const status = async (path, options) => (await ask(`${url}${path}`, options)).status;
  assert.equal(await status("", { headers: { host: "evil.example" } }), 421);
  assert.equal(await status("api/jobs", { headers: { host: "evil.example" } }), 421);
  assert.equal(await status("api/jobs", { headers: { host: "Fleet.acme.example" } }), 200);
  assert.equal(await status("api/jobs", { headers: { host: "localhost:9999" } }), 200);
  assert.equal(await status("api/jobs", { method: "POST" }), 405);
  assert.equal(await status("api/jobs", { method: "OPTIONS" }), 405);
  assert.equal(await status("api/jobs", { headers: { "sec-fetch-site": "cross-site" } }), 403);
  assert.equal(await status("api/pause?class=small"), 404);
  assert.equal(await status("../../etc/passwd"), 404);
});

test("elsewhere_than_on_loopback_it_needs_a_token_which_is_in_the_urls_fragment", async (t) => {
  const { url, token_is_needed: needsToken } = await start(t, ["--listen", "0.0.0.0:0"]);
  const [, page, token] = /^(http:\/\/127\.0\.0\.1:\d+\/)#token=([0-9a-f]{32})$/.exec(url);
  assert.equal(needsToken, true);
  assert.equal((await ask(page)).status, 200);
  assert.equal((await ask(`${page}api/jobs`)).status, 401);
  assert.equal((await ask(`${page}api/stream`)).status, 401);
  assert.equal((await ask(`${page}api/jobs`, { headers: { authorization: `Bearer ${token.replace(/.$/, (c) => (c === "0" ? "1" : "0"))}` } })).status, 401);
  assert.equal((await ask(`${page}api/jobs`, { headers: { authorization: `Bearer ${token}` } })).status, 200);
});

test("a_token_file_is_needed_on_loopback_too_and_is_not_printed", async (t) => {
  const file = path.join(dir, "token");
  fs.writeFileSync(file, "correct-horse-battery\n");
  const { url } = await start(t, ["--listen", "127.0.0.1:0", "--token-file", file]);
  assert.doesNotMatch(url, /token/);
  assert.equal((await ask(`${url}api/jobs`)).status, 401);
  assert.equal((await ask(`${url}api/jobs`, { headers: { authorization: "Bearer correct-horse-battery" } })).status, 200);
  fs.writeFileSync(file, "short");
  const r = spawnSync(mayflyctl, ["--config", config, "console", "--listen", "127.0.0.1:0", "--token-file", file], { encoding: "utf8", env: plainEnv, timeout: 30000 });
  assert.equal(r.status, 2);
  assert.match(r.stderr, /--token-file .*: the token must have 16 to 256 characters/);
});

test("a_limit_that_is_reached_is_counted_and_its_metrics_are_the_consoles_own", async (t) => {
  const { url } = await start(t, ["--listen", "127.0.0.1:0"]);
  const metrics = async () => Object.fromEntries([...(await ask(`${url}metrics`)).body.matchAll(/^mayfly_console_(\S+) (\d+)$/gm)].map(([, name, value]) => [name, Number(value)]));
  const reached = (limit) => `limits_reached_total{limit="${limit}"}`;
  const before = await metrics();
  assert.equal(before.viewers, 0);
  assert.deepEqual(["connections", "head", "requests", "response", "response_time", "snapshot", "stalled", "unread", "viewers"].map((limit) => before[reached(limit)]), Array(9).fill(0));
  const stop = new AbortController();
  const look = () => fetch(`${url}api/stream`, { signal: stop.signal });
  const looks = await Promise.all(Array.from({ length: 32 }, look));
  assert.ok(looks.every(({ status }) => status === 200));
  assert.equal((await look()).status, 503);
  assert.equal((await ask(`${url}api/jobs?class=${"x".repeat(1024)}`)).status, 414);
  const after = await metrics();
  assert.deepEqual([after.viewers, after[reached("viewers")], after[reached("head")]], [32, 1, 1]);
  stop.abort();
});

test("a_unix_socket_is_for_its_owner_and_group_and_is_removed_at_the_end", async (t) => {
  const socketPath = path.join(dir, "console.sock");
  const { url, child, ended } = await start(t, ["--listen", `unix:${socketPath}`]);
  assert.equal(url, `unix:${socketPath}`);
  assert.equal(fs.statSync(socketPath).mode & 0o777, 0o660);
  assert.equal((await ask("http://localhost/api/jobs", { socketPath })).status, 200);
  assert.equal((await ask("http://localhost/api/jobs", { socketPath, headers: { host: "evil.example" } })).status, 421);
  child.kill("SIGINT");
  assert.deepEqual(await ended, [0, null]);
  assert.equal(fs.existsSync(socketPath), false);
});

test("stores_that_are_away_are_an_event_and_it_goes_on_when_they_are_back", async (t) => {
  const own = path.join(dir, "away.yaml");
  const store = fs.mkdtempSync(path.join(dir, "away-"));
  writeConfig({ queue: `sqlite://${store}/queue.db`, ledger: `sqlite://${store}/ledger.db` }, own);
  const { url } = await start(t, ["--listen", "127.0.0.1:0", "--every", "250ms"], own);
  const trouble = await event(url, (name) => name === "trouble");
  assert.ok(["queue", "ledger"].includes(trouble.subject) && trouble.action && trouble.since, JSON.stringify(trouble));
  const answer = await ask(`${url}api/jobs`);
  assert.ok(answer.status >= 400 && JSON.parse(answer.body).error, answer.body);
  for (const name of ["queue.db", "ledger.db"]) fs.copyFileSync(path.join(dir, name), path.join(store, name));
  await event(url, (name) => name === "snapshot");
  assert.equal((await ask(`${url}api/jobs`)).status, 200);
});

test("what_cannot_be_served_is_an_error_of_the_command_line", () => {
  for (const [args, words] of [[["--listen", "nowhere"], /--listen/], [["--host", "a b"], /--host/], [["--every", "1ms"], /--every/], [["--token-file", "/nowhere"], /nowhere/]]) {
    const r = spawnSync(mayflyctl, ["--config", config, "console", "--listen", "127.0.0.1:0", ...args], { encoding: "utf8", env: plainEnv, timeout: 30000 });
    assert.equal(r.status, 2, args.join(" "));
    assert.match(r.stderr, words);
  }
});
