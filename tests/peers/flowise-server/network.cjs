// Loaded into Flowise's server before its own code, so that no test depends on the network. The tokenizer's ranks, which LangChain
// downloads to count tokens, come from the package js-tiktoken that Flowise includes; any other host is refused and recorded in the
// file OUTSIDE.
const { appendFileSync } = require("node:fs");
const { createRequire } = require("node:module");
const { join } = require("node:path");

const ranks = /^https:\/\/tiktoken\.pages\.dev\/js\/(\w+)\.json$/;
const ours = globalThis.fetch;

globalThis.fetch = async (input, init) => {
  const url = new URL(input instanceof Request ? input.url : input);
  const [, encoding] = ranks.exec(url.href) ?? [];
  if (encoding) {
    const found = createRequire(join(process.env.FLOWISE_MODULES, "flowise", "package.json"))(`js-tiktoken/ranks/${encoding}`);
    return Response.json(found.default ?? found);
  }
  if (url.hostname !== "127.0.0.1") {
    appendFileSync(process.env.OUTSIDE, `${url.origin}\n`);
    throw new TypeError(`the test lets nothing out, so ${url.origin} was not asked`);
  }
  return ours(input, init);
};
