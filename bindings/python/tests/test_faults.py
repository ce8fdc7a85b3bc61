"""A network that loses requests and answers: what was acknowledged is stored, once, and turns stay complete."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from urllib.parse import quote

import pytest
from conftest import assistant, endpoint, new_table, user
from langchain_core.messages import AIMessage, HumanMessage

import chat_memory
from chat_memory.langchain import DynamoDBChatMessageHistory

TURNS = 30
FAULTS = ["--drop-requests", "0.1", "--drop-answers", "0.2", "--duplicates", "0.1", "--seed", "7"]
WRITES = ["--only", "UpdateItem", "--only", "PutItem", "--only", "TransactWriteItems"]
# Short, so that the tests do not wait for lost answers.
TIMES = "&request_timeout=300ms&deadline=20s"


def check(contents: list[str]) -> None:
    """Each turn is there once, whole, and in its writer's order."""
    assert len(contents) == 4 * TURNS
    for who in "ab":
        own = [text for text in contents if text.startswith(f"{who}/")]
        assert own == [f"{who}/{n}{mark}" for n in range(TURNS) for mark in "?!"]
    for question, answer in zip(contents[::2], contents[1::2]):
        assert answer == question.replace("?", "!"), "a turn stays together"


def at_once(write: Callable[[str], None]) -> None:
    threads = [threading.Thread(target=write, args=(who,)) for who in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("keys", [("session_id", "sk"), ("id",)], ids=["one item a record", "one item a session"])
@pytest.mark.parametrize("face", ["blocking", "awaited"])
def test_each_turn_is_stored_once(fault_proxy: Callable[..., str], keys: tuple[str, ...], face: str) -> None:
    through = quote(fault_proxy(*FAULTS, *WRITES), safe="")
    url = f"dynamodb://{new_table(*keys)}?region=us-east-1{'&dialect=python' if len(keys) == 1 else ''}"
    if face == "blocking":
        store = chat_memory.open(f"{url}&endpoint={through}{TIMES}")

        def write(who: str) -> None:
            for n in range(TURNS):
                store.append("s", [user(f"{who}/{n}?"), assistant(f"{who}/{n}!")], retry=True)

        at_once(write)
    else:

        async def converse() -> None:
            store = await chat_memory.aopen(f"{url}&endpoint={through}{TIMES}")

            async def write(who: str) -> None:
                for n in range(TURNS):
                    await store.append("s", [user(f"{who}/{n}?"), assistant(f"{who}/{n}!")], retry=True)

            await asyncio.gather(write("a"), write("b"))

        asyncio.run(converse())
    direct = chat_memory.open(f"{url}&endpoint={quote(endpoint(), safe='')}")
    check([str(message["content"]) for message in direct.messages("s")])


def test_an_append_in_doubt_has_a_ticket_that_stores_it_once(fault_proxy: Callable[..., str]) -> None:
    # Every answer to a write is lost.
    through = quote(fault_proxy("--drop-answers", "1", "--seed", "1", *WRITES), safe="")
    url = f"dynamodb://{new_table('session_id', 'sk')}?region=us-east-1"
    store = chat_memory.open(f"{url}&endpoint={through}&request_timeout=200ms&deadline=1s")
    with pytest.raises(chat_memory.InDoubtError) as doubt:
        store.append("s", [user("x")])
    assert doubt.value.ticket is not None and not doubt.value.retryable
    direct = chat_memory.open(f"{url}&endpoint={quote(endpoint(), safe='')}")
    assert direct.append("s", [user("x")], ticket=doubt.value.ticket).repeated
    assert [message["content"] for message in direct.messages("s")] == ["x"]


def test_langchains_history_stores_each_turn_once(fault_proxy: Callable[..., str]) -> None:
    through, table = fault_proxy(*FAULTS, *WRITES), new_table("SessionId")

    def write(who: str) -> None:
        history = DynamoDBChatMessageHistory(table, "s", endpoint_url=through)
        for n in range(TURNS):
            history.add_messages([HumanMessage(f"{who}/{n}?"), AIMessage(f"{who}/{n}!")])

    at_once(write)
    check([str(message.content) for message in DynamoDBChatMessageHistory(table, "s", endpoint_url=endpoint()).messages])
