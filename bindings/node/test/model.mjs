// A model of the AI SDK that costs nothing: it answers "To Lisbon.", or calls the given tool and then answers.
const usage = {
  inputTokens: { total: 3, noCache: 3, cacheRead: undefined, cacheWrite: undefined },
  outputTokens: { total: 3, text: 3, reasoning: undefined },
};

export const model = {
  specificationVersion: "v3",
  provider: "test",
  modelId: "test",
  supportedUrls: {},
  doGenerate: () => Promise.reject(new Error("only streams")),
  async doStream({ prompt, tools }) {
    const asks = tools?.length > 0 && prompt.at(-1).role !== "tool";
    const text = ["To ", "Lisbon."].map((delta) => ({ type: "text-delta", id: "t1", delta }));
    const parts = asks
      ? [{ type: "tool-call", toolCallId: `call-${prompt.length}`, toolName: tools[0].name, input: "{}" }]
      : [{ type: "text-start", id: "t1" }, ...text, { type: "text-end", id: "t1" }];
    const finishReason = { unified: asks ? "tool-calls" : "stop", raw: undefined };
    const chunks = [{ type: "stream-start", warnings: [] }, ...parts, { type: "finish", usage, finishReason }];
    return { stream: ReadableStream.from(chunks) };
  },
};
