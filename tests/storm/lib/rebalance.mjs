// When a lane's group on Kafka could not give out all its partitions, from the brokers' logs: a rebalance was under way, or a
// member was dead that still had its session.
import fs from "node:fs";

const LINE = /^(\d\d):(\d\d):(\d\d)\.(\d{3}) .*GroupMetadataManager.*(Preparing to rebalance|Assignment received|Loaded classic|has failed, removing)/;

// The logs have no date; `around` is a moment of the storm.
function timeOf([, hours, minutes, seconds, ms], around) {
  const at = new Date(around);
  at.setHours(Number(hours), Number(minutes), Number(seconds), Number(ms));
  const day = 24 * 3600 * 1000;
  return at.getTime() + Math.round((around - at.getTime()) / day) * day;
}

function events(files, group, around) {
  const found = files.flatMap((file) => fs.readFileSync(file, "utf8").split("\n")).filter((line) => line.includes(`group ${group} `));
  return found.map((line) => LINE.exec(line)).filter(Boolean).map((match) => ({ at: timeOf(match, around), what: match[5] })).sort((a, b) => a.at - b.at);
}

// Sorted intervals without overlaps, as [from, to] in ms.
export function rebalances(files, group, sessionMs, around) {
  const spans = [];
  let since = null;
  for (const { at, what } of events(files, group, around)) {
    if (what === "has failed, removing") spans.push([at - sessionMs, at]);
    else if (what === "Preparing to rebalance") since ??= at;
    else if (since !== null) { // a new coordinator begins with the last generation
      spans.push([since, at]);
      since = null;
    }
  }
  const merged = [];
  for (const [from, to] of spans.sort((a, b) => a[0] - b[0])) {
    if (merged.length && from <= merged.at(-1)[1]) merged.at(-1)[1] = Math.max(merged.at(-1)[1], to);
    else merged.push([from, to]);
  }
  return merged;
}

export function overlapMs(spans, from, to) {
  return spans.reduce((sum, span) => sum + Math.max(0, Math.min(to, span[1]) - Math.max(from, span[0])), 0);
}
