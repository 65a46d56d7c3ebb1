// Waiting in tests and tools: for a time, or for a condition.
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Polls until check() is true; throws after the timeout. Without every_ms the longer it has waited the rarer it polls: many a check
// starts a program.
export async function until(what, check, { seconds = 60, every_ms } = {}) {
  const start = Date.now();
  const end = start + seconds * 1000;
  for (;;) {
    const value = await check();
    if (value) return value;
    if (Date.now() > end) throw new Error(`gave up after ${seconds} s waiting until ${what}`);
    await sleep(every_ms ?? Math.min(250, 25 + (Date.now() - start) / 10));
  }
}
