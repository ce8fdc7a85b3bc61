"""A user's file, which mypy --strict and pyright must accept. It is not run."""

import asyncio

from pydantic_ai import Agent
from pydantic_ai.conversation import Conversation
from pydantic_ai.conversation_store import ConversationConflict, ConversationEntry, ConversationRecord, ConversationStore
from typing_extensions import assert_type

import chat_memory
from chat_memory.pydantic_ai import ChatMemoryConversationStore

agent = Agent("test")


async def answer(store: ConversationStore, question: str) -> str:
    conversation = await store.load("trip", limit=50, scope="ada") or Conversation(conversation_id="trip")
    result = await agent.run(question, conversation=conversation)
    try:
        assert_type(await store.save(result, scope="ada"), list[ConversationEntry])
    except ConversationConflict as conflict:
        print(conflict.conversation_id)
    return result.output


async def main() -> None:
    stores: list[ConversationStore] = [
        ChatMemoryConversationStore("dynamodb://chats?region=eu-central-1"),
        ChatMemoryConversationStore(chat_memory.open("sqlite:chat.db")),
        ChatMemoryConversationStore(await chat_memory.aopen("memory:")),
    ]
    for store in stores:
        print(await answer(store, "Where to?"))
        assert_type(await store.list_conversations(scope="ada", limit=10), list[ConversationRecord])
        assert_type(await store.fork("trip", at=2), Conversation)
        await store.delete("trip")


asyncio.run(main())
