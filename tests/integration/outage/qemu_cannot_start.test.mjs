// Case (j): QEMU can no longer be started on this host, as after an update of its libraries, until somebody repairs it.
import test from "node:test";
import fs from "node:fs";
import path from "node:path";
import { MINUTE_MS, outage } from "../lib/outage.mjs";

test("a_host_whose_qemu_does_not_start_costs_time_alone", async (t) => {
  const d = outage(t);
  const [broken, tried, script] = ["broken", "tried", "qemu"].map((name) => path.join(d.dir, name));
  const one = d.fakeQemuClass();
  fs.writeFileSync(script, `#!/bin/sh\nif [ -e ${broken} ]; then echo x >>${tried}; echo "error while loading shared libraries: libslirp.so.0" >&2; exit 127; fi\nexec ${one.qemu.binary} "$@"\n`, { mode: 0o755 });
  d.options.config = { ...d.options.config, worker: { ...d.options.config?.worker, vm_uids: "" } }; // the script writes into this user's folder
  d.options.classes = [{ ...one, qemu: { ...one.qemu, binary: script } }];
  await d.startGitHub();
  await d.startPrograms();
  fs.writeFileSync(broken, "");
  await d.queueJobs({ count: 10, command: "sleep 0.1" });
  await d.last(3 * MINUTE_MS, () => (fs.existsSync(tried) ? fs.statSync(tried).size : 0));
  fs.rmSync(broken);
  // Launches in flight: no more than the cap; and the failures that open the circuit.
  await d.assertHealed(10, { seconds: 90, wasted: 15 });
});
