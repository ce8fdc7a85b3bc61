"""A user's file for Strands Agents, which mypy --strict and pyright must accept. It is not run."""

from strands import Agent
from strands.session import RepositorySessionManager, SnapshotSessionManager
from strands.storage import Storage
from strands.types.session import Session, SessionAgent, SessionMessage
from typing_extensions import assert_type

import chat_memory
from chat_memory.strands import ChatMemorySessionManager, ChatMemorySessionRepository, ChatMemoryStorage, StaleWriteError

store = chat_memory.open("sqlite:chat.db")

agent = Agent(session_manager=ChatMemorySessionManager("user-42", "dynamodb://chats", owner="ada"))
agent = Agent(session_manager=ChatMemorySessionManager("user-42", store))

repository = ChatMemorySessionRepository(store)
agent = Agent(session_manager=RepositorySessionManager("user-42", repository))
assert_type(repository.read_session("user-42"), Session | None)
assert_type(repository.read_agent("user-42", "default"), SessionAgent | None)
assert_type(repository.list_messages("user-42", "default", limit=10), list[SessionMessage])
repository.delete_session("user-42")

storage: Storage = ChatMemoryStorage(store)
agent = Agent(session_manager=SnapshotSessionManager("user-42", storage=storage))


async def note() -> list[str]:
    notes = ChatMemoryStorage(await chat_memory.aopen("dynamodb://chats"))
    try:
        await notes.write("notes/today", b"Grilled sardines.")
    except StaleWriteError:
        assert_type(await notes.read("notes/today"), bytes | None)
    return await notes.list("notes/")
