"""A user's file, which mypy --strict and pyright must accept. It is not run."""

from claude_agent_sdk import ClaudeAgentOptions, SessionKey, SessionStore, SessionStoreEntry
from typing_extensions import assert_type

import chat_memory
from chat_memory.claude_agent_sdk import ChatMemorySessionStore

store = ChatMemorySessionStore("dynamodb://chats?region=eu-central-1")
options = ClaudeAgentOptions(session_store=store, continue_conversation=True)
stores: list[SessionStore] = [store, ChatMemorySessionStore(chat_memory.open("sqlite:chat.db"))]
key: SessionKey = {"project_key": "acme", "session_id": "550e8400-e29b-41d4-a716-446655440000", "subpath": "subagents/agent-1"}


async def main() -> None:
    async with await chat_memory.aopen("memory:") as opened:
        await ChatMemorySessionStore(opened).append(key, [{"type": "user", "uuid": "u-1"}])
    assert_type(await store.load(key), list[SessionStoreEntry] | None)
    assert_type([session["mtime"] for session in await store.list_sessions("acme")], list[int])
    for summary in await store.list_session_summaries("acme"):
        print(summary["session_id"], summary["data"])
    assert_type(await store.list_subkeys({"project_key": "acme", "session_id": key["session_id"]}), list[str])
    await store.delete(key)
