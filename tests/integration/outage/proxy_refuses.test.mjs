// Case (c): the proxy between this fleet and GitHub refuses everything with 407, until somebody repairs its password. It is the proxy's
// trouble, not GitHub's. Refused tunnels (CONNECT) are in tests/unit/http/test_http_proxy.c.
import test from "node:test";
import assert from "node:assert/strict";
import http from "node:http";
import { until } from "../../lib/wait.mjs";
import { MINUTE_MS, outage } from "../lib/outage.mjs";

// Passes requests on, or refuses them and counts that.
async function startProxy(t) {
  const proxy = { refuses: false, refused: 0, passed: 0 };
  const server = http.createServer((request, response) => {
    if (proxy.refuses) {
      proxy.refused += 1;
      response.writeHead(407, { "proxy-authenticate": "Basic realm=\"proxy\"" }).end("<html>Proxy Authentication Required</html>");
      return;
    }
    proxy.passed += 1;
    const { "proxy-connection": _, ...headers } = request.headers;
    const onward = http.request(request.url, { method: request.method, headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    onward.on("error", () => response.destroy());
    request.pipe(onward);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => { server.closeAllConnections(); server.close(); });
  return Object.assign(proxy, { address: `127.0.0.1:${server.address().port}` });
}

test("a_proxy_that_refuses_for_3_minutes_costs_time_alone", async (t) => {
  const proxy = await startProxy(t);
  const d = outage(t, { env: { http_proxy: `http://mayfly:secret@${proxy.address}`, no_proxy: "" } });
  await d.startGitHub();
  await d.startPrograms();
  proxy.refuses = true;
  await d.queueJobs({ count: 10, command: "sleep 0.1" });
  await until("the proxy's circuit opens", () => d.said("circuit_opened").some((e) => e.subject.startsWith("proxy:")), { seconds: 30 });
  await d.last(3 * MINUTE_MS, () => proxy.refused);
  assert.equal(d.log().filter((e) => e.event === "runner_registered").length, 0, "nothing got through");
  const opened = d.said("circuit_opened");
  assert.deepEqual(opened.filter((e) => !e.subject.startsWith("proxy:")).map((e) => e.subject), [], "others' circuits");
  for (const { error } of opened) {
    assert.ok(error.includes(`the proxy ${proxy.address} answered 407: check its user and password in http_proxy`), error);
    assert.ok(!error.includes("secret"), error);
  }
  proxy.refuses = false;
  await d.assertHealed(10, { seconds: 90 });
  assert.ok(proxy.passed > 10, "calls went by the proxy");
});
