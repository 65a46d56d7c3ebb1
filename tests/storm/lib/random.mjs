// All chance of a storm comes from one seed.
import { Random as Seeded } from "../../fakes/lib/random.mjs";

export class Random extends Seeded {
  between(low, high) { return low + this.next() * (high - low); }
  pick(list) { return list[Math.floor(this.next() * list.length)]; }
  fork() { return new Random(Math.floor(this.next() * 4294967296)); }
}
