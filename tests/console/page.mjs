// Records a page's errors and its requests.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const axe = createRequire(import.meta.url)("axe-core").source;

/** A page in a browser of its own, with what happened in it. */
export async function watched(browser, url, options = {}) {
  const context = await browser.newContext({ locale: "en-GB", timezoneId: "UTC", reducedMotion: "reduce", ...options });
  const page = await context.newPage();
  const wrong = [];
  // A test asks for a response with an error status on purpose, and checks the page's text itself.
  page.on("console", (message) => {
    if (message.type() === "error" && !/Failed to load resource: the server responded/.test(message.text())) wrong.push(message.text());
  });
  page.on("pageerror", (error) => wrong.push(String(error)));
  page.on("request", (request) => {
    const asked = request.url();
    if (!asked.startsWith(`${url}/`) && !asked.startsWith("data:")) wrong.push(`asked ${asked}`);
  });
  return {
    page,
    /** Opens a path. */
    open: (path) => page.goto(url + path),
    /** Checks that there were no errors and no requests to other hosts. */
    isWell: () => assert.deepEqual(wrong, []),
    close: async () => {
      await context.close();
      assert.deepEqual(wrong, []);
    },
  };
}

/** Checks that axe-core finds nothing serious or critical in a page. */
export async function isAccessible(page, what) {
  await page.evaluate(axe);
  const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  const grave = found.violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  const said = grave.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((node) => node.html).join(" ")}`);
  assert.deepEqual(said, [], what);
}
