"""A Pydantic AI agent that remembers: python pydantic_ai_agent.py STORE_URL QUESTION

    python pydantic_ai_agent.py sqlite:chat.db "Where should we go in May?"
    python pydantic_ai_agent.py sqlite:chat.db "And what can we eat there?"

The model is a function, so that this runs without a network; give `Agent` the name of yours instead.
"""

import asyncio
import sys

from pydantic_ai import Agent, ModelMessage, ModelResponse, TextPart, UserPromptPart
from pydantic_ai.conversation import Conversation
from pydantic_ai.conversation_store import ConversationConflict
from pydantic_ai.models.function import AgentInfo, FunctionModel

from chat_memory.pydantic_ai import ChatMemoryConversationStore


def model(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    questions = [part.content for message in messages for part in message.parts if isinstance(part, UserPromptPart)]
    return ModelResponse(parts=[TextPart(f"You have asked {len(questions)} times, first: {questions[0]}")])


agent = Agent(FunctionModel(model), system_prompt="Be brief.")


async def answer(store: ChatMemoryConversationStore, question: str) -> str:
    while True:
        conversation = await store.load("trip") or Conversation(conversation_id="trip")
        result = await agent.run(question, conversation=conversation)
        try:
            await store.save(result, scope="ada")
        except ConversationConflict:
            continue  # Another process was faster: ask with what it has added.
        return result.output


async def main() -> None:
    store = ChatMemoryConversationStore(sys.argv[1])
    print(await answer(store, sys.argv[2]))
    for record in await store.list_conversations(scope="ada", limit=10):
        print(f"{record.conversation_id}: {record.usage.requests} requests")


asyncio.run(main())
