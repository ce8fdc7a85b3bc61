// A chat model on this machine, with as much of OpenAI's API as Flowise uses: it repeats what it was sent, as a whole or as a
// stream.
import { createServer } from "node:http";

/** Starts it. `asked` collects the texts of each request's messages, except system messages. */
export async function fakeModel() {
  const asked = [];
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const piece of request) body += piece;
    if (request.method !== "POST" || !request.url.endsWith("/chat/completions")) return void response.writeHead(404).end("{}");
    const { messages, stream, model } = JSON.parse(body);
    const texts = messages.filter(({ role }) => role !== "system").map(({ content }) => (typeof content === "string" ? content : content.map(({ text }) => text).join("")));
    asked.push(texts);
    const answer = `I heard: ${texts.at(-1)}`;
    const head = { id: `answer-${asked.length}`, created: 0, model };
    const usage = { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 };
    if (!stream) {
      const choices = [{ index: 0, message: { role: "assistant", content: answer }, finish_reason: "stop" }];
      response.writeHead(200, { "content-type": "application/json" });
      return void response.end(JSON.stringify({ ...head, object: "chat.completion", choices, usage }));
    }
    response.writeHead(200, { "content-type": "text/event-stream" });
    const send = (delta, finish_reason = null) =>
      response.write(`data: ${JSON.stringify({ ...head, object: "chat.completion.chunk", choices: [{ index: 0, delta, finish_reason }] })}\n\n`);
    send({ role: "assistant", content: "" });
    for (const word of answer.split(/(?<= )/)) send({ content: word });
    send({}, "stop");
    response.write(`data: ${JSON.stringify({ ...head, object: "chat.completion.chunk", choices: [], usage })}\n\n`);
    response.end("data: [DONE]\n\n");
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { asked, url: `http://127.0.0.1:${server.address().port}/v1`, close: () => server.close() };
}
