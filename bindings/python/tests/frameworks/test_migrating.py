"""The programs of docs/migrating.md copy what the original classes wrote, and only once."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from typing import Any

from agents import SQLiteSession
from conftest import REGION, endpoint, new_table, script
from graphs import asking, history, of
from langchain_community.chat_message_histories import DynamoDBChatMessageHistory
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph_checkpoint_aws import DynamoDBSaver

import chat_memory
from chat_memory.langchain import StoreChatMessageHistory
from chat_memory.langgraph import ChatMemorySaver
from chat_memory.openai_agents import ChatMemorySession

PAGE = (Path(__file__).parents[4] / "docs" / "migrating.md").read_text(encoding="utf-8")


def copy(heading: str, folder: Path, target: str, source: str = "") -> list[str]:
    """Runs the program of a section with other tables, and returns the lines that it prints."""
    program = re.findall(rf"^### {heading}\n.*?^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[0]
    program = program.replace("dynamodb://chats", f"dynamodb://{target}")
    program = program.replace("langchain-chats", source).replace("langgraph-checkpoints", source)
    ended = script(program, cwd=folder, env={**os.environ, "AWS_ENDPOINT_URL_DYNAMODB": endpoint()})
    assert (ended.returncode, ended.stderr) == (0, "")
    return sorted(ended.stdout.splitlines())


def url(table: str) -> str:
    return f"dynamodb://{table}?region={REGION}&endpoint={endpoint()}"


def test_a_table_of_langchain_is_copied_once(tmp_path: Path) -> None:
    source, target = new_table("SessionId"), new_table("session_id", "sk")
    turn = [
        HumanMessage("How warm is it?"),
        AIMessage("", tool_calls=[{"name": "weather", "args": {"city": "Lisbon", "days": 2, "above": 0.5}, "id": "call_1"}]),
        ToolMessage("21 °C", tool_call_id="call_1"),
    ]

    def original(session: str) -> DynamoDBChatMessageHistory:
        return DynamoDBChatMessageHistory(source, session, endpoint_url=endpoint(), coerce_float_to_decimal=True)

    for session in ("ada", "bob"):
        original(session).add_messages(turn)
    assert copy("LangChain", tmp_path, target, source) == ["ada: 3 of 3 messages copied", "bob: 3 of 3 messages copied"]
    original("ada").add_messages([AIMessage("It is 21 °C.")])
    StoreChatMessageHistory(url(target), "bob").add_messages([AIMessage("It is warm.")])
    assert copy("LangChain", tmp_path, target, source) == ["ada: 1 of 4 messages copied", "bob: left as it is"]
    assert StoreChatMessageHistory(url(target), "ada").messages == [*turn, AIMessage("It is 21 °C.")]


def test_a_file_of_the_openai_agents_sdk_is_copied_once(tmp_path: Path) -> None:
    target = new_table("session_id", "sk")
    turn: list[Any] = [
        {"role": "user", "content": "How warm is it?"},
        {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"city": "Lisbon"}'},
        {"type": "function_call_output", "call_id": "call_1", "output": "21 °C"},
    ]

    def add(session: str, items: list[Any]) -> None:
        original = SQLiteSession(session, tmp_path / "conversations.db")
        asyncio.run(original.add_items(items))
        original.close()

    for session in ("ada", "bob"):
        add(session, turn)
    assert copy("OpenAI Agents SDK", tmp_path, target) == ["ada: 3 of 3 items copied", "bob: 3 of 3 items copied"]
    answer: Any = {"role": "assistant", "content": "It is 21 °C."}
    add("ada", [answer])
    asyncio.run(ChatMemorySession("bob", url(target)).add_items([{"role": "assistant", "content": "It is warm."}]))
    assert copy("OpenAI Agents SDK", tmp_path, target) == ["ada: 1 of 4 items copied", "bob: left as it is"]
    assert asyncio.run(ChatMemorySession("ada", url(target)).get_items()) == [*turn, answer]
    # A window understands what was copied: no result without its call.
    window = chat_memory.open(url(target)).recall("ada", messages=2)
    assert [message["role"] for message in window.messages] == ["assistant"]


def test_a_table_of_langgraph_is_copied_once(tmp_path: Path) -> None:
    source, target = new_table("PK", "SK"), new_table("session_id", "sk")
    old = asking().compile(checkpointer=DynamoDBSaver(source, region_name=REGION, endpoint_url=endpoint()))
    for thread in ("ada", "bob"):
        old.invoke({"log": ["go"]}, of(thread))
    heading = "From LangGraph's DynamoDBSaver"
    assert copy(heading, tmp_path, target, source) == ["ada: 3 of 3 checkpoints copied", "bob: 3 of 3 checkpoints copied"]
    old.invoke({"log": ["again"]}, of("ada"))
    assert copy(heading, tmp_path, target, source) == ["ada: 3 of 6 checkpoints copied", "bob: 0 of 3 checkpoints copied"]
    with ChatMemorySaver.from_url(url(target)) as saver:
        new = asking().compile(checkpointer=saver)
        for thread in ("ada", "bob"):
            assert history(new, of(thread)) == history(old, of(thread))
