// The console of a service with keys.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { isAccessible, watched } from "./page.mjs";
import { append, browser, folder, run, serve } from "./support.mjs";

let chromium;
let service;
const files = folder();
const keys = {};

before(async () => {
  const key = (name, ...more) => run("key", "new", "--keys", files.file("keys.toml"), "--name", name, ...more);
  keys.writer = await key("writer", "--namespace", "acme", "--right", "read", "--right", "write");
  keys.reader = await key("reader", "--namespace", "acme", "--right", "read");
  keys.other = await key("other", "--namespace", "globex", "--right", "read", "--right", "write");
  const store = `sqlite:${files.file("chats.db")}`;
  [chromium, service] = await Promise.all([browser(), serve("--keys", files.file("keys.toml"), "--store", store)]);
  await append(service.url, "trip", [{ role: "user", content: "A secret of acme" }], keys.writer);
});
after(async () => {
  await chromium?.close();
  await service?.stop();
  files.close();
});

async function loggedIn(key, path = "/console") {
  const watch = await watched(chromium, service.url);
  await watch.open(path);
  await watch.page.getByLabel("API key").fill(key);
  await watch.page.getByRole("button", { name: "Log in" }).click();
  return watch;
}

test("a wrong key is refused, in words", async () => {
  const { page, close } = await loggedIn("cm_wrong_key");
  await page.getByRole("alert").getByText("Unknown API key").waitFor();
  await isAccessible(page, "the login, refused");
  await close();
});

test("the login leads to what was asked for, and lasts until the logout", async () => {
  const { page, open, close } = await loggedIn(keys.writer, "/console/sessions/trip");
  await page.getByText("A secret of acme").waitFor();
  await page.locator('#live[data-state="on"]').waitFor();
  await append(service.url, "trip", [{ role: "assistant", content: "Live, with a cookie" }], keys.writer);
  await page.getByText("Live, with a cookie").waitFor();
  assert.equal(await page.evaluate(() => document.cookie), "", "no script sees the cookie");
  await isAccessible(page, "a session, logged in");
  await page.getByRole("button", { name: "Log out" }).click();
  await page.getByRole("heading", { level: 1, name: "Log in" }).waitFor();
  await open("/console/sessions/trip");
  await page.getByRole("heading", { level: 1, name: "Log in" }).waitFor();
  await isAccessible(page, "the login");
  const width = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(width[0] <= width[1], `the login is wider than the window: ${width}`);
  await close();
});

test("who may only read sees no way to write", async () => {
  const { page, open, close } = await loggedIn(keys.reader);
  await page.getByText("read only").waitFor();
  assert.equal(await page.getByRole("link", { name: "New session" }).count(), 0);
  await open("/console/sessions/trip");
  await page.getByText("A secret of acme").waitFor();
  assert.equal(await page.getByRole("button", { name: "Send" }).count(), 0);
  assert.equal(await page.getByRole("link", { name: /…$/ }).count(), 0);
  for (const below of ["delete", "edit?seq=0&n=0", "regenerate?seq=0&n=0", "redact?seq=0"]) {
    await open(`/console/sessions/trip/${below}`);
    await page.getByRole("heading", { level: 1, name: "Not allowed" }).waitFor();
  }
  // What the whole service used is for keys that may read the metrics.
  await open("/console");
  assert.equal(await page.getByRole("link", { name: "Cost per day" }).count(), 0);
  await open("/console/usage");
  await page.getByRole("heading", { level: 1, name: "Not allowed" }).waitFor();
  await close();
});

test("another namespace sees nothing of it", async () => {
  const { page, open, close } = await loggedIn(keys.other);
  await page.getByText("No sessions yet.").waitFor();
  await open("/console/sessions/trip");
  await page.getByText("No messages yet.").waitFor();
  assert.equal(await page.getByText("secret").count(), 0);
  await close();
});

test("a key that is revoked ends the pages that are open", async () => {
  const key = await run("key", "new", "--keys", files.file("keys.toml"), "--name", "short", "--namespace", "acme", "--right", "read");
  // The service notices the file's change within a second, so a login may have to be retried.
  let watch = await loggedIn(key, "/console/sessions/trip");
  while ((await watch.page.getByRole("alert").count()) > 0) {
    await watch.page.getByLabel("API key").fill(key);
    await watch.page.getByRole("button", { name: "Log in" }).click();
  }
  const { page, close } = watch;
  await page.locator('#live[data-state="on"]').waitFor();
  await run("key", "revoke", "--keys", files.file("keys.toml"), "short");
  await page.getByText("No longer live: reload the page").waitFor();
  await append(service.url, "trip", [{ role: "user", content: "After the end" }], keys.writer);
  await page.reload();
  await page.getByRole("heading", { level: 1, name: "Log in" }).waitFor();
  await close();
});
