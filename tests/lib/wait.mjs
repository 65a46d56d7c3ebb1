// Waiting in tests and tools: for a time, or for a condition.
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Polls until check() is true; throws after the timeout.
export async function until(what, check, { seconds = 60, every_ms = 25 } = {}) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const value = await check();
    if (value) return value;
    if (Date.now() > end) throw new Error(`gave up after ${seconds} s waiting until ${what}`);
    await sleep(every_ms);
  }
}
