"""A user's file, which mypy --strict and pyright must accept. It is not run."""

import asyncio
from datetime import datetime

from langchain_core.chat_history import BaseChatMessageHistory
from typing_extensions import TypedDict, assert_type

import chat_memory
from chat_memory.langchain import DynamoDBChatMessageHistory, StoreChatMessageHistory


class Question(TypedDict):
    role: str
    content: str


store = chat_memory.open("sqlite:chat.db", credentials=lambda: chat_memory.Credentials("id", "secret"))
question: Question = {"role": "user", "content": "Where to?"}
appended = store.append("trip", [question, {"role": "assistant", "content": "To Lisbon."}], key="turn-1", metadata={"n": 1})
assert_type(appended, chat_memory.Appended)
assert_type(appended.created_at, datetime | None)
assert_type(appended.cost + store.recall("trip", turns=20).cost, chat_memory.Cost)
assert_type(store.rewind_turns("trip", 1), chat_memory.Appended | None)
assert_type(store.write_units("trip", [[question]]), float | None)
store.update_session("trip", title=None)
for message in store.messages("trip"):
    print(message["content"])
search = store.search("lisbon", owner="alice", limit=3)
hits: list[chat_memory.SearchHit] = list(search)
assert_type(search.cost, chat_memory.Cost)
assert_type(store.fork("trip", at=3).session, str)
assert_type(store.delete_owner("alice", progress=lambda done: print(done.session)).failed, list[chat_memory.DeletedSession])
titles: list[str | None] = [info.title for info in store.sessions("alice", recent=True)]


async def main() -> None:
    async with await chat_memory.aopen("memory:") as shared:
        first, second = await asyncio.gather(shared.append("a", [question]), shared.load("b", last=1))
        assert_type(first, chat_memory.Appended)
        assert_type(second, chat_memory.History)
        async for hit in shared.search("lisbon"):
            assert_type(hit.message, chat_memory.FoundMessage | None)
        assert_type(await shared.fork("a", "b"), chat_memory.Forked)
        assert_type(await shared.redact("a", 0, message=0), chat_memory.Redacted)
        async for info in shared.sessions():
            assert_type(info, chat_memory.SessionInfo)


try:
    store.append("trip", [question], expected=appended.position)
except chat_memory.InDoubtError as error:
    assert_type(error.ticket, str | None)
except chat_memory.ChatMemoryError as error:
    assert_type(error.kind, chat_memory.ErrorKind)

histories: list[BaseChatMessageHistory] = [
    DynamoDBChatMessageHistory("chats", "s", primary_key_name="id", ttl=86_400),
    StoreChatMessageHistory(store, "s", tokens=4_000),
]
