"""A user's file with the module for LangGraph, which mypy --strict and pyright must accept. It is not run."""

from collections.abc import Sequence

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from typing_extensions import assert_type

from chat_memory import Cost, Credentials
from chat_memory.langgraph import ChatMemorySaver, CopiedThread, copy_threads

savers: list[BaseCheckpointSaver[str]] = [
    ChatMemorySaver.from_url("sqlite:chat.db"),
    ChatMemorySaver.from_url("dynamodb://chats?region=eu-central-1", serde=JsonPlusSerializer(), write_delay=0, on_conflict="fork"),
    ChatMemorySaver.from_url("dynamodb://chats", credentials=lambda: Credentials("id", "secret")),
]
config: RunnableConfig = {"configurable": {"thread_id": "trip"}}

with ChatMemorySaver.from_url("memory:") as saver:
    assert_type(saver.get_tuple(config), CheckpointTuple | None)
    for found in saver.list(config, filter={"source": "loop"}, limit=3):
        assert_type(found, CheckpointTuple)
    saver.prune(["trip"], strategy="keep_latest")
    saver.copy_thread("trip", "copy")
    saver.delete_for_runs(["run"])
    saver.flush()
    assert_type(saver.cost, Cost)


async def main() -> None:
    async with ChatMemorySaver.from_url("memory:") as saver:
        assert_type(await saver.aget_tuple(config), CheckpointTuple | None)
        async for found in saver.alist(None, before=config):
            assert_type(found, CheckpointTuple)
        await saver.adelete_thread("trip")


def show(thread: CopiedThread) -> None:
    print(thread.thread_id, thread.copied, thread.refused)


with ChatMemorySaver.from_url("memory:") as target:
    report = copy_threads(InMemorySaver(), target, ["trip"], dry_run=True, progress=show)
    assert_type(report.refused, Sequence[CopiedThread])
