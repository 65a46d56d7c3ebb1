/* Seeded chance, so that a run can be repeated: mulberry32, small and the same everywhere. */
export class Random {
  constructor(seed) {
    this.state = seed >>> 0;
  }

  /** In [0, 1). */
  next() {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = this.state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  /** A time that varies by a share of itself. */
  vary(ms, share) {
    return share > 0 ? ms * (1 - share + 2 * share * this.next()) : ms;
  }
}
