// The mistakes that people make in a configuration: each is found before the program starts, and the complaint says where it is and what to do. A
// right configuration is accepted with every case's neighbour of it.
import test from "node:test";
import assert from "node:assert/strict";
import crypto from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../..");
const bin = process.env.MAYFLY_BUILD ?? path.join(root, "build/dev");
const dir = fs.mkdtempSync(path.join(os.tmpdir(), "mayfly-check-"));
process.on("exit", () => fs.rmSync(dir, { recursive: true, force: true }));

const file = (name, text) => { fs.writeFileSync(path.join(dir, name), text); return name; };
const pem = (type, options) => crypto.generateKeyPairSync(type, { ...options, publicKeyEncoding: { type: "spki", format: "pem" }, privateKeyEncoding: { type: options.pkcs1 ? "pkcs1" : "pkcs8", format: "pem", ...options.encrypt } });
const rsa = pem("rsa", { modulusLength: 2048, pkcs1: true });
const key = rsa.privateKey;
const openssl = (...args) => execFileSync("openssl", args, { cwd: dir, stdio: "ignore" });

file("app.pem", key);
file("public.pem", rsa.publicKey);
file("short.pem", pem("rsa", { modulusLength: 1024, pkcs1: true }).privateKey);
file("ec.pem", pem("ec", { namedCurve: "P-256" }).privateKey);
file("ec-sec1.pem", crypto.generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ type: "sec1", format: "pem" }));
file("locked.pem", pem("rsa", { modulusLength: 2048, encrypt: { cipher: "aes-256-cbc", passphrase: "x" } }).privateKey);
file("locked-old.pem", "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\nAAAA\n-----END RSA PRIVATE KEY-----\n");
file("cut.pem", key.slice(0, 700));
file("holed.pem", key.replace(/\n[^\n]*\n([^\n]*)\n/, "\n$1\n"));
file("openssh.pem", "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjE=\n-----END OPENSSH PRIVATE KEY-----\n");
file("crlf.pem", key.replaceAll("\n", "\r\n"));
file("bom.pem", "\ufeff" + key);
file("indented.pem", key.replace(/^/gm, "    "));
file("one-line.pem", key.trimEnd().replaceAll("\n", "\\n"));
file("secret-bom", "\ufeffa-long-secret");
file("secret-blank", "a-long-secret \n");
file("secret", "a-long-secret\n");
execFileSync("mkfifo", [path.join(dir, "fifo")]);
file("huge", "");
fs.truncateSync(path.join(dir, "huge"), 3 * 2 ** 30);
const certificate = (name, days, more = []) => openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", `${name}.key`, "-out", `${name}.crt`, "-subj", "/CN=mayfly", "-days", days, ...more);
certificate("good", "90");
certificate("soon", "3");
certificate("other", "90");
openssl("genpkey", "-algorithm", "RSA", "-aes256", "-pass", "pass:x", "-out", "locked.key");
// Expired at once: OpenSSL makes none that has ended.
openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "old.key", "-out", "old.csr", "-subj", "/CN=mayfly");
openssl("x509", "-req", "-in", "old.csr", "-signkey", "old.key", "-out", "old.crt", "-days", "-1");

const LAMBDA = "arn:aws:lambda:us-east-1:123456789012:microvm-image:mayfly";
const BASE = `queue: sqlite:///var/lib/mayfly/queue.db
ledger: sqlite:///var/lib/mayfly/ledger.db
deployment: box
github:
  app: {id: "1", private_key: file:app.pem}
  webhook_secrets: [a-long-secret]
ingress: {listen: 127.0.0.1:8080}
limits: {max_vms: 10}
classes:
  - name: small
    labels: [self-hosted, linux, x64, microvm]
    required_labels: [microvm]
    provider: qemu
    max_vms: 8
    max_duration: 1h
    qemu: {image: /var/lib/mayfly/image}
`;
const lambda = (settings = "", from = "") => BASE.replace(/    provider: qemu\n/, "    provider: lambda\n").replace(/    qemu: .*\n/, `    lambda: {image: ${from || LAMBDA}${settings}}\n`).replace("x64", "arm64");
const swap = (a, b) => { assert.ok(BASE.includes(a), a); return BASE.replace(a, b); };
const appKey = (name) => swap("file:app.pem", `file:${name}`);
const secret = (text) => swap("[a-long-secret]", text);
const apiUrl = (url) => swap("github:\n", `github:\n  api_url: ${url}\n`);
const tls = (crt, k) => swap("{listen: 127.0.0.1:8080}", `{listen: 127.0.0.1:8443, tls: {certificate: ${crt}, key: ${k}}}`);
const add = (text) => BASE + text;
const second = (name, labels, required) => add(`  - {name: ${name}, labels: [${labels}], required_labels: [${required}], qemu: {image: /i}}\n`);

// [what, program, text, the words of its complaint or of its warning; null: accepted without one]
const CASES = [
  ["right", "worker", BASE, null],
  ["right for the ingress", "ingress", BASE, null],
  ["a key's typo", "worker", swap("max_vms: 8", "max_vm: 8"), /classes\[0\]\.max_vm: unknown key: did you mean max_vms\?/],
  ["a section's typo", "worker", swap("limits:", "limit:"), /limit: unknown key: did you mean limits\?/],
  ["a top key's typo", "worker", swap("classes:", "classess:"), /classess: unknown key: did you mean classes\?/],
  ["a word for a number", "worker", swap("max_vms: 8", 'max_vms: "many"'), /max_vms: "many" is refused: it must be a whole number/],
  ["a duration without a unit", "worker", swap("max_duration: 1h", "max_duration: 3600"), /max_duration: "3600" is refused/],
  ["a size without a unit", "worker", swap("/image}", "/image, memory: 2048}"), /memory: "2048" is refused/],
  ["no classes", "worker", BASE.replace(/classes:[^]*/, ""), /classes: is required/],
  ["no queue", "worker", BASE.replace(/queue:.*\n/, ""), /queue: is required/],
  ["neither App nor token", "worker", BASE.replace(/  app:.*\n/, ""), /github\.app: is required, or github\.token/],
  ["a public key", "worker", appKey("public.pem"), /private_key: is a public key: give the \.pem file that GitHub made/],
  ["an EC key", "worker", appKey("ec.pem"), /private_key: is no RSA key/],
  ["an EC key, SEC 1", "worker", appKey("ec-sec1.pem"), /private_key: is an EC key/],
  ["an encrypted key", "worker", appKey("locked.pem"), /private_key: is encrypted with a passphrase.*openssl rsa/],
  ["an encrypted key of the old kind", "worker", appKey("locked-old.pem"), /private_key: is encrypted with a passphrase/],
  ["a key that is cut off", "worker", appKey("cut.pem"), /private_key: is cut off: its line -----END/],
  ["a key without a line", "worker", appKey("holed.pem"), /private_key: is damaged or cut off/],
  ["an OpenSSH key", "worker", appKey("openssh.pem"), /private_key: is an OpenSSH key/],
  ["a short key", "worker", appKey("short.pem"), /private_key: is an RSA key of 1024 bits/],
  ["a key with CRLF", "worker", appKey("crlf.pem"), null],
  ["a key with a byte order mark", "worker", appKey("bom.pem"), null],
  ["an indented key", "worker", appKey("indented.pem"), null],
  ["a key with \\n as two characters", "worker", appKey("one-line.pem"), null],
  ["a key's path without file:", "worker", appKey("app.pem").replace("file:app.pem", "app.pem"), /private_key: the value is refused: it must be .*file:PATH/],
  ["a key's file that is missing", "worker", appKey("nope.pem"), /private_key: file: cannot open .*nope\.pem/],
  ["a FIFO as a key", "worker", appKey("fifo"), /private_key: file: .*fifo is a FIFO, which may never end: name a regular file/],
  ["a device as a key", "worker", appKey("/dev/zero"), /private_key: file: \/dev\/zero is a device, which may never end/],
  ["a directory as a secret", "ingress", secret(`["file:${dir}"]`), /webhook_secrets\[0\]: file: .* is a directory: name a regular file/],
  ["a huge file as a secret", "ingress", secret("[file:huge]"), /webhook_secrets\[0\]: file: .*huge is larger than the \d+ bytes allowed/],
  ["a FIFO as a certificate", "ingress", tls("fifo", "good.key"), /ingress\.tls\.certificate: .*fifo is a FIFO/],
  ["a FIFO as a certificate's key", "ingress", tls("good.crt", "fifo"), /ingress\.tls\.key: .*fifo is a FIFO/],
  ["two classes of one name", "worker", second("small", "other", "other"), /classes\[1\]\.name: is the name of classes\[0\] too/],
  ["a class that no job reaches", "worker", second("big", "self-hosted, linux, x64, microvm", "microvm"), /classes\[1\]\.labels: every job that class "big" could take goes to class "small"/],
  ["the same in other letters", "worker", second("big", "SELF-HOSTED, Microvm", "MICROVM"), /classes\[1\]\.labels: every job that class "big"/],
  ["a class with a label of its own", "worker", second("big", "self-hosted, linux, x64, microvm, big", "big"), null],
  ["a required label that is none", "worker", swap("required_labels: [microvm]", "required_labels: [gpu]"), /required_labels\[0\]: is not among the class's labels/],
  ["a tab", "worker", swap("    provider", "\tprovider"), /is not YAML/],
  ["an anchor", "worker", swap("labels: [self", "labels: &l [self"), /anchors \(&name\) are not supported/],
  ["two documents", "worker", add("---\nqueue: x\n"), /a second document begins here/],
  ["an unset variable", "ingress", secret("[env:NOPE_X]"), /environment variable NOPE_X is not set/],
  ["a short secret", "ingress", secret("[short]"), /webhook_secrets\[0\]: the value is refused: it must be at least 8 bytes long/],
  ["a secret that is no list", "ingress", secret("a-long-secret"), /webhook_secrets: must be a list/],
  ["a secret with a blank", "ingress", secret("[file:secret-blank]"), /webhook_secrets\[0\].*begins or ends with a blank or a line break/],
  ["a secret in quotes", "ingress", secret(`["'a-long-secret'"]`), /webhook_secrets\[0\].*is in quotes/],
  ["a secret with a byte order mark", "ingress", secret("[file:secret-bom]"), /webhook_secrets\[0\].*begins with a byte order mark/],
  ["a secret's file that ends with a line break", "ingress", secret("[file:secret]"), null],
  ["a token in quotes", "worker", BASE.replace(/  app:.*\n/, `  token: "'ghp_0123456789'"\n`), /github\.token: .*is in quotes/],
  ["an App's id that is a number", "worker", swap('id: "1"', "id: 1"), null],
  ["labels as a text", "worker", swap("labels: [self-hosted, linux, x64, microvm]", "labels: self-hosted"), /labels: must be a list/],
  ["a key twice", "worker", swap("deployment: box\n", "deployment: box\ndeployment: other\n"), /deployment: is given twice, first on line 3/],
  ["capitals in the deployment", "worker", swap("deployment: box", "deployment: Box_1"), /deployment: "Box_1" is refused: it must be lower-case/],
  ["a port alone", "ingress", swap("127.0.0.1:8080", "8080"), /ingress\.listen: "8080" is refused: it must be address:port/],
  ["a port without an address", "ingress", swap("127.0.0.1:8080", '":8080"'), /ingress\.listen: ":8080" is refused/],
  ["an unknown queue", "worker", swap("queue: sqlite:///var/lib/mayfly/queue.db", "queue: postgres://db/mayfly"), /queue: the value is refused: it must be a queue's URL: sqlite:\/\/\/PATH.*kafka/],
  ["a ledger as a queue", "worker", swap("queue: sqlite:///var/lib/mayfly/queue.db", "queue: dynamodb://mayfly"), /queue: the value is refused/],
  ["a queue as a ledger", "worker", swap("ledger: sqlite:///var/lib/mayfly/ledger.db", "ledger: sqs://mayfly"), /ledger: the value is refused: it must be a ledger's URL: .*dynamodb/],
  ["options of SQLite", "worker", swap("queue.db", "queue.db?timeout=3"), /queue: the value is refused: it has options, and the URL of an SQLite file has none/],
  ["SQLite with two slashes", "worker", swap("sqlite:///var", "sqlite://var"), /queue: the value is refused: it must have an absolute path, with three slashes/],
  ["an App and a token", "worker", swap("  webhook_secrets", "  token: ghp_0123456789\n  webhook_secrets"), /github\.token: excludes github\.app/],
  ["a negative number", "worker", swap("max_vms: 8", "max_vms: -1"), /max_vms: "-1" is refused/],
  ["a class above the fleet", "worker", swap("max_vms: 8", "max_vms: 11"), /warning: .*classes\[0\]\.max_vms: is 11, more than limits\.max_vms \(10\)/],
  ["an unknown provider", "worker", swap("provider: qemu", "provider: firecracker"), /provider: "firecracker" is refused: it must be one of/],
  ["Lambda without an image", "worker", lambda().replace(/    lambda: .*\n/, ""), /lambda\.image: is required/],
  ["yes for true", "worker", swap("/image}", "/image, restore: yes}"), /restore: "yes" is refused: it must be true or false/],
  ["an empty file", "worker", "", /queue: is required[^]*classes: is required/],
  ["an API with a slash at its end", "worker", apiUrl("https://api.github.com/"), null],
  ["the web site as the API", "worker", apiUrl("https://github.com"), /api_url: .*is GitHub's web site, not its API: write https:\/\/api\.github\.com/],
  ["an Enterprise Server's root as the API", "worker", apiUrl("https://ghe.example.com"), /api_url: .*write https:\/\/HOST\/api\/v3/],
  ["an Enterprise Server", "worker", apiUrl("https://ghe.example.com/api/v3"), null],
  ["ghe.com's web site as the API", "worker", apiUrl("https://acme.ghe.com"), /api_url: .*write https:\/\/api\.SUBDOMAIN\.ghe\.com/],
  ["ghe.com", "worker", apiUrl("https://api.acme.ghe.com"), null],
  ["a stand-in by its address", "worker", apiUrl("http://127.0.0.1:8080"), null],
  ["an unknown scope", "worker", swap("github:\n", "github:\n  scope: org\n"), /scope: "org" is refused: it must be one of/],
  ["two labels in one", "worker", swap("[self-hosted, linux,", '["self-hosted, linux",'), /labels\[0\]: "self-hosted, linux" is refused/],
  ["a certificate without its key", "ingress", swap("{listen: 127.0.0.1:8080}", "{listen: 127.0.0.1:8443, tls: {certificate: good.crt}}"), /ingress\.tls\.key: is required with its other half/],
  ["a pair", "ingress", tls("good.crt", "good.key"), null],
  ["another certificate's key", "ingress", tls("good.crt", "other.key"), /ingress\.tls\.key: .*other\.key is not the key of the certificate in .*good\.crt/],
  ["a TLS key that is missing", "ingress", tls("good.crt", "none.key"), /ingress\.tls\.key: cannot open .*none\.key for reading: No such file/],
  ["a certificate that is missing", "ingress", tls("none.crt", "good.key"), /ingress\.tls\.certificate: cannot open .*none\.crt/],
  ["the two exchanged", "ingress", tls("good.key", "good.crt"), /ingress\.tls\.certificate: .*begins with no certificate/],
  ["an encrypted TLS key", "ingress", tls("good.crt", "locked.key"), /ingress\.tls\.key: .*locked\.key is encrypted with a passphrase/],
  ["a certificate that has expired", "ingress", tls("old.crt", "old.key"), /ingress\.tls\.certificate: has expired, at 20/],
  ["a certificate that expires soon", "ingress", tls("soon.crt", "soon.key"), /warning: .*ingress\.tls\.certificate: expires soon, at 20/],
  ["the admin port is the port", "ingress", swap("{listen: 127.0.0.1:8080}", "{listen: 127.0.0.1:8080, admin_listen: 127.0.0.1:8080}"), /admin_listen: is the same as ingress\.listen/],
  ["five at once", "worker", swap("github:\n", "github:\n  scope: org\n").replace("limits: {max_vms: 10}", "limits: {max_vms: 10, launch_rate: {per_second: five}}").replace("qemu\n", "k8s\n").replace("max_vms: 8", "max_vm: 8"),
    /scope: "org"[^]*per_second: "five"[^]*provider: "k8s"[^]*max_vm: unknown key/],
  ["a key inside the text, with a wrong indentation", "worker", swap("file:app.pem", "|\n  -----BEGIN RSA PRIVATE KEY-----\n  x"), /is not YAML/],
  ["a merge key", "worker", swap("    provider: qemu\n", "    provider: qemu\n    <<: {max_vms: 8}\n"), /classes\[0\]\.<<: unknown key/],
  ["a key without a value", "worker", swap("limits: {max_vms: 10}", "limits: {max_vms: }"), null],
  ["a number with a point", "worker", swap("max_vms: 8", "max_vms: 8.0"), /max_vms: "8\.0" is refused/],
  ["a number with an underscore", "worker", swap("max_vms: 8", "max_vms: 1_000"), /max_vms: "1_000" is refused/],
  ["an App without its id", "worker", swap('id: "1"', 'id: ""'), /github\.app\.id: is required with a private key/],
  ["a lease shorter than its sweeps", "reaper", add("reaper: {interval: 1m, lease_duration: 1m}\n"), /reaper\.lease_duration: is 1m, less than three times reaper\.interval/],
  ["delays that contradict", "worker", add("retry: {base_delay: 1m, max_delay: 1s}\n"), /retry\.max_delay: is 1s, below retry\.base_delay/],
  ["idle for longer than it may live", "worker", swap("max_duration: 1h", "max_duration: 1h\n    idle_timeout: 2h"), /warning: .*idle_timeout: is 2h, and max_duration is 1h/],
  ["Lambda", "worker", lambda(), null],
  ["a shell on Lambda", "worker", lambda().replace("max_duration: 1h", "max_duration: 1h\n    shell: true"), /classes\[0\]\.shell: is for the provider qemu alone/],
  ["a hold on Lambda", "worker", lambda().replace("max_duration: 1h", "max_duration: 1h\n    hold_on_failure: 15m"), /classes\[0\]\.hold_on_failure: is for VMs on hosts of your own alone/],
  ["x64 on Lambda", "worker", lambda().replace("arm64", "x64"), /warning: .*classes\[0\]\.labels: promise x64/],
  ["an image's name with a slash", "worker", lambda("", LAMBDA.replace("image:mayfly", "image/mayfly")), /lambda\.image: ".*" is refused: it must be an image's ARN/],
  ["a VM for longer than Lambda's", "worker", lambda().replace("max_duration: 1h", "max_duration: 12h"), /max_duration: is above 8h, the longest life of a MicroVM/],
  ["two Lambda classes with one image", "worker", lambda() + `  - {name: big, labels: [big], provider: lambda, lambda: {image: ${LAMBDA}}}\n`, /classes\[1\]\.lambda\.image: is also another class's/],
  ["a role's name for its ARN", "worker", lambda(", execution_role: mayfly-vm"), /execution_role: "mayfly-vm" is refused: it must be a role's ARN/],
  ["a user's ARN for a role's", "worker", lambda(", execution_role: 'arn:aws:iam::123456789012:user/x'"), /execution_role: .* is refused/],
  ["a log group with a blank", "worker", lambda(", execution_role: 'arn:aws:iam::123456789012:role/vm', log_group: 'a b'"), /log_group: "a b" is refused: it must be a log group's name/],
  ["a connector's name for its ARN", "worker", lambda(", egress_connectors: [vpc]"), /egress_connectors\[0\]: "vpc" is refused: it must be a network connector's ARN/],
  ["eleven connectors", "worker", lambda(`, egress_connectors: [${Array(11).fill("'arn:aws:lambda:us-east-1:123456789012:network-connector:v'").join(", ")}]`), /egress_connectors\[10\].*at most 10 items/],
];

const FOLDER = { ingress: "ingress", worker: "worker", reaper: "reaper" };
for (const [what, program, text, words] of CASES) {
  test(what, () => {
    file("t.yaml", text);
    const { status, stdout, stderr } = spawnSync(path.join(bin, FOLDER[program], `mayfly-${program}`), ["--check-config", "--config", "t.yaml"],
      { cwd: dir, encoding: "utf8", timeout: 20000, input: "" });
    const says = stdout + stderr;
    if (words === null || /^\/warning/.test(String(words))) assert.equal(status, 0, says);
    else assert.equal(status, 1, says);
    if (words === null) assert.doesNotMatch(says.replace(/warning: (ingress\.listen|.*admin_listen).*/g, ""), /warning:.*t\.yaml/);
    else assert.match(says, words);
    assert.doesNotMatch(says, /PRIVATE KEY-----\n[A-Za-z0-9+/]/, "a key is not shown");
  });
}

test("a spool on Fargate is refused, at the start too, and says what becomes of deliveries", () => {
  const text = BASE.replace("sqlite:///var/lib/mayfly/queue.db", "sqs://box?region=eu-west-1").replace("sqlite:///var/lib/mayfly/ledger.db", "dynamodb://box?region=eu-west-1");
  file("t.yaml", text.replace("ingress: {", `ingress: {spool: {path: ${dir}/spool.db}, `));
  const run = (env, ...args) => spawnSync(path.join(bin, "ingress/mayfly-ingress"), ["--config", "t.yaml", ...args], { cwd: dir, encoding: "utf8", timeout: 20000, env: { PATH: process.env.PATH, ...env } });
  assert.equal(run({}, "--check-config").status, 0);
  for (const args of [["--check-config"], []]) {
    const { status, stdout, stderr } = run({ AWS_EXECUTION_ENV: "AWS_ECS_FARGATE" }, ...args);
    assert.equal(status, 1);
    assert.match(stdout + stderr, /ingress\.spool\.path: needs a disk that outlives the process, and a Fargate task .* has none: .* delivery log/);
  }
  assert.equal(fs.existsSync(path.join(dir, "spool.db")), false);
});

test("a check that nobody can read is no success", () => {
  file("t.yaml", BASE);
  const full = fs.openSync("/dev/full", "w");
  for (const args of [["--check-config", "--config", "t.yaml"], ["--version"], ["--help"]]) {
    const { status, stderr } = spawnSync(path.join(bin, "worker/mayfly-worker"), args, { cwd: dir, encoding: "utf8", stdio: ["ignore", full, "pipe"] });
    assert.equal(status, 1, args[0]);
    assert.match(stderr, /cannot write the whole answer/);
  }
  fs.closeSync(full);
});

test("a configuration that comes through a pipe is read, and one that never comes ends the check", () => {
  file("t.yaml", BASE);
  const program = path.join(bin, "worker/mayfly-worker");
  const good = spawnSync("bash", ["-c", `"${program}" --check-config --config <(sleep 0.2; cat t.yaml)`], { cwd: dir, encoding: "utf8" });
  assert.equal(good.status, 1, "file:app.pem is relative to the pipe's directory");
  assert.match(good.stderr, /\/dev\/fd\/app\.pem|app\.pem/);
  const none = spawnSync(program, ["--check-config", "--config", "fifo"], { cwd: dir, encoding: "utf8", timeout: 20000, killSignal: "SIGKILL" });
  assert.equal(none.status, 1);
  assert.match(none.stderr, /configuration: fifo: whatever writes to it does not write/);
});

test("a reload with a file: value that never ends is refused, and SIGTERM ends the program", async () => {
  const listen = "{listen: 127.0.0.1:0, admin_listen: 127.0.0.1:0}";
  const text = swap("{listen: 127.0.0.1:8080}", listen).replaceAll("/var/lib/mayfly", dir);
  file("run.yaml", text);
  const ingress = spawn(path.join(bin, "ingress/mayfly-ingress"), ["--config", "run.yaml"], { cwd: dir, stdio: ["ignore", "ignore", "pipe"] });
  try {
    const lines = createInterface({ input: ingress.stderr })[Symbol.asyncIterator]();
    const until = async (msg) => { for (;;) { const { value, done } = await lines.next(); assert.ok(!done, msg); const e = JSON.parse(value); if (e.msg === msg) return e; } };
    await until("started");
    for (const value of ["fifo", "/dev/zero"]) {
      file("run.yaml", text.replace("[a-long-secret]", `["file:${value}"]`));
      ingress.kill("SIGHUP");
      assert.match((await until("config_reload_failed")).error, /webhook_secrets\[0\]: file: .*which may never end/);
    }
    ingress.kill("SIGTERM");
    await until("stopped");
  } finally { ingress.kill("SIGKILL"); }
});
