// Asks Flowise's own Conversation Chain one question over the installed memory node, in a process of its own. It runs from inside
// flowise-components, where modules resolve as in Flowise.
const { FakeListChatModel } = require("@langchain/core/utils/testing");

const nodes = `${__dirname}/dist/nodes`;
const { nodeClass: Memory } = require(`${nodes}/memory/DynamoDb/DynamoDb.js`);
const { nodeClass: Chain } = require(`${nodes}/chains/ConversationChain/ConversationChain.js`);
const { INPUT, TABLE, ENDPOINT } = process.env;

(async () => {
  const prompt = [];
  class Model extends FakeListChatModel {
    async _generate(messages, ...rest) {
      prompt.push(...messages.slice(1).map(({ content }) => content));
      return super._generate(messages, ...rest);
    }
  }
  const inputs = { tableName: TABLE, partitionKey: "id", region: "us-east-1", sessionId: "", memoryKey: "chat_history", endpoint: ENDPOINT };
  const memory = await new Memory().init({ inputs }, "", {});
  const node = { inputs: { systemMessagePrompt: "Be brief.", model: new Model({ responses: [`I heard: ${INPUT}`] }), memory } };
  const logger = { verbose() {}, info() {}, debug() {}, error: console.error };
  const answer = await new Chain({ sessionId: "chat-1" }).run(node, INPUT, { logger });
  console.log(JSON.stringify({ answer, prompt }));
  // Flowise's modules leave timers behind; the memory does not.
  process.exit(0);
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
