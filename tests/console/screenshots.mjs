// Screenshots of the console's pages, for people to look at: light, dark, and as wide as a phone. `cargo xtask screenshots` runs
// this, with the folder for the screenshots as the argument.
import { mkdirSync } from "node:fs";
import { join } from "node:path";

import { browser, folder, run, serve } from "./support.mjs";

const into = process.argv[2];
if (!into) throw new Error("name the folder for the pictures; `cargo xtask screenshots` does");
mkdirSync(into, { recursive: true });

const looks = {
  light: { colorScheme: "light", viewport: { width: 1280, height: 860 } },
  dark: { colorScheme: "dark", viewport: { width: 1280, height: 860 } },
  phone: { colorScheme: "light", viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true },
};

const demo = await serve("--demo");
const files = folder();
const key = await run("key", "new", "--keys", files.file("keys.toml"), "--name", "support team", "--namespace", "acme", "--right", "read");
const locked = await serve("--keys", files.file("keys.toml"), "--store", `sqlite:${files.file("chats.db")}`);
const chromium = await browser();

/** Each screenshot: which service, which page, and what to do there first. */
const pages = [
  ["sessions", demo.url, "/console"],
  ["session", demo.url, "/console/sessions/trip-lisbon"],
  ["session-unfolded", demo.url, "/console/sessions/trip-lisbon", (page) => page.$$eval("details.data", (all) => all.forEach((one) => (one.open = true)))],
  ["session-code", demo.url, "/console/sessions/sales-report"],
  ["session-scripts", demo.url, "/console/sessions/menu-arabic"],
  ["search", demo.url, "/console/search?q=the"],
  ["fork", demo.url, "/console/sessions/trip-lisbon/fork?seq=1"],
  ["session-long", demo.url, "/console/sessions/quiz-capitals"],
  ["new", demo.url, "/console/new"],
  ["take-back", demo.url, "/console/sessions/trip-lisbon/rewind"],
  ["delete", demo.url, "/console/sessions/trip-lisbon/delete"],
  ["edit", demo.url, "/console/sessions/trip-lisbon/edit?seq=0&n=1"],
  ["usage", demo.url, "/console/usage"],
  ["costs-of-session", demo.url, "/console/sessions/quiz-capitals/costs"],
  ["costs-of-list", demo.url, "/console/costs?all=true"],
  ["not-found", demo.url, "/console/nowhere"],
  ["login", locked.url, "/console/login"],
  ["logged-in", locked.url, "/console", login],
];

async function login(page) {
  if (!page.url().includes("/login")) return;
  await page.getByLabel("API key").fill(key);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByRole("heading", { level: 1, name: "All sessions" }).waitFor();
}

try {
  for (const [look, options] of Object.entries(looks)) {
    const context = await chromium.newContext({ ...options, locale: "en-GB", timezoneId: "UTC" });
    for (const [name, url, path, prepare] of pages) {
      const page = await context.newPage();
      await page.goto(url + path);
      await prepare?.(page);
      // A phone's screenshot shows the whole page, the others its visible part.
      await page.screenshot({ path: join(into, `${name}-${look}.png`), animations: "disabled", fullPage: look === "phone" && !path.endsWith("-lisbon") && !name.startsWith("session-") });
      await page.close();
    }
    await context.close();
  }
} finally {
  await chromium.close();
  await Promise.all([demo.stop(), locked.stop()]);
  files.close();
}
console.log(`the pictures are in ${into}`);
