// A headless Chromium for tests, driven through its debugging pipe: no package of npm is needed, only Debian's chromium.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { spawnSync } from "node:child_process";
import { spawn } from "./child.mjs";
import { until } from "./wait.mjs";

// The programs themselves: Debian's in /usr/bin are scripts whose end is not the browser's.
const PLACES = ["/usr/lib/chromium/chromium-headless-shell", "/usr/lib/chromium/chromium", "/opt/google/chrome/chrome"];

// The program's path, or undefined.
export const chromium = PLACES.find((file) => fs.existsSync(file));

// Starts one: { goto(url), evaluate(expression), text(), shows(words), key(name), type(text), size(width, height), dark(is), picture(file), requests, console }.
// It ends with the test. One page is open; `requests` has every URL that it asked for, `console` what it reported, exceptions too.
export async function browse(t) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "mayfly-chromium-"));
  const child = spawn(chromium, ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", `--user-data-dir=${folder}`, "--remote-debugging-pipe", "about:blank"],
    { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  t.after(async () => { child.kill("SIGKILL"); await ended; child.stdio.forEach((stream) => stream?.destroy()); fs.rmSync(folder, { recursive: true, force: true, maxRetries: 5 }); });
  const waiting = new Map();
  const page = { requests: [], console: [], pending: "" };
  let id = 0;
  child.stdio[4].on("data", (bytes) => {
    const messages = (page.pending + bytes).split("\0");
    page.pending = messages.pop();
    for (const message of messages.map((text) => JSON.parse(text))) {
      if (message.id) { waiting.get(message.id)?.(message); waiting.delete(message.id); }
      if (message.method === "Network.requestWillBeSent") page.requests.push(message.params.request.url);
      if (message.method === "Log.entryAdded") page.console.push(message.params.entry.text);
      if (message.method === "Runtime.exceptionThrown") page.console.push(message.params.exceptionDetails.exception?.description ?? message.params.exceptionDetails.text);
    }
  });
  const send = (method, params = {}, sessionId = undefined) => new Promise((resolve, reject) => {
    id += 1;
    waiting.set(id, ({ result, error }) => (error ? reject(new Error(`${method}: ${error.message}`)) : resolve(result)));
    child.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
  });
  const { targetInfos } = await send("Target.getTargets");
  const { sessionId } = await send("Target.attachToTarget", { targetId: targetInfos.find(({ type }) => type === "page").targetId, flatten: true });
  for (const domain of ["Page", "Network", "Log", "Runtime"]) await send(`${domain}.enable`, {}, sessionId);
  const evaluate = async (expression) => (await send("Runtime.evaluate", { expression, returnByValue: true }, sessionId).catch(() => null))?.result?.value;
  const key = async (name, text = name.length === 1 ? name : undefined) => {
    const code = { Enter: 13, Escape: 27, ArrowUp: 38, ArrowDown: 40 }[name] ?? name.toUpperCase().charCodeAt(0);
    const typed = name === "Enter" ? "\r" : text;
    await send("Input.dispatchKeyEvent", { type: "keyDown", key: name, windowsVirtualKeyCode: code, text: typed }, sessionId);
    await send("Input.dispatchKeyEvent", { type: "keyUp", key: name, windowsVirtualKeyCode: code }, sessionId);
  };
  return Object.assign(page, {
    evaluate,
    key,
    type: (text) => send("Input.insertText", { text }, sessionId),
    size: (width, height, { phone = false } = {}) => send("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: phone ? 2 : 1, mobile: phone }, sessionId),
    dark: (is) => send("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: is ? "dark" : "light" }] }, sessionId),
    picture: async (file) => fs.writeFileSync(file, Buffer.from((await send("Page.captureScreenshot", { format: "png" }, sessionId)).data, "base64")),
    goto: (url) => send("Page.navigate", { url }, sessionId),
    text: () => evaluate("document.body?.innerText ?? ''"),
    shows: (words) => until(`the page shows ${words}`, async () => words.test((await page.text()) ?? ""), { seconds: 30 }),
  });
}
