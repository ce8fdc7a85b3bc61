/**
 * The *DynamoDB Chat Memory* node for Flowise 3. `chat-memory-flowise install` writes a file into Flowise's folder of nodes that
 * calls this; see `docs/flowise.md` in the repository.
 */
import { type FlowiseParts, nodeClass, type Placing } from "./node.js";

/** The `require` of the node's file, which resolves modules as Flowise does. */
type Require = (name: string) => Record<string, never>;

/** The exports of a node's file. */
export function flowiseNode(require: Require, placing: Placing = { alongside: false }): { nodeClass: ReturnType<typeof nodeClass> } {
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
