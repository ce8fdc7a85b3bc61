"""A user's file with the module for the OpenAI Agents SDK, which mypy --strict and pyright must accept. It is not run."""

from agents import Agent, Runner, Session, SessionSettings
from agents.items import TResponseInputItem
from agents.memory import OpenAIResponsesCompactionSession
from openai import AsyncOpenAI
from typing_extensions import assert_type

import chat_memory
from chat_memory.openai_agents import ChatMemorySession, CompactionSession

store = chat_memory.open("sqlite:chat.db")
sessions: list[Session] = [
    ChatMemorySession("user-42", "dynamodb://chats?region=eu-central-1"),
    ChatMemorySession("user-42", store, SessionSettings(limit=20), owner="ada", title="A trip"),
    ChatMemorySession("user-42", store, {"limit": 20}),
    ChatMemorySession("user-42", store, tokens=4_000, counter="gpt-4.1"),
]
compacting: OpenAIResponsesCompactionSession = CompactionSession(
    "user-42",
    ChatMemorySession("user-42", store),
    client=AsyncOpenAI(),
    model="gpt-4.1",
    compaction_mode="input",
    should_trigger_compaction=lambda context: len(context["session_items"]) > 100,
)


async def main() -> None:
    session = ChatMemorySession("user-42", store)
    result = await Runner.run(Agent("Assistant"), "Where to?", session=session)
    print(result.final_output)
    await session.add_items([{"role": "user", "content": "And to eat?"}])
    assert_type(await session.get_items(limit=3), list[TResponseInputItem])
    assert_type(await session.pop_item(), TResponseInputItem | None)
    await session.clear_session()
    await compacting.run_compaction({"force": True})
