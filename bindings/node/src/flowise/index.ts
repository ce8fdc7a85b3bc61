/**
 * The *DynamoDB Chat Memory* node for Flowise 3. `chat-memory-flowise install` puts a file into Flowise's folder of nodes that calls
 * this; `docs/flowise.md` in the repository says how.
 */
import { type FlowiseParts, nodeClass, type Placing } from "./node.js";

/** A `require` of the node's file, which finds what Flowise itself finds. */
type Require = (name: string) => Record<string, never>;

/** What a node's file exports. */
export function flowiseNode(require: Require, placing: Placing = { beside: false }): { nodeClass: ReturnType<typeof nodeClass> } {
  const parts: FlowiseParts = Object.assign(
    {},
    require("../../../src/Interface"),
    require("../../../src/utils"),
    require("@langchain/classic/memory"),
    require("@langchain/core/chat_history"),
    require("@langchain/core/messages"),
  );
  return { nodeClass: nodeClass(parts, placing) };
}
