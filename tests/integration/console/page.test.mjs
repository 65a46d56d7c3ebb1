// The console's page in Chromium, before a whole deployment: live numbers, search, a job's way, 10,000 jobs, names of strangers, a fleet in
// trouble, a phone, the dark. MAYFLY_PICTURES=FOLDER keeps what it looked like.
import test, { after, before } from "node:test";
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { execFileSync } from "node:child_process";
import { browse, chromium } from "../../lib/chromium.mjs";
import { until } from "../../lib/wait.mjs";
import { Deployment, Program } from "../lib/deployment.mjs";

const skip = chromium ? false : "no Chromium is installed (Debian: chromium-headless-shell)";
const cleanups = [];
let d;
let page;
let url;

async function startConsole(args = []) {
  const program = new Program("console", d.program("mayflyctl"), ["--config", d.configFile, "console", "--listen", "127.0.0.1:0", "--json", ...args]);
  d.programs.push(program);
  return (await program.waitFor((e) => e.url)).url;
}

before(async () => {
  if (skip) return;
  d = new Deployment();
  d.options.classes = [d.fakeQemuClass({ max_vms: 4 }), d.fakeQemuClass({ name: "large", labels: ["self-hosted", "large"], required_labels: ["large"], max_vms: 100 })];
  cleanups.push(() => d.stop());
  await d.startAll();
  url = await startConsole();
  page = await browse({ after: (f) => cleanups.push(f) });
  await page.size(1280, 860);
});
after(async () => { for (const clean of cleanups.reverse()) await clean(); });

const picture = async (name) => { if (process.env.MAYFLY_PICTURES) await page.picture(path.join(process.env.MAYFLY_PICTURES, `${name}.png`)); };
const go = (hash) => page.goto(url + hash);
const is = (what, expression) => until(what, () => page.evaluate(expression), { seconds: 30 });
const whole = () => page.evaluate("document.documentElement.scrollWidth <= innerWidth");
const sql = (text) => execFileSync("sqlite3", ["-cmd", ".timeout 5000", path.join(d.dir, "ledger.db"), text], { encoding: "utf8" });

async function search(text) {
  await page.evaluate("document.activeElement.blur(); document.getElementById('query').value = ''");
  await page.key("/");
  await page.type(text);
  await page.key("Enter");
}

test("overview_follows_the_fleet_without_a_reload", { skip }, async () => {
  await go("#/");
  await is("it is live", "document.getElementById('live').textContent === 'live'");
  await page.shows(/No job waits\./);
  await d.queueJobs({ count: 9, command: "sleep 4", name: "unit tests" });
  await is("slots are busy", "document.querySelectorAll('.slots i.busy').length === 4");
  await page.shows(/class cap/);
  await page.shows(/class small is full: 4 of 4 VMs/);
  assert.match(await page.evaluate("document.title"), /^\(\d\) Overview · test$/);
  await picture("overview");
  await d.untilJobsEnd(9);
  await is("no slot is busy", "document.querySelectorAll('.slots i.busy').length === 0");
  await page.shows(/Launch latency/);
  assert.match(await page.evaluate("document.querySelector('tbody tr').innerText"), /\d (ms|s) · \d/);
});

test("search_finds_a_job_a_run_an_address_and_a_repository", { skip }, async () => {
  const [job] = await d.queueJobs({ command: "true", name: "a job to be found" });
  await d.untilJobsEnd(10);
  await until("the ledger knows its end", () => d.ctl("why", String(job.id)).state === "done");
  const at = (hash) => is(hash, `location.hash === ${JSON.stringify(hash)}`);
  await search(String(job.id));
  await at(`#/job/${job.id}`);
  await page.shows(/a job to be found/);
  await go("#/");
  await search(`https://github.com/acme/app/actions/runs/${job.run_id}/job/${job.id}?pr=1`);
  await at(`#/job/${job.id}`);
  await search(String(job.run_id));
  await at(`#/jobs?run=${job.run_id}`);
  await is("its one job is listed", "document.querySelectorAll('.rows .row').length === 1");
  await search("acme/app");
  await at("#/jobs?repository=acme%2Fapp");
  await is("ten jobs are listed", "document.querySelectorAll('.rows .row').length === 10");
  await search("acme/nothing");
  await page.shows(/No such job is known/);
  await search("what is this");
  await page.shows(/Search takes a job's or a run's id/);
  await search("99999999999999999999999");
  await page.shows(/Nothing is known of|neither the id nor the URL/);
});

test("job_has_its_way_as_a_picture_with_what_is_usual", { skip }, async () => {
  const [job] = await d.queueJobs({ command: "sleep 5", name: "build" });
  await until("it runs", () => d.ctl("why", String(job.id)).state === "running");
  await go(`#/job/${job.id}`);
  await page.shows(/Received[\s\S]*Reserved[\s\S]*Registered[\s\S]*Launched[\s\S]*Running[\s\S]*Runs/);
  await page.shows(/usual of class small, of \d+ jobs/);
  assert.equal(await page.evaluate("document.querySelectorAll('.way .track i.past').length"), 4);
  assert.equal(await page.evaluate("document.querySelectorAll('.way .track i.usual').length"), 4);
  await picture("job");
  await page.shows(/it has ended \(success\)/); // without a reload
  await page.shows(/Done/);
});

test("names_of_strangers_are_text", { skip }, async () => {
  const names = ["<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">", "\"'`${1+1}&lt;{{7*7}}", "txt.exe\u202egpj.\u2066cod\u0007\u200b", "x".repeat(250)];
  await d.fake("POST", "/_fake/faults", [{ operation: "generate-jitconfig", status: 503, name: "away" }]);
  const ids = [];
  for (const name of names) ids.push((await d.queueJobs({ name, labels: ["self-hosted", "large"], command: "true" }))[0].id);
  await go("#/");
  await is("all wait", `document.querySelectorAll('.waiting li').length === ${names.length}`);
  await page.shows(/<script>document\.title='owned'<\/script>/);
  await page.shows(/txt\.exe\\u202egpj\.\\u2066cod/);
  assert.equal(await whole(), true);
  await picture("strangers");
  for (const id of ids) {
    await go(`#/job/${id}`);
    await is("it is shown", "document.querySelector('.title h1')?.textContent.length > 3");
    assert.equal(await whole(), true, String(id));
  }
  await go("#/jobs?state=waiting");
  await is("all are listed", `document.querySelectorAll('.rows .row').length === ${names.length}`);
  await search("<img src=x onerror=alert(1)>/y");
  await page.shows(/Search takes/);
  await go(`#/jobs?repository=${encodeURIComponent("<b>x</b>")}&class=${encodeURIComponent("<i>y")}`);
  await page.shows(/<b>x<\/b>/);
  assert.equal(await page.evaluate("document.querySelectorAll('main script, main img, main b b').length"), 0);
  assert.doesNotMatch(await page.evaluate("document.title"), /owned/);
});

test("fleet_in_trouble_says_what_whose_and_since_when", { skip }, async () => {
  await go("#/");
  await page.shows(/is in trouble for/); // GitHub refuses registrations since the test before
  await is("its number is at the tab", "!document.getElementById('badge').hidden");
  await d.worker.stop();
  await page.shows(/no mayfly-worker has a heartbeat/);
  await picture("trouble");
  await go("#/trouble");
  await page.shows(/Open circuits[\s\S]*503[\s\S]*mayflyctl circuits close/);
  await go("#/");
  const store = path.join(d.dir, "queue.db");
  await d.ingress.stop();
  await d.reaper.stop();
  fs.renameSync(store, `${store}.away`);
  await page.shows(/(queue|ledger) does not respond since/);
  await page.shows(/What follows is as of/); // and it is still there
  assert.ok(await page.evaluate("document.querySelectorAll('.tiles .tile').length > 0"));
  fs.renameSync(`${store}.away`, store);
  await is("it is live again", "document.getElementById('live').textContent === 'live' && document.getElementById('alarm').hidden");
});

test("ten_thousand_jobs_are_some_rows_at_a_time", { skip }, async () => {
  sql(`INSERT INTO jobs SELECT value, value, 1, 0, 3, 'acme/app', 'acme', 'acme', 'small', 'job ' || value, 'self-hosted,microvm', 'success', 'r', j.created_ms, j.waiting_ms, j.waiting_ms + 500,
    j.waiting_ms + value, 0, 0, 0, 0, '' FROM generate_series(1, 10000), (SELECT * FROM jobs WHERE state = 3 LIMIT 1) j;`);
  await go("#/jobs?state=ended");
  await is("the first page is there", "Number(document.querySelector('.listed').dataset.loaded) >= 200");
  const toTheEnd = "const pane = document.querySelector('.pane'); pane.scrollTop = pane.scrollHeight;"; // where the next page is asked for
  await is("the last row is seen", `(() => { ${toTheEnd} return [...document.querySelectorAll('.rows .row')].some((row) => row.innerText.includes('job 1\\n')); })()`);
  assert.ok(await page.evaluate("Number(document.querySelector('.listed').dataset.loaded) >= 10000"));
  assert.ok(await page.evaluate("document.querySelectorAll('.rows .row').length < 60"));
  assert.ok(await page.evaluate("document.querySelectorAll('*').length < 1500"));
  await page.evaluate("document.querySelector('.pane').scrollTop = 0");
  await page.evaluate("document.activeElement.blur()");
  for (const name of ["j", "j", "ArrowDown", "k"]) await page.key(name);
  await is("the second row is chosen", "document.querySelector('.row.chosen')?.dataset.row === '1'");
  await page.key("Enter");
  await is("its job is open", "location.hash.startsWith('#/job/')");
});

test("every_page_fits_a_phone_and_is_dark_where_that_is_wanted", { skip }, async () => {
  const light = await page.evaluate("getComputedStyle(document.body).backgroundColor");
  await page.size(360, 740, { phone: true });
  await page.dark(true);
  for (const hash of ["#/", "#/jobs", "#/vms", "#/hosts", "#/trouble", "#/cost", "#/jobs?state=waiting"]) {
    await go(hash);
    await is(`${hash} is shown`, "document.querySelector('main').innerText.length > 5");
    assert.equal(await whole(), true, hash);
    await picture(`phone${hash.replace(/\W+/g, "-")}`);
  }
  const dark = await page.evaluate("getComputedStyle(document.body).backgroundColor");
  assert.notEqual(dark, light);
  await page.key("t");
  assert.equal(await page.evaluate("getComputedStyle(document.body).backgroundColor"), light);
  await page.key("t");
  await page.size(1280, 860);
});

test("cost_is_an_estimate_by_repository_class_and_day", { skip }, async () => {
  for (const by of ["repository", "class", "day"]) {
    await go(`#/cost?by=${by}&since=7d`);
    await page.shows(/Cost, estimated[\s\S]*Of this estimate/);
  }
});

test("keys_open_pages_and_help", { skip }, async () => {
  await page.key("3");
  await is("VMs are open", "location.hash === '#/vms'");
  await page.key("?");
  await is("the keys are shown", "document.getElementById('keys').open");
  await page.key("Escape");
  await is("they are closed", "!document.getElementById('keys').open");
});

test("nothing_was_asked_of_another_host_and_the_policy_was_never_broken", { skip }, async () => {
  assert.deepEqual(page.requests.filter((asked) => !asked.startsWith(url) && !asked.startsWith("data:")), []);
  assert.deepEqual(page.console.filter((text) => !/status of (400|404|503)|ERR_/.test(text)), []);
});

test("page_asks_for_the_token_and_one_in_the_fragment_is_taken_out_of_the_address", { skip }, async () => {
  const file = path.join(d.dir, "token");
  fs.writeFileSync(file, "correct-horse-battery");
  const guarded = await startConsole(["--token-file", file]);
  await page.goto(guarded);
  await is("it is asked for", "document.getElementById('token').open");
  await page.type("correct-horse-battery");
  await page.key("Enter");
  await is("it is live", "!document.getElementById('token').open && document.getElementById('live').textContent === 'live'");
  await page.evaluate("sessionStorage.clear()");
  await page.goto("about:blank");
  await page.goto(`${guarded}#token=correct-horse-battery`);
  await is("it is live", "document.getElementById('live').textContent === 'live'");
  assert.equal(await page.evaluate("location.hash"), "#/");
});
