// What a page does after loading: shows new messages and sessions as they arrive, shows times in the reader's time zone, copies and folds texts, and
// submits a form only once.
"use strict";

const places = new Intl.DateTimeFormat(undefined, {
  year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short",
});

/** Shows times in the reader's time zone; the server's text, in UTC, stays as the title. */
function localTimes(within) {
  for (const time of within.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    time.title = time.textContent;
    time.textContent = places.format(at);
  }
}

/** Copies a text, and says so on the button for a moment. */
async function copy(button, text) {
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(await text());
    button.textContent = "Copied";
  } catch {
    button.textContent = "Not copied";
  }
  setTimeout(() => (button.textContent = label), 1500);
}

/** Gives each block of code a button that copies it, and turns each link to a message's text into one. */
function copies(within) {
  if (!navigator.clipboard) return;
  for (const pre of within.querySelectorAll(".text pre, .call pre, .result pre, pre.command, .card > pre")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy-code";
    button.textContent = "Copy";
    button.addEventListener("click", () => copy(button, async () => pre.textContent));
    const frame = document.createElement("div");
    frame.className = "code";
    pre.replaceWith(frame);
    if (pre.dataset.language) frame.dataset.language = pre.dataset.language;
    frame.append(button, pre);
  }
  for (const link of within.querySelectorAll("a.copy")) {
    link.textContent = "Copy";
    link.setAttribute("aria-label", link.getAttribute("aria-label").replace("Text", "Copy text"));
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      copy(link, async () => {
        const answer = await fetch(link.href);
        if (!answer.ok) throw new Error(`status ${answer.status}`);
        return answer.text();
      });
    });
  }
}

/** Folds texts that would fill more than a window, with a button that shows the rest. */
function fold(within) {
  for (const text of within.querySelectorAll(".message .text")) {
    if (text.scrollHeight < 1.5 * innerHeight) continue;
    text.classList.add("folded");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "unfold";
    button.textContent = "Show all";
    button.addEventListener("click", () => {
      text.classList.remove("folded");
      button.remove();
    });
    text.after(button);
  }
}

/** "/" leads to the search field, as long as nothing is being written. */
function searchByKey() {
  addEventListener("keydown", (event) => {
    const writes = event.target.closest?.("input, textarea, select, [contenteditable]");
    const field = document.querySelector("form.search input, .find input");
    if (event.key !== "/" || writes || !field || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    field.focus();
    field.select();
  });
}

/** Ignores a second click on a button while the first request is running. */
function sendOnce() {
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post") return;
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
  });
  // A page restored from the browser's cache can submit its forms again.
  addEventListener("pageshow", () => document.querySelectorAll("form[data-sent]").forEach((form) => delete form.dataset.sent));
}

/** Enter with Ctrl or Cmd sends the message. */
function sendByKey() {
  const text = document.querySelector(".composer textarea");
  text?.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) text.form.requestSubmit();
  });
}

class Log {
  constructor(log) {
    this.log = log;
    this.records = log.querySelector(".records");
    this.none = document.getElementById("none");
    this.live = document.getElementById("live");
    this.source = new EventSource(log.dataset.events);
    this.source.addEventListener("open", () => this.say("on", "Live"));
    this.source.addEventListener("record", (event) => this.take(JSON.parse(event.data)));
    this.source.addEventListener("reset", () => this.forget(0));
    this.source.addEventListener("error", () => {
      if (this.source.readyState === EventSource.CLOSED) this.say("lost", "No longer live: reload the page");
      else this.say("lost", "Connection lost; retrying");
    });
    // An image takes up space only after loading.
    this.records.addEventListener("load", () => this.atEnd && toEnd(), true);
    addEventListener("scroll", () => (this.atEnd = isAtEnd()), { passive: true });
    this.atEnd = isAtEnd();
    // Otherwise the browser would report a broken connection.
    addEventListener("pagehide", () => this.source.close());
    addEventListener("pageshow", (event) => event.persisted && location.reload());
  }

  say(state, words) {
    this.live.dataset.state = state;
    const said = this.live.querySelector(".words");
    // Setting the same text again would make screen readers repeat it.
    if (said.textContent !== words) said.textContent = words;
  }

  /** Removes every record from this number on. */
  forget(seq) {
    for (const record of [...this.records.children]) {
      if (Number(record.dataset.seq) >= seq) record.remove();
    }
    this.none.hidden = this.records.childElementCount > 0;
    this.offer();
  }

  /** Shows the links to what can be done with the messages that are there: "entry" needs any, "turn" a user's message before the link. */
  offer() {
    const isWhole = !document.querySelector('a[rel="prev"]');
    const turn = this.records.querySelector(".message.user");
    const entry = this.records.querySelector(".message, .entry");
    for (const link of document.querySelectorAll("[data-needs]")) {
      const found = link.dataset.needs === "entry" ? entry : turn;
      const isAfter = found && found.compareDocumentPosition(link) & Node.DOCUMENT_POSITION_FOLLOWING;
      link.hidden = isWhole && !isAfter;
    }
  }

  take({ seq, rewind, html }) {
    const { atEnd } = this;
    // After a lost connection, a record may arrive a second time.
    this.forget(rewind ?? seq);
    const template = document.createElement("template");
    template.innerHTML = html;
    const record = template.content.firstElementChild;
    record.classList.add("new");
    localTimes(record);
    copies(record);
    this.records.append(record);
    fold(record);
    this.none.hidden = true;
    this.offer();
    if (atEnd) toEnd();
  }
}

/** A list of sessions that is read again from time to time, as long as someone sees it. */
class List {
  constructor(list) {
    this.list = list;
    this.every = Number(list.dataset.refresh) * 1000;
    this.say("on", "Live");
    this.wait();
    document.addEventListener("visibilitychange", () => document.hidden || this.look());
    addEventListener("pageshow", (event) => event.persisted && this.look());
  }

  /** What the server said last; the page itself differs in its times. */
  shown = null;

  say(state, words) {
    const live = document.getElementById("live");
    live.dataset.state = state;
    const said = live.querySelector(".words");
    if (said.textContent !== words) said.textContent = words;
  }

  wait() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.look(), this.every);
  }

  async look() {
    this.wait();
    if (document.hidden || this.looking) return;
    this.looking = true;
    try {
      const answer = await fetch(location.pathname + location.search, { headers: { accept: "text/html" } });
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      const list = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("list");
      if (!list) {
        // The login has ended.
        clearTimeout(this.timer);
        this.every = 0;
        return this.say("lost", "No longer live: reload the page");
      }
      this.show(list);
      this.say("on", "Live");
    } catch {
      this.say("lost", "Connection lost; retrying");
    } finally {
      this.looking = false;
    }
  }

  /** Replaces the rows if they changed; what has the focus keeps it. */
  show(list) {
    const now = list.innerHTML;
    const isFirst = this.shown === null;
    if (now === this.shown) return;
    this.shown = now;
    localTimes(list);
    const part = (from) => [...from.children].filter((child) => !child.matches(".state")).map((child) => child.outerHTML).join("");
    if (isFirst && part(list) === part(this.list)) return;
    const focused = this.list.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    for (const child of [...this.list.children]) if (!child.matches(".state")) child.remove();
    this.list.append(...[...list.children].filter((child) => !child.matches(".state")));
    if (focused) this.list.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }
}

function isAtEnd() {
  return end.getBoundingClientRect().bottom < innerHeight + 80;
}

/** Scrolls to the newest message. */
function toEnd() {
  scrollBy(0, end.getBoundingClientRect().bottom - innerHeight);
}

localTimes(document);
copies(document);
if (!location.hash) fold(document);
searchByKey();
sendOnce();
sendByKey();
const log = document.querySelector(".log[data-events]");
const end = document.getElementById("end");
const list = document.querySelector("#list[data-refresh]");
if (list) new List(list);
if (log) {
  if (!location.hash) toEnd();
  document.querySelector(".composer[data-focus] textarea")?.focus({ preventScroll: true });
  new Log(log);
}
