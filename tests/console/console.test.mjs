// The console as a person uses it, without keys.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { isAccessible, watched } from "./page.mjs";
import { append, api, browser, serve } from "./support.mjs";

let chromium;
let service;
before(async () => {
  [chromium, service] = await Promise.all([browser(), serve("--demo")]);
});
after(async () => {
  await chromium?.close();
  await service?.stop();
});

const messages = async (session) => (await api(service.url, "GET", `/sessions/${session}/messages`)).messages;

/** A session's page that is receiving live updates. */
async function live(session, options) {
  const watch = await watched(chromium, service.url, options);
  await watch.open(`/console/sessions/${encodeURIComponent(session)}`);
  await watch.page.locator('#live[data-state="on"]').waitFor();
  return watch;
}

test("from the list to a conversation, whose tool calls unfold", async () => {
  const { page, open, close } = await watched(chromium, service.url);
  await open("/");
  assert.equal(new URL(page.url()).pathname, "/console");
  await page.getByRole("link", { name: "A long weekend in Lisbon" }).click();
  await page.getByRole("heading", { level: 1, name: "A long weekend in Lisbon" }).waitFor();
  const call = page.locator("details.call").first();
  assert.equal(await call.locator("pre").isVisible(), false);
  await call.locator("summary").click();
  assert.ok((await call.locator("pre").innerText()).includes("Lisbon"));
  await page.getByRole("navigation", { name: "Breadcrumb" }).getByRole("link", { name: "Sessions" }).click();
  await page.getByLabel("Owner").fill("grace");
  await page.getByRole("button", { name: "Show" }).click();
  await page.getByRole("heading", { level: 1, name: "Sessions of grace" }).waitFor();
  assert.equal(await page.locator("table.sessions tbody tr").count(), 1);
  await close();
});

test("the list shows first words, records and times, and sorts by the heads of its columns", async () => {
  for (const [id, content] of [["older", "Which tram\ngoes up the hill?"], ["newer", "Is it far?"]]) {
    await api(service.url, "POST", `/sessions/${id}/messages`, { messages: [{ role: "user", content }], owner: "lists" });
  }
  await append(service.url, "older", [{ role: "assistant", content: "Number 28." }]);
  const { page, open, close } = await watched(chromium, service.url);
  await open("/console?owner=lists");
  const rows = page.locator("table.sessions tbody tr");
  assert.deepEqual(await rows.locator("th > a").allInnerTexts(), ["Which tram goes up the hill?", "Is it far?"]);
  assert.deepEqual(await rows.locator("td.n").allInnerTexts(), ["2", "1"]);
  assert.equal(await rows.locator("td.time time").count(), 4);
  const sorted = page.locator("th[aria-sort=descending]");
  assert.match(await sorted.innerText(), /^Last activity/);
  await page.getByRole("link", { name: "Started" }).click();
  await page.locator("th[aria-sort=descending]", { hasText: "Started" }).waitFor();
  assert.deepEqual(await rows.locator("th > a").allInnerTexts(), ["Is it far?", "Which tram goes up the hill?"]);
  // By keyboard back.
  await page.getByRole("link", { name: "Last activity" }).focus();
  await page.keyboard.press("Enter");
  await page.locator("th[aria-sort=descending]", { hasText: "Last activity" }).waitFor();
  assert.ok((await page.locator("#owners option").evaluateAll((all) => all.map(({ value }) => value))).includes("lists"));
  await close();
});

test("the list is live, and keeps the focus", async () => {
  await api(service.url, "POST", "/sessions/first-of-live/messages", { messages: [{ role: "user", content: "First" }], owner: "live" });
  const { page, open, close } = await watched(chromium, service.url);
  await open("/console?owner=live");
  await page.locator('#live[data-state="on"]').waitFor();
  await page.getByRole("link", { name: "First" }).focus();
  await api(service.url, "POST", "/sessions/second-of-live/messages", { messages: [{ role: "user", content: "Second" }], owner: "live" });
  await page.getByRole("link", { name: "Second" }).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "First");
  await api(service.url, "DELETE", "/sessions/second-of-live");
  await page.getByRole("link", { name: "Second" }).waitFor({ state: "detached" });
  await close();
});

test("a long list has pages that say where they are", async () => {
  for (let n = 0; n < 130; n += 1) {
    await api(service.url, "POST", `/sessions/page-${n}/messages`, { messages: [{ role: "user", content: "x" }], owner: "pages", title: `Page ${n}` });
  }
  const { page, open, close } = await watched(chromium, service.url, { javaScriptEnabled: false });
  await open("/console?owner=pages");
  await page.getByText("Sessions 1 to 100.").waitFor();
  await page.getByRole("link", { name: "Reload" }).waitFor();
  await page.getByRole("link", { name: "Older sessions" }).click();
  await page.getByText("Sessions 101 to 130.").waitFor();
  assert.equal(await page.locator("table.sessions tbody tr").count(), 30);
  await page.getByRole("link", { name: "First page" }).click();
  await page.getByRole("link", { name: "Page 129" }).waitFor();
  await close();
});

test("all owners' sessions are one list, which sorts by the heads of its columns", async () => {
  const ids = ["all-1", "all-2", "all-3"];
  for (const [n, id] of ids.entries()) {
    const owner = n === 2 ? undefined : `owner of ${id}`;
    await api(service.url, "POST", `/sessions/${id}/messages`, { messages: [{ role: "user", content: `Question ${n + 1}` }], owner });
  }
  await append(service.url, "all-1", [{ role: "assistant", content: "An answer." }]);
  const { page, open, close } = await watched(chromium, service.url);
  await open("/console");
  await page.getByRole("heading", { level: 1, name: "All sessions" }).waitFor();
  const mine = async () => (await page.locator("table.sessions tbody th > a").allInnerTexts()).filter((text) => /^Question \d$/.test(text));
  await page.locator("th[aria-sort=descending]", { hasText: "Last activity" }).waitFor();
  assert.deepEqual(await mine(), ["Question 1", "Question 3", "Question 2"]);
  assert.equal(await page.getByText("within this page only").count(), 0);
  await page.getByRole("link", { name: "Started" }).click();
  await page.locator("th[aria-sort=descending]", { hasText: "Started" }).waitFor();
  assert.deepEqual(await mine(), ["Question 3", "Question 2", "Question 1"]);
  // The next page continues in the same order, and says where it is.
  await page.getByRole("link", { name: "Older sessions" }).click();
  await page.getByText("Sessions 101 to ").waitFor();
  await page.locator("th[aria-sort=descending]", { hasText: "Started" }).waitFor();
  await close();
});

test("what the service used is shown by operation", async () => {
  const { page, open, close } = await watched(chromium, service.url);
  await open("/console");
  await page.getByRole("link", { name: "Cost per day" }).click();
  await page.getByRole("heading", { level: 1, name: "Cost per day" }).waitFor();
  const appends = async () => Number((await page.getByRole("row", { name: /Append messages/ }).locator("td").first().innerText()).replaceAll(",", ""));
  const before = await appends();
  assert.ok(before > 0);
  await append(service.url, "counted", [{ role: "user", content: "One more" }]);
  await page.reload();
  assert.equal(await appends(), before + 1);
  await page.getByText("This store is not billed").waitFor();
  await page.getByRole("link", { name: "Compare" }).click();
  await page.getByRole("heading", { level: 1, name: "Cost of these sessions" }).waitFor();
  await close();
});

test("a message is edited, and an answer taken back to be written again", async () => {
  await append(service.url, "edited", [{ role: "system", content: "Be brief." }, { role: "user", content: "Where to?" }, { role: "assistant", content: "To Rome." }]);
  await append(service.url, "edited", [{ role: "user", content: "And then?" }, { role: "assistant", content: "Home." }]);
  const { page, open, close } = await watched(chromium, service.url);
  await open("/console/sessions/edited");
  await page.getByRole("link", { name: "Regenerate answer 1 of record 1" }).click();
  await page.getByText("1 message is taken back").waitFor();
  assert.deepEqual(await page.locator(".turn .text").allInnerTexts(), ["Home."]);
  await isAccessible(page);
  await page.getByRole("button", { name: "Take back" }).click();
  await page.getByText("the application can ask the model again").waitFor();
  assert.deepEqual((await messages("edited")).map(({ content }) => content), ["Be brief.", "Where to?", "To Rome.", "And then?"]);

  // An edit by keyboard, of a message in the middle of a record.
  await page.getByRole("link", { name: "Edit text 1 of record 0" }).focus();
  await page.keyboard.press("Enter");
  await page.getByText("2 messages after it are taken back").waitFor();
  assert.deepEqual(await page.locator(".turn .text").allInnerTexts(), ["To Rome.", "And then?"]);
  const form = page.url();
  await page.getByLabel("Message").fill("Where to,\nby tram?");
  await append(service.url, "edited", [{ role: "assistant", content: "Meanwhile." }]);
  await page.getByRole("button", { name: "Edit and continue" }).click();
  await page.getByText("This session was modified since you saw it").waitFor();
  assert.equal(await page.getByLabel("Message").inputValue(), "Where to,\nby tram?", "what was written is not lost");
  await page.goto(form);
  await page.getByLabel("Message").fill("Where to,\nby tram?");
  await page.getByRole("button", { name: "Edit and continue" }).click();
  await page.getByText("The message was edited").waitFor();
  assert.deepEqual(await messages("edited"), [{ role: "system", content: "Be brief." }, { role: "user", content: "Where to,\nby tram?" }]);
  await close();
});

test("a message is redacted, and the rest of its record stays", async () => {
  await append(service.url, "redacted", [{ role: "user", content: "My card is 4111 1111" }, { role: "assistant", content: "Thank you." }]);
  const { page, open, close } = await watched(chromium, service.url);
  await open("/console/sessions/redacted");
  await page.getByRole("link", { name: "Redact record 0" }).click();
  await page.getByRole("heading", { level: 1, name: "Redact record 0" }).waitFor();
  assert.deepEqual(await page.locator(".turn .text").allInnerTexts(), ["My card is 4111 1111", "Thank you."]);
  await isAccessible(page);
  await page.getByLabel("What", { exact: true }).selectOption("0");
  await page.getByLabel("Put in its place").fill("[a card]");
  await page.getByRole("button", { name: "Redact" }).click();
  await page.getByText("The record was redacted").waitFor();
  assert.deepEqual((await messages("redacted")).map(({ content }) => content), ["[a card]", "Thank you."]);
  assert.equal(await page.getByText("4111").count(), 0);
  await close();
});

test("code is coloured, and copied as it is", async () => {
  const code = 'def total(rows):\n\treturn sum(rows) + 1.5  # <all> of "them"\n';
  await append(service.url, "coloured", [{ role: "assistant", content: `\`\`\`python\n${code}\`\`\`\n\n\`\`\`klingon\nqapla\n\`\`\`` }]);
  const { page, open, close } = await watched(chromium, service.url, { permissions: ["clipboard-read", "clipboard-write"] });
  await open("/console/sessions/coloured");
  const color = (words) => page.locator("pre span", { hasText: words }).first().evaluate((span) => getComputedStyle(span).color);
  const colors = await Promise.all([color("def"), color("total"), color("1.5"), color("# <all>")]);
  assert.equal(new Set(colors).size, 4, `${colors}`);
  assert.equal(await page.locator('pre[data-language="klingon"] span').count(), 0);
  await page.getByRole("button", { name: "Copy" }).first().click();
  await page.locator("button", { hasText: "Copied" }).waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), code);
  await isAccessible(page);
  await close();
});

test("a thread's messages at each of its checkpoints", async () => {
  const { page, open, close } = await watched(chromium, service.url);
  await open("/console");
  await page.getByRole("link", { name: "Threads" }).click();
  await page.getByRole("link", { name: "booking-agent" }).click();
  await page.getByRole("heading", { level: 1, name: "booking-agent" }).waitFor();
  assert.equal(await page.locator(".message.assistant strong").innerText(), "08:38");
  await page.getByText("Waiting write to __interrupt__").click();
  assert.ok((await page.locator("details[open] pre").innerText()).includes("Book the 08:38"));
  await isAccessible(page);
  const checkpoints = page.getByRole("region", { name: "Checkpoints" });
  assert.equal(await checkpoints.locator("li").count(), 5);
  assert.equal(await checkpoints.locator("[aria-current]").innerText(), "loop, step 3");
  await checkpoints.getByRole("link", { name: "loop, step 0" }).click();
  await page.locator(".message.user").waitFor();
  assert.equal(await page.locator(".message").count(), 1);
  assert.equal(await checkpoints.locator("[aria-current]").innerText(), "loop, step 0");
  await page.getByRole("navigation", { name: "Breadcrumb" }).getByRole("link", { name: "Threads" }).click();
  await page.getByRole("heading", { level: 1, name: "Threads" }).waitFor();
  await close();
});

test("messages come while the page is open, and go when they are taken back", async () => {
  await append(service.url, "live", [{ role: "user", content: "First" }]);
  const { page, close } = await live("live");
  const records = page.locator(".record");
  assert.equal(await records.count(), 1);
  await append(service.url, "live", [
    { role: "user", content: "Second <script>document.title = 'run'</script>" },
    { role: "assistant", content: "**Third**" },
  ]);
  await page.locator(".message.assistant strong", { hasText: "Third" }).waitFor();
  assert.ok((await page.locator(".message.user").last().innerText()).includes("<script>"));
  assert.notEqual(await page.title(), "run");
  await api(service.url, "POST", "/sessions/live/rewind", { turns: 1 });
  await page.getByText("Taken back: record 1").waitFor();
  assert.deepEqual(await page.locator(".message .text").allInnerTexts(), ["First"]);
  await api(service.url, "DELETE", "/sessions/live/messages");
  await page.getByText("Cleared: all earlier messages are hidden").waitFor();
  assert.equal(await page.locator(".message").count(), 0);
  await close();
});

test("a message is written, in every role, and seen by another who watches", async () => {
  await append(service.url, "written", [{ role: "system", content: "Be brief." }]);
  const [writer, reader] = await Promise.all([live("written"), live("written")]);
  const { page } = writer;
  await page.getByLabel("Message").fill("Hello\nthere");
  await page.getByRole("button", { name: "Send" }).click();
  await page.locator(".message.user", { hasText: "Hello" }).waitFor();
  await reader.page.locator(".message.user", { hasText: "Hello" }).waitFor();
  assert.equal(await page.getByLabel("Message").evaluate((text) => text === document.activeElement), true, "the message field keeps the focus");
  await page.getByLabel("As").selectOption("assistant");
  await page.getByLabel("Message").fill("Hi.");
  await page.getByLabel("Message").press("Control+Enter");
  await reader.page.locator(".message.assistant", { hasText: "Hi." }).waitFor();
  await page.locator(".message.assistant", { hasText: "Hi." }).waitFor();
  assert.deepEqual(await messages("written"), [
    { role: "system", content: "Be brief." },
    { role: "user", content: "Hello\nthere" },
    { role: "assistant", content: "Hi." },
  ]);
  await Promise.all([writer.close(), reader.close()]);
});

test("two clicks store once", async () => {
  const { page, close } = await live("twice");
  await page.getByLabel("Message").fill("Once");
  await page.getByRole("button", { name: "Send" }).dblclick();
  await page.locator(".message.user", { hasText: "Once" }).waitFor();
  assert.equal((await messages("twice")).length, 1);
  await close();
});

test("a new session, its title, taking back, clearing and deleting", async () => {
  const { page, open, close } = await watched(chromium, service.url);
  await open("/console");
  await page.getByRole("link", { name: "New session" }).click();
  await page.getByLabel("Message").fill("What is a tram?");
  await page.getByLabel("Title").fill("Trams");
  await page.getByLabel("Session id").fill("of trams/1");
  await page.getByRole("button", { name: "Create session" }).click();
  await page.getByRole("heading", { level: 1, name: "Trams" }).waitFor();

  await page.getByText("Change the title").click();
  await page.getByLabel("Title").fill("All about trams");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("heading", { level: 1, name: "All about trams" }).waitFor();

  const id = encodeURIComponent("of trams/1");
  await append(service.url, "of trams/1", [{ role: "user", content: "And a bus?" }]);
  await page.getByRole("link", { name: "Take back the last turn…" }).click();
  await page.getByText("And a bus?").waitFor();
  await page.getByRole("button", { name: "Take back" }).click();
  await page.getByText("The last turn was taken back.").waitFor();
  assert.deepEqual(await messages(id), [{ role: "user", content: "What is a tram?" }]);

  await page.getByRole("link", { name: "Clear the session…" }).click();
  await page.getByRole("link", { name: "Cancel" }).click();
  assert.equal((await messages(id)).length, 1, "who does not mean it has lost nothing");
  await page.getByRole("link", { name: "Clear the session…" }).click();
  await page.getByRole("button", { name: "Clear" }).click();
  await page.getByText("The session was cleared.").waitFor();
  assert.deepEqual(await messages(id), []);

  await page.getByRole("link", { name: "Delete the session…" }).click();
  await page.getByRole("button", { name: "Delete" }).click();
  await page.getByText("The session was deleted.").waitFor();
  assert.equal(await page.getByRole("link", { name: "All about trams" }).count(), 0);
  await close();
});

test("older messages are a page away", async () => {
  const { page, open, close } = await watched(chromium, service.url);
  await open("/console/sessions/quiz-capitals");
  await page.getByText("That was the last one.").waitFor();
  await page.getByRole("link", { name: "Older messages" }).click();
  await page.getByText("Let us play the quiz of capitals.").waitFor();
  assert.equal(await page.getByRole("link", { name: "Older messages" }).count(), 0);
  await page.getByRole("link", { name: "Newest messages" }).click();
  await page.getByText("That was the last one.").waitFor();
  await close();
});

test("a live page offers only what can be done with the messages that are there", async () => {
  const { page, close } = await live("offers");
  const [fork, back] = ["Fork the session…", "Take back the last turn…"].map((name) => page.getByRole("link", { name }));
  const regenerate = page.getByRole("link", { name: "Regenerate answer" });
  const offered = async () => [await fork.isVisible(), await back.isVisible(), await regenerate.count()];
  assert.deepEqual(await offered(), [false, false, 0]);
  await append(service.url, "offers", [{ role: "assistant", content: "Welcome." }]);
  await page.getByText("Welcome.").waitFor();
  assert.deepEqual(await offered(), [true, false, 0]);
  await append(service.url, "offers", [{ role: "user", content: "Thanks." }, { role: "assistant", content: "How can I help?" }]);
  await page.getByText("How can I help?").waitFor();
  assert.deepEqual(await offered(), [true, true, 1]);
  await api(service.url, "POST", "/sessions/offers/rewind", { turns: 1 });
  await page.getByText("Taken back: record 1 and what followed it").waitFor();
  assert.deepEqual(await offered(), [true, false, 0]);
  await api(service.url, "DELETE", "/sessions/offers/messages");
  await page.getByText("Cleared: all earlier messages are hidden").waitFor();
  assert.deepEqual(await offered(), [false, false, 0]);
  await close();
});

test("a long session: its start, its end, any record, and a link that stays", async () => {
  for (let n = 0; n < 260; n += 1) await append(service.url, "long", [{ role: "user", content: `Message number ${n}` }]);
  const { page, open, close } = await watched(chromium, service.url);
  await open("/console/sessions/long");
  await page.getByText("Message number 259").waitFor();
  assert.equal(await page.getByText("Message number 100", { exact: true }).count(), 0);
  const places = page.getByRole("region", { name: "Go to" });
  await places.getByRole("link", { name: "Start" }).click();
  await page.getByText("Message number 0", { exact: true }).waitFor();
  await page.getByRole("link", { name: "Newer messages" }).click();
  await page.getByText("Message number 41", { exact: true }).waitFor();
  await places.getByLabel("Record number or date").fill("130");
  await places.getByRole("button", { name: "Go" }).click();
  await page.getByText("Message number 130", { exact: true }).waitFor();
  assert.equal(new URL(page.url()).search + new URL(page.url()).hash, "?at=130#r130");
  assert.equal(await page.locator(".record:target .text").innerText(), "Message number 130");
  await places.getByRole("link", { name: "208", exact: true }).click();
  await page.getByText("Message number 208", { exact: true }).waitFor();
  await places.getByLabel("Record number or date").fill("2020-01-01");
  await places.getByRole("button", { name: "Go" }).click();
  await page.getByText("Message number 0", { exact: true }).waitFor();
  await isAccessible(page);
  // An address of another process, whose signature means nothing to this one.
  await open("/console/sessions/long?before=120&cursor=AQ.AQ");
  await page.getByText("Message number 119", { exact: true }).waitFor();
  assert.equal(await page.getByText("Message number 120", { exact: true }).count(), 0);
  await places.getByLabel("Record number or date").fill("yesterday");
  await places.getByRole("button", { name: "Go" }).click();
  await page.getByText('Invalid place "yesterday"').waitFor();
  await close();
});

test("everything from a record on is taken back", async () => {
  for (const content of ["One", "Two", "Three"]) await append(service.url, "from-here", [{ role: "user", content }]);
  const { page, open, close } = await watched(chromium, service.url);
  await open("/console/sessions/from-here");
  await page.getByRole("link", { name: "Take back from here, record 1" }).click();
  await page.getByText("Record 1 and all that follows, 2 messages, are hidden at once").waitFor();
  assert.deepEqual(await page.locator(".turn .text").allInnerTexts(), ["Two", "Three"]);
  await page.getByRole("button", { name: "Take back" }).click();
  await page.getByText("The record and all that followed were taken back.").waitFor();
  assert.deepEqual((await messages("from-here")).map(({ content }) => content), ["One"]);
  await open("/console/sessions/from-here/records/1");
  await page.getByText("Record 1 is no longer in this session").waitFor();
  await close();
});

test("a session is forked at a record, and the fork says from where", async () => {
  for (const content of ["One", "Two", "Three"]) await append(service.url, "forked", [{ role: "user", content }]);
  const { page, open, close } = await watched(chromium, service.url);
  await open("/console/sessions/forked");
  await page.getByRole("link", { name: "Fork at record 1" }).click();
  await page.getByText("2 records, 2 messages").waitFor();
  await isAccessible(page);
  await page.getByLabel("Session id").fill("forked");
  await page.getByRole("button", { name: "Fork" }).click();
  await page.getByText("A session with this id exists already.").waitFor();
  await page.getByLabel("Session id").fill("another ending");
  await page.getByLabel("Title").fill("Another ending");
  await page.getByRole("button", { name: "Fork" }).click();
  await page.getByRole("heading", { level: 1, name: "Another ending" }).waitFor();
  assert.deepEqual((await messages(encodeURIComponent("another ending"))).map(({ content }) => content), ["One", "Two"]);
  await page.getByText("from forked, record 1").waitFor();
  assert.equal((await messages("forked")).length, 3);
  await close();
});

test("code and messages are copied, and long ones folded", async () => {
  const text = `Look:\n\n\`\`\`rust\nlet x = 1;\n\`\`\`\n\n${"A long line.\n\n".repeat(80)}`;
  await append(service.url, "copied", [{ role: "assistant", content: text }, { role: "user", content: [{ type: "image", source: { type: "base64", media_type: "image/png", data: "iVBORw0KGgo=" } }] }]);
  const { page, open, close } = await watched(chromium, service.url, { permissions: ["clipboard-read", "clipboard-write"] });
  await open("/console/sessions/copied");
  const copied = () => page.evaluate(() => navigator.clipboard.readText());
  assert.equal(await page.locator(".code").first().getAttribute("data-language"), "rust");
  await page.getByRole("button", { name: "Copy" }).first().click();
  await page.locator("button", { hasText: "Copied" }).waitFor();
  assert.equal(await copied(), "let x = 1;\n");
  await page.getByRole("link", { name: "Copy text 0 of record 0" }).click();
  await page.locator("a.copy", { hasText: "Copied" }).waitFor();
  assert.equal(await copied(), text);
  const height = () => page.locator(".message.assistant .text").evaluate((box) => box.clientHeight);
  const folded = await height();
  await page.getByRole("button", { name: "Show all" }).click();
  assert.ok((await height()) > folded);
  assert.equal(await page.locator(".message.user img").getAttribute("src"), "data:image/png;base64,iVBORw0KGgo=");
  await close();
});

test("words are found in all sessions, by key or by mouse, and lead to their message", async () => {
  await append(service.url, "found", [{ role: "user", content: "Where is the <b>Zanzibar</b> ferry?" }, { role: "assistant", content: "At pier 4." }]);
  const { page, open, close } = await watched(chromium, service.url);
  await open("/console");
  await page.keyboard.press("/");
  await page.keyboard.type("zanzi");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { level: 1, name: "Search" }).waitFor();
  const hits = page.locator(".sessions li");
  assert.equal(await hits.count(), 1);
  assert.equal(await hits.locator("mark").innerText(), "Zanzi");
  await isAccessible(page);
  await hits.getByRole("link", { name: "found" }).click();
  await page.locator(".record:target .message.user", { hasText: "Zanzibar" }).waitFor();
  await page.getByLabel("Words in this session").fill("pier");
  await page.getByRole("button", { name: "Find" }).click();
  await page.getByRole("heading", { level: 1, name: "Search this session" }).waitFor();
  assert.equal(await hits.locator(".snippet").innerText(), "At pier 4.");
  await page.getByLabel("Words").fill("weekend");
  await page.getByRole("button", { name: "Search", exact: true }).click();
  await page.getByText("Nothing was found.").waitFor();
  await open("/console/search?q=weekend&titles=true");
  await hits.getByRole("link", { name: "A long weekend in Lisbon" }).waitFor();
  await open("/console/search?q=x&since=tomorrow");
  await page.getByText('Invalid first day "tomorrow"').waitFor();
  await close();
});

test("each text runs in its own direction", async () => {
  await append(service.url, "directions", [{ role: "user", content: "שלום\n\nHello, and how are **you** on this fine day?" }]);
  const { page, open, close } = await watched(chromium, service.url);
  await open("/console/sessions/directions");
  // The bubble is as wide as the longer one.
  const starts = await page.locator(".message .text p").evaluateAll((all) =>
    all.map((paragraph) => {
      const range = document.createRange();
      range.selectNodeContents(paragraph);
      const [text, box] = [range.getBoundingClientRect(), paragraph.getBoundingClientRect()];
      return text.left - box.left <= box.right - text.right ? "left" : "right";
    }),
  );
  assert.deepEqual(starts, ["right", "left"]);
  await close();
});

test("a session is saved as a file", async () => {
  const { page, open, close } = await watched(chromium, service.url);
  await open("/console/sessions/recipe-lentils");
  const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "LangChain" }).click()]);
  assert.equal(file.suggestedFilename(), "recipe-lentils.langchain.jsonl");
  await close();
});

test("with the keyboard alone", async () => {
  const { page, open, close } = await watched(chromium, service.url);
  await open("/console");
  await page.keyboard.press("Tab");
  const focused = () => page.evaluate(() => document.activeElement.textContent);
  assert.equal(await focused(), "Skip to the content");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  assert.equal(await focused(), "New session", "the header was skipped");
  await page.keyboard.press("Enter");
  await page.getByLabel("Message").focus();
  await page.keyboard.type("By keyboard");
  for (let key = 0; key < 5; key += 1) await page.keyboard.press("Tab");
  assert.equal(await focused(), "Create session");
  const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.notEqual(outline, "none", "where one is can be seen");
  await page.keyboard.press("Enter");
  await page.locator(".message.user", { hasText: "By keyboard" }).waitFor();
  await close();
});

test("without JavaScript everything but live messages works", async () => {
  const { page, open, close } = await watched(chromium, service.url, { javaScriptEnabled: false });
  await open("/console/new");
  await page.getByLabel("Message").fill("No script");
  await page.getByLabel("Session id").fill("no-script");
  await page.getByRole("button", { name: "Create session" }).click();
  await page.getByText("Reload to see new messages").waitFor();
  await page.getByLabel("Message").fill("Another");
  await page.getByRole("button", { name: "Send" }).click();
  await page.locator(".message.user", { hasText: "Another" }).waitFor();
  await page.getByRole("link", { name: "Edit text 0 of record 1" }).click();
  await page.getByLabel("Message").fill("Edited");
  await page.getByRole("button", { name: "Edit and continue" }).click();
  await page.locator(".message.user", { hasText: "Edited" }).waitFor();
  assert.deepEqual((await messages("no-script")).map(({ content }) => content), ["No script", "Edited"]);
  await page.getByRole("link", { name: "Delete the session…" }).click();
  await page.getByRole("button", { name: "Delete" }).click();
  await page.getByText("The session was deleted.").waitFor();
  await close();
});

const PAGES = [
  "/console",
  "/console?owner=",
  "/console?owner=nobody-there",
  "/console/search",
  "/console/search?q=the",
  "/console/search?session=trip-lisbon&q=tram",
  "/console/new",
  "/console/costs?all=true",
  "/console/usage",
  "/console?owner=ada",
  "/console/sessions/code-review-17/edit?seq=0&n=0",
  "/console/sessions/trip-lisbon/regenerate?seq=0&n=99",
  "/console/sessions/trip-lisbon/redact?seq=0",
  "/console/sessions/trip-lisbon",
  "/console/sessions/code-review-17",
  "/console/sessions/quiz-capitals",
  "/console/sessions/quiz-capitals?at=20",
  "/console/sessions/sales-report",
  "/console/sessions/menu-arabic",
  "/console/sessions/trip-lisbon/rewind?from=1",
  "/console/sessions/never-written-to",
  "/console/sessions/quiz-capitals/costs",
  "/console/sessions/trip-lisbon/rewind",
  "/console/sessions/trip-lisbon/fork?seq=0",
  "/console/sessions/trip-lisbon/clear",
  "/console/sessions/trip-lisbon/delete",
  "/console/no-such-page",
];

for (const [look, options] of [
  ["light", { colorScheme: "light" }],
  ["dark", { colorScheme: "dark" }],
  ["a phone", { colorScheme: "light", viewport: { width: 360, height: 740 } }],
]) {
  test(`every page is accessible: ${look}`, async () => {
    const { page, open, close } = await watched(chromium, service.url, options);
    for (const path of PAGES) {
      await open(path);
      await page.evaluate(() => document.querySelectorAll("details").forEach((details) => (details.open = true)));
      await isAccessible(page, path);
      const width = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
      assert.ok(width[0] <= width[1], `${path} is wider than the window: ${width}`);
    }
    await close();
  });
}
