// `mayflyctl app create`, `check` and `hook` against the stand-in for GitHub: the whole way of a new App, by plain requests and by Chromium, and what must not
// happen on the way.
import test from "node:test";
import assert from "node:assert/strict";
import crypto from "node:crypto";
import fs from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { browse, chromium } from "../../lib/chromium.mjs";
import { spawn } from "../../lib/child.mjs";
import { launch, temporary } from "../../fakes/lib/testing.mjs";
import { ctl, mayflyctl, plainEnv, root } from "./setup.mjs";

const fake = (name) => fileURLToPath(new URL(`../../fakes/${name}/main.mjs`, import.meta.url));
const HOOK = "http://127.0.0.1:9/webhook";
const FILES = ["app-id", "app.pem", "webhook-secret"];

// Starts the command; `url` is its page's, `ended` resolves with { status, stdout, stderr }.
async function create(t, api, args, env = {}) {
  const child = spawn(mayflyctl, ["app", "create", "--organization", "acme", "--webhook-url", HOOK, "--api-url", api, "--no-browser", ...args], { stdio: ["ignore", "pipe", "pipe"], env: { ...plainEnv, ...env } });
  t.after(() => child.kill("SIGKILL"));
  const out = { stdout: "", stderr: "" };
  const ended = new Promise((resolve) => child.once("close", (code, signal) => resolve({ status: code ?? signal, ...out })));
  child.stdout.on("data", (text) => { out.stdout += text; });
  const url = await new Promise((resolve, reject) => {
    child.stderr.on("data", (text) => {
      out.stderr += text;
      const found = /^ {4}(http:\S+)$/m.exec(out.stderr);
      if (found && out.stderr.includes("Waiting")) resolve(found[1]);
    });
    ended.then((result) => reject(new Error(`ended: ${JSON.stringify(result)}`)));
  });
  return { url, origin: new URL(url).origin, ended, kill: (signal) => child.kill(signal), out };
}

// What a browser does with a form: { action, fields }.
function formOf(page) {
  const decode = (text) => text.replaceAll("&quot;", '"').replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
  return {
    action: decode(/<form method="post" action="([^"]*)"/.exec(page)[1]),
    fields: Object.fromEntries([...page.matchAll(/<input type="hidden" name="(\w+)" value="([^"]*)"/g)].map(([, name, value]) => [name, decode(value)])),
  };
}

// The way of a person up to GitHub's return: { back, cookie, manifest }. Nothing has returned yet.
async function untilReturn(command) {
  const first = await fetch(command.url);
  assert.equal(first.status, 200);
  const cookie = first.headers.get("set-cookie").split(";")[0];
  const mine = formOf(await first.text());
  const second = await fetch(mine.action, { method: "POST", body: new URLSearchParams(mine.fields) });
  const page = await second.text();
  assert.equal(second.status, 200, page);
  const theirs = formOf(page);
  const created = await fetch(new URL(theirs.action, mine.action), { method: "POST", redirect: "manual", body: new URLSearchParams(theirs.fields) });
  return { back: created.headers.get("location"), cookie, manifest: JSON.parse(mine.fields.manifest), headers: first.headers };
}

const github = (t) => launch(t, fake("github"), "--port", "0", "--org", "acme");

function checkFiles(folder) {
  for (const name of FILES) assert.equal(fs.statSync(path.join(folder, name)).mode & 0o7777, 0o600, name);
  assert.deepEqual(fs.readdirSync(folder).sort(), FILES);
  crypto.createPrivateKey(fs.readFileSync(path.join(folder, "app.pem")));
  assert.match(fs.readFileSync(path.join(folder, "app-id"), "utf8"), /^\d+$/);
  assert.match(fs.readFileSync(path.join(folder, "webhook-secret"), "utf8"), /^[0-9a-f]{40}$/);
}

// The configuration that the command prints, in a file beside them.
function writeConfig(folder, api, stdout) {
  const lines = stdout.split("\n").filter((line) => line.startsWith("   ") && !line.includes("systemd")).map((line) => line.slice(3));
  const file = path.join(folder, "..", `${path.basename(folder)}.yaml`);
  fs.writeFileSync(file, `queue: sqlite:///nowhere/q.db\nledger: sqlite:///nowhere/l.db\nclasses: [{name: small, labels: [x], qemu: {image: /i}}]\n${lines.join("\n")}\n`);
  assert.match(fs.readFileSync(file, "utf8"), new RegExp(`api_url: ${api}`));
  return file;
}

test("an_app_is_created_checked_and_its_hook_moved", async (t) => {
  const gh = await github(t);
  const folder = path.join(temporary(t), "new");
  const command = await create(t, gh.url, ["--output", folder]);
  const { back, cookie, manifest, headers } = await untilReturn(command);
  assert.match(headers.get("content-security-policy"), /^default-src 'none'; style-src 'nonce-[0-9a-f]+'; base-uri 'none'; frame-ancestors 'none'$/);
  assert.match(headers.get("set-cookie"), /HttpOnly; SameSite=Lax$/);
  assert.equal(manifest.hook_attributes.url, HOOK);
  const last = await fetch(back, { headers: { cookie } });
  assert.equal(last.status, 200);
  assert.match(await last.text(), /The App is created/);
  const { status, stdout, stderr } = await command.ended;
  assert.equal(status, 0, stderr);
  checkFiles(folder);
  assert.match(stdout, new RegExp(`${gh.url}/apps/mayfly-acme/installations/new`));
  const secrets = FILES.slice(1).map((name) => fs.readFileSync(path.join(folder, name), "utf8"));
  for (const secret of secrets) assert.ok(!(stdout + stderr).includes(secret.slice(0, 40)) && !(stdout + stderr).includes(secret));

  const config = writeConfig(folder, gh.url, stdout);
  const checked = ctl(["app", "check", "--config", config, "--webhook-url", HOOK]);
  assert.match(checked.stdout, /^ok {4}github: GET \/app: the App mayfly-acme has 1 installation/m);
  assert.match(checked.stdout, /^ok {4}github: GET \/app: permission Self-hosted runners \(organization\) is write, needed is write$/m);
  assert.match(checked.stdout, /^ok {4}github: GET \/app\/installations: acme \(organization\), with all permissions$/m);
  assert.match(checked.stdout, /^ok {4}github: GET \/app: the App is subscribed to workflow_job$/m);
  assert.match(checked.stdout, /^ok {4}github: runner groups: Default of acme /m);
  assert.match(checked.stdout, /^ok {4}github: webhook's settings: the URL is http:\/\/127\.0\.0\.1:9\/webhook, bodies are json$/m);
  assert.match(checked.stdout, /^warn {2}github: last deliveries: there is none/m);
  assert.equal(checked.status, 0, checked.stdout);

  const other = "https://m.example/webhook";
  assert.match(ctl(["app", "check", "--config", config, "--webhook-url", other]).stdout, /^FAIL {2}github: webhook's settings: the URL is http:\/\/127\.0\.0\.1:9\/webhook, not https:\/\/m\.example\/webhook: mayflyctl app hook URL sets it$/m);
  const moved = ctl(["app", "hook", other, "--config", config]);
  assert.equal(moved.status, 0, moved.stderr);
  assert.match(ctl(["app", "check", "--config", config, "--webhook-url", other]).stdout, /^ok {4}github: webhook's settings: the URL is https:\/\/m\.example\/webhook/m);
});

test("docs_list_what_the_manifest_asks_for", async (t) => {
  const gh = await github(t);
  const text = fs.readFileSync(path.join(root, "deploy/docs/operations.md"), "utf8");
  const titles = { organization_self_hosted_runners: "Self-hosted runners", administration: "Administration", actions: "Actions", metadata: "Metadata" };
  const levels = { read: "read", write: "read and write" };
  for (const scope of ["organization", "repository"]) {
    const command = await create(t, gh.url, ["--scope", scope, "--name", `of ${scope}`, "--output", temporary(t)]);
    const { manifest } = await untilReturn(command);
    const rows = [...text.matchAll(/^\s*\| ([\w -]+) \((?:organization|repository)\) \| ([\w ]+) \| (yes|) ?\| (yes|) ?\|$/gm)];
    const documented = rows.filter((row) => row[scope === "organization" ? 3 : 4] === "yes").map(([, title, level]) => `${title}: ${level}`);
    assert.deepEqual(documented.sort(), Object.entries(manifest.default_permissions).map(([name, level]) => `${titles[name]}: ${levels[level]}`).sort(), scope);
    command.kill("SIGTERM");
    await command.ended;
  }
});

test("what_exists_or_cannot_be_written_is_refused_before_the_app_is_made", async (t) => {
  const gh = await github(t);
  const folder = temporary(t);
  const run = (output) => ctl(["app", "create", "--organization", "acme", "--webhook-url", HOOK, "--api-url", gh.url, "--no-browser", "--output", output]);
  fs.writeFileSync(path.join(folder, "webhook-secret"), "another's");
  const there = run(folder);
  assert.equal(there.status, 1);
  assert.match(there.stderr, /webhook-secret exists, and is never replaced/);
  assert.deepEqual(fs.readdirSync(folder), ["webhook-secret"]);
  fs.symlinkSync("/nowhere/at/all", path.join(folder, "app.pem"));
  fs.rmSync(path.join(folder, "webhook-secret"));
  assert.match(run(folder).stderr, /app\.pem exists/);
  assert.match(run(path.join(folder, "a/b")).stderr, /cannot create the directory/);
  assert.match(run("/proc").stderr, /cannot create a file/);
  assert.deepEqual(fs.readdirSync(folder), ["app.pem"]);
});

test("ctrl_c_gives_up_what_was_reserved", async (t) => {
  const gh = await github(t);
  const folder = temporary(t);
  const command = await create(t, gh.url, ["--output", folder]);
  assert.equal(fs.readdirSync(folder).length, 3);
  command.kill("SIGINT");
  const { status, stderr } = await command.ended;
  assert.equal(status, 1);
  assert.match(stderr, /ended by Ctrl-C before GitHub returned: nothing is kept/);
  assert.deepEqual(fs.readdirSync(folder), []);
});

test("another_page_another_user_and_another_name_get_nothing", async (t) => {
  const gh = await github(t);
  const folder = temporary(t);
  const command = await create(t, gh.url, ["--output", folder]);
  const { back, cookie } = await untilReturn(command);
  const get = (target, headers = {}) => new Promise((resolve, reject) => {
    http.get(target, { headers }, (response) => { response.resume(); resolve(response.statusCode); }).on("error", reject);
  });
  const changed = (name, value) => { const url = new URL(back); url.searchParams.set(name, value); return url; };
  assert.equal(await get(back), 403);
  assert.equal(await get(command.url), 403, "another browser");
  assert.equal(await get(changed("state", "0".repeat(32)), { cookie }), 403);
  assert.equal(await get(changed("code", "../../user"), { cookie }), 400);
  assert.equal(await get(back, { cookie, host: `evil.example:${new URL(back).port}` }), 421);
  assert.equal(await get(command.origin), 404);
  const post = await fetch(back, { method: "POST", headers: { cookie } });
  assert.notEqual(post.status, 200);
  assert.equal(await get(`${command.origin}/${"a".repeat(20000)}`).catch(() => 400) >= 400, true);
  assert.equal((await gh.ask("GET", "/state")).requests?.["app-manifest"] ?? 0, 0);
  assert.equal(await get(back, { cookie }), 200);
  assert.equal((await command.ended).status, 0);
  checkFiles(folder);
});

test("a_slow_or_failing_github_is_asked_again_by_a_reload", async (t) => {
  const gh = await github(t);
  const folder = temporary(t);
  const command = await create(t, gh.url, ["--output", folder]);
  const { back, cookie } = await untilReturn(command);
  await gh.ask("POST", "/faults", [{ operation: "app-manifest", drop: "before", times: 1 }, { operation: "app-manifest", status: 502, times: 1 }]);
  for (let i = 0; i < 2; i++) {
    const answer = await fetch(back, { headers: { cookie } });
    assert.equal(answer.status, 502);
    assert.match(await answer.text(), /Reload this page to try again/);
  }
  assert.ok(!command.out.stderr.includes(new URL(back).searchParams.get("code")), "the code is in no message");
  const [one, two] = await Promise.all([0, 1].map(() => fetch(back, { headers: { cookie } }).then((r) => r.status, () => 0)));
  assert.ok([one, two].includes(200), `two tabs: ${one} ${two}`);
  assert.equal((await command.ended).status, 0);
  checkFiles(folder);
});

test("a_huge_or_useless_answer_ends_it_and_keeps_nothing", async (t) => {
  const gh = await github(t);
  for (const [fault, words] of [[{ status: 201, body: "x".repeat(1 << 20) }, /larger|too large|limit|exceeds/], [{ status: 201, body: { id: 1, slug: "m" } }, /has no link/], [{ status: 404 }, /does not take the code \(404\)/]]) {
    const folder = temporary(t);
    const command = await create(t, gh.url, ["--output", folder]);
    const { back, cookie } = await untilReturn(command);
    await gh.ask("POST", "/faults", [{ operation: "app-manifest", times: 1, ...fault }]);
    assert.equal((await fetch(back, { headers: { cookie } })).status, 502);
    const { status, stderr } = await command.ended;
    assert.equal(status, 1);
    assert.match(stderr, words);
    assert.deepEqual(fs.readdirSync(folder), []);
  }
});

test("in_a_browser", { skip: chromium ? false : "no Chromium is installed (Debian: chromium-headless-shell)" }, async (t) => {
  const gh = await github(t);
  const folder = temporary(t);
  const command = await create(t, gh.url, ["--output", folder, "--json"]);
  const page = await browse(t);
  await page.goto(command.url);
  await page.shows(/Create the GitHub App/);
  assert.match(await page.evaluate("getComputedStyle(document.body).fontFamily"), /sans-serif/, "the policy lets the page's own style through");
  await page.evaluate("document.querySelector('button').click()");
  await page.shows(/Create GitHub App for acme/);
  await page.evaluate("document.querySelector('button').click()");
  await page.shows(/The App is created/);
  const { status, stdout, stderr } = await command.ended;
  assert.equal(status, 0, stderr);
  assert.equal(JSON.parse(stdout).name, "mayfly-acme");
  checkFiles(folder);
  assert.deepEqual([...new Set(page.requests.map((url) => new URL(url).origin))].sort(), [command.origin, gh.url].sort());
  assert.deepEqual(page.console.filter((text) => /Content Security Policy|Refused/.test(text)), []);
});

// --- AWS ---

const aws = (t, ...args) => launch(t, fake("aws"), "--port", "0", "--key", "AKIDOPERATOR:not-a-secret", ...args);
const awsEnv = (a) => ({ AWS_ACCESS_KEY_ID: "AKIDOPERATOR", AWS_SECRET_ACCESS_KEY: "not-a-secret", AWS_REGION: "us-east-1", AWS_ENDPOINT_URL: a.url, AWS_EC2_METADATA_DISABLED: "true" });

async function parameter(a, name) {
  const { SSMClient, GetParameterCommand } = createRequire(new URL("../../fakes/package.json", import.meta.url))("@aws-sdk/client-ssm");
  const client = new SSMClient({ endpoint: a.url, region: "us-east-1", maxAttempts: 1, credentials: { accessKeyId: "AKIDOPERATOR", secretAccessKey: "not-a-secret" } });
  try {
    return (await client.send(new GetParameterCommand({ Name: name, WithDecryption: true }))).Parameter;
  } catch (error) {
    return error.name;
  } finally { client.destroy(); }
}

test("credentials_are_kept_in_parameters_and_the_key_moves_into_kms", async (t) => {
  const [gh, a] = await Promise.all([github(t), aws(t)]);
  const env = awsEnv(a);
  const command = await create(t, gh.url, ["--ssm", "/mayfly/"], env);
  assert.match((await parameter(a, "/mayfly/app-key")).Value, /^reserved by/);
  const again = ctl(["app", "create", "--organization", "acme", "--webhook-url", HOOK, "--api-url", gh.url, "--ssm", "/mayfly"], { env });
  assert.equal(again.status, 1);
  assert.match(again.stderr, /ssm:\/mayfly\/app-id: .*never replaced/);
  const { back, cookie } = await untilReturn(command);
  assert.equal((await fetch(back, { headers: { cookie } })).status, 200);
  const { status, stdout, stderr } = await command.ended;
  assert.equal(status, 0, stderr);
  assert.match(stdout, /private_key: "ssm:\/mayfly\/app-key"/);
  const key = await parameter(a, "/mayfly/app-key");
  assert.equal(key.Type, "SecureString");
  assert.match(key.Value, /^-----BEGIN RSA PRIVATE KEY-----/);
  assert.match((await parameter(a, "/mayfly/webhook-secret")).Value, /^[0-9a-f]{40}$/);
  const id = (await parameter(a, "/mayfly/app-id")).Value;

  const moved = ctl(["app", "import-key", "ssm:/mayfly/app-key", "--json"], { env });
  assert.equal(moved.status, 0, moved.stderr);
  const { private_key: reference, imported_before: before } = JSON.parse(moved.stdout);
  assert.equal(before, false);
  const second = ctl(["app", "import-key", "ssm:/mayfly/app-key"], { env });
  assert.match(second.stdout, /held already the App's key, and signs with it/);
  assert.match(ctl(["app", "import-key", "ssm:/mayfly/app-key", "--key", reference.slice(4)], { env }).stdout, /held already/);

  const folder = temporary(t);
  const other = path.join(folder, "other.pem");
  fs.writeFileSync(other, crypto.generateKeyPairSync("rsa", { modulusLength: 2048, privateKeyEncoding: { type: "pkcs1", format: "pem" }, publicKeyEncoding: { type: "spki", format: "pem" } }).privateKey);
  const refused = ctl(["app", "import-key", other], { env });
  assert.equal(refused.status, 1);
  assert.match(refused.stderr, /holds another key: .*--alias/);
  assert.equal(ctl(["app", "import-key", other, "--alias", "alias/second"], { env }).status, 0);

  const config = path.join(folder, "mayfly.yaml");
  fs.writeFileSync(config, `queue: sqlite:///nowhere/q.db\nledger: sqlite:///nowhere/l.db\nclasses: [{name: small, labels: [x], qemu: {image: /i}}]\ngithub: {api_url: "${gh.url}", app: {id: "${id}", private_key: "${reference}"}}\n`);
  assert.match(ctl(["app", "check", "--config", config], { env }).stdout, /^ok {4}github: GET \/app: the App mayfly-acme has/m);
});

test("ctrl_c_deletes_the_placeholders_and_a_denied_write_is_found_first", async (t) => {
  const folder = temporary(t);
  const policy = path.join(folder, "policy.json");
  fs.writeFileSync(policy, JSON.stringify({ Version: "2012-10-17", Statement: [{ Effect: "Allow", Action: ["ssm:*"], Resource: "arn:aws:ssm:us-east-1:123456789012:parameter/mayfly/*" }] }));
  const [gh, a] = await Promise.all([github(t), aws(t, "--policy", `AKIDOPERATOR=${policy}`)]);
  const command = await create(t, gh.url, ["--ssm", "/mayfly"], awsEnv(a));
  command.kill("SIGTERM");
  assert.equal((await command.ended).status, 1);
  for (const name of ["app-id", "app-key", "webhook-secret"]) assert.equal(await parameter(a, `/mayfly/${name}`), "ParameterNotFound");
  const denied = ctl(["app", "create", "--organization", "acme", "--webhook-url", HOOK, "--api-url", gh.url, "--ssm", "/other"], { env: awsEnv(a) });
  assert.equal(denied.status, 1);
  assert.match(denied.stderr, /ssm:\/other\/app-id: .*not authorized/);
});
