// Another fleet with the same labels: its runners take jobs that our machines were launched for. The names of its
// runners begin with `foreign-`.
import { RunnerClient } from "../../fakes/lib/runner_client.mjs";
import { sleep } from "../../lib/wait.mjs";

const send = async ({ method, url, headers, body }) => {
  const response = await fetch(url, { method, headers, body: method === "GET" ? undefined : body, signal: AbortSignal.timeout(10000) });
  return { status: response.status, text: await response.text() };
};

export class ForeignFleet {
  constructor({ url, token, labels, random }) {
    Object.assign(this, { url, token, labels, random, over: false, runners: new Set(), stolen: 0 });
  }

  async call(method, route, { body, bearer = this.token } = {}) {
    const response = await fetch(this.url + route, { method, headers: { authorization: `Bearer ${bearer}`, "content-type": "application/json" },
      body: body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body), signal: AbortSignal.timeout(10000) });
    return { status: response.status, text: await response.text() };
  }

  // One runner after the other, each for one job, until as many have been stolen as wanted.
  async steal(slots, jobs) {
    this.wanted = jobs;
    await Promise.all(Array.from({ length: slots }, (_, i) => this.lane(i)));
  }

  async lane(slot) {
    for (let n = 0; !this.over && this.stolen < this.wanted; n++) {
      try { await this.runner(`foreign-${slot}-${n}`); } catch { await sleep(100); }
    }
  }

  async runner(name) {
    const made = await this.call("POST", "/orgs/acme/actions/runners/generate-jitconfig",
      { body: { name, runner_group_id: 1, labels: this.labels, work_folder: "_work" } });
    if (made.status !== 201) { await sleep(100); return; }
    const { runner, encoded_jit_config: jit } = JSON.parse(made.text);
    this.runners.add(runner.id);
    const client = new RunnerClient(jit, send);
    await client.fetchToken();
    await client.open();
    while (!this.over && this.stolen < this.wanted) {
      const { type, kind, body } = await client.message();
      if (kind === "RunnerNotFound") break;
      if (type !== "RunnerJobRequest" || (await client.acquire(body)).status !== 200) continue;
      this.stolen += 1;
      await sleep(this.random.between(100, 900));
      await client.complete("succeeded");
      this.runners.delete(runner.id);
      return;
    }
  }

  // Those whose registration's answer was lost are known by their names alone.
  async stop() {
    this.over = true;
    for (let page = 1, full = true; full; page++) {
      const { text } = await this.call("GET", `/orgs/acme/actions/runners?per_page=100&page=${page}`);
      const { runners } = JSON.parse(text);
      full = runners.length === 100;
      for (const { id, name } of runners) if (name.startsWith("foreign-")) this.runners.add(id);
    }
    for (const id of this.runners) {
      await this.call("DELETE", `/orgs/acme/actions/runners/${id}`).catch(() => {});
    }
  }
}
