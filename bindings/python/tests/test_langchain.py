"""LangChain's histories, taking turns on one table with the class of langchain-community."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import boto3
import pytest
from conftest import dynamodb, endpoint, new_table, turns_url
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

import chat_memory
from chat_memory.langchain import DynamoDBChatMessageHistory, StoreChatMessageHistory

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from langchain_community.chat_message_histories.dynamodb import DynamoDBChatMessageHistory as Theirs

EXAMPLE = Path(__file__).parents[1] / "examples" / "langchain_chat.py"

SETTINGS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "another key": {"primary_key_name": "id"},
    "a key of two attributes": {"key": {"UserId": "team/a", "SessionId": "s~1"}},
    "the partition key named": {"key": {"SessionId": "s", "UserId": "ada"}, "primary_key_name": "UserId"},
    "a key of one attribute": {"key": {"pk": "ada"}},
    "another attribute": {"history_messages_key": "Chat"},
    "an end": {"ttl": 86_400},
    "an end at another attribute": {"ttl": 86_400, "ttl_key_name": "ends"},
    "a limited size": {"history_size": 5},
    "a limited size and an end": {"history_size": 4, "ttl": 86_400, "coerce_float_to_decimal": True},
}


def table_for(settings: dict[str, Any]) -> str:
    key = settings.get("key")
    if key is None:
        return new_table(settings.get("primary_key_name", "SessionId"))
    names = sorted(key, key=lambda name: name != settings.get("primary_key_name", next(iter(key))))
    return new_table(*names)


def plain(messages: list[BaseMessage]) -> list[BaseMessage]:
    """The messages without what we add to some, which their class shows (docs/formats.md)."""
    for message in messages:
        message.additional_kwargs.pop("chat_memory", None)
    return messages


def script(histories: list[Any]) -> list[list[BaseMessage]]:
    """A conversation of which each step is the next history's; returns what every step sees."""
    steps = iter(histories * 20)
    seen = [plain(next(steps).messages)]
    for n in range(4):
        next(steps).add_messages([HumanMessage(f"{n}?"), AIMessage(f"{n}!", id=f"run-{n}", response_metadata={"tokens": n})])
        seen.append(plain(next(steps).messages))
    next(steps).add_user_message("weather?")
    next(steps).add_messages([
        AIMessage("", tool_calls=[{"name": "f", "args": {"city": "Paris", "n": 1}, "id": "c"}]),
        ToolMessage("21", tool_call_id="c", artifact=None),
        AIMessage([{"type": "text", "text": "21 °C \U0001f980"}]),
    ])
    seen.append(plain(next(steps).messages))
    next(steps).clear()
    seen.append(plain(next(steps).messages))
    next(steps).add_messages([SystemMessage("Be brief."), HumanMessage("again")])
    next(steps).add_ai_message("done")
    seen.append(plain(next(steps).messages))
    return seen


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_the_same_script_with_either_class_on_one_table(settings: dict[str, Any]) -> None:
    def conversation(*of: type[Any]) -> list[list[BaseMessage]]:
        table = table_for(settings)
        return script([one(table, "s", endpoint_url=endpoint(), **settings) for one in of])

    expected = conversation(Theirs)
    ours = DynamoDBChatMessageHistory
    assert conversation(ours) == expected
    assert conversation(ours, Theirs) == expected
    assert conversation(ours, ours, Theirs) == expected
    assert conversation(Theirs, Theirs, ours) == expected


def test_every_write_renews_the_end() -> None:
    table = new_table("SessionId")
    history = DynamoDBChatMessageHistory(table, "s", endpoint(), ttl=86_400)
    for n in range(2):
        history.add_user_message(str(n))
        item = dynamodb("GetItem", TableName=table, Key={"SessionId": {"S": "s"}})["Item"]
        assert abs(int(item["expireAt"]["N"]) - time.time() - 86_400) < 60


def test_a_history_of_limited_size_loses_nothing_of_concurrent_writers() -> None:
    table = new_table("SessionId")

    async def run() -> None:
        histories = [DynamoDBChatMessageHistory(table, "s", endpoint(), history_size=12) for _ in range(6)]
        await asyncio.gather(*(history.aadd_messages([HumanMessage(f"{n}?"), AIMessage(f"{n}!")]) for n, history in enumerate(histories)))
        contents = [message.content for message in await histories[0].aget_messages()]
        assert sorted(map(str, contents)) == sorted(f"{n}{mark}" for n in range(6) for mark in "?!")
        await histories[0].aadd_messages([HumanMessage("last")])
        assert [message.content for message in await histories[1].aget_messages()] == [*contents[1:], "last"]
        await histories[2].aclear()
        assert await histories[3].aget_messages() == []

    asyncio.run(run())


def test_floats_are_stored_as_they_are() -> None:
    table = new_table("SessionId")
    message = AIMessage("x", response_metadata={"score": 0.1, "whole": 1.0, "count": 1})
    with pytest.raises(TypeError, match="Float"):
        Theirs(table, "theirs", endpoint()).add_messages([message])
    history = DynamoDBChatMessageHistory(table, "s", endpoint())
    history.add_messages([message])
    assert repr(history.messages) == repr([message])


def test_a_boto3_session_gives_credentials_region_and_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    table = new_table("SessionId")
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", endpoint())
    ours = DynamoDBChatMessageHistory(table, "s", boto3_session=session)
    for history in (Theirs(table, "s", boto3_session=session), ours):
        history.add_user_message("x")
    assert len(ours.messages) == 2
    # DynamoDB Local accepts any key, so the one that is used is looked at.
    assert "region=us-east-1" in ours._connection.url and "endpoint=" in ours._connection.url
    used = ours._connection._used
    assert used is not None and (used.access_key_id, used.secret_access_key) == ("test", "test")


def test_temporary_credentials_of_a_boto3_session_are_renewed() -> None:
    from botocore.credentials import RefreshableCredentials

    asked = 0

    def refresh() -> dict[str, str]:
        nonlocal asked
        asked += 1
        # Shorter than boto3's own margin, so that it renews them at every use.
        ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60 + asked))
        return {"access_key": f"key{asked}", "secret_key": "hunter2", "token": f"token{asked}", "expiry_time": ends}

    session = boto3.Session(region_name="us-east-1")
    session._session._credentials = RefreshableCredentials.create_from_metadata(refresh(), refresh, "test")
    history = DynamoDBChatMessageHistory(new_table("SessionId"), "s", endpoint(), boto3_session=session)
    history.add_user_message("x")
    first = asked
    assert [message.content for message in history.messages] == ["x"]
    assert asked > first
    assert "hunter2" not in repr(vars(history))


def test_what_cannot_work_is_refused_in_the_words_of_the_parameters() -> None:
    def refused(*args: Any, **settings: Any) -> str:
        with pytest.raises(chat_memory.ChatMemoryError) as error:
            DynamoDBChatMessageHistory("chats", "s", *args, **settings)
        return str(error.value)

    assert "kms_key_id is not supported" in refused(kms_key_id="alias/chat")
    assert "ttl" in refused(ttl=60) and "retention" not in refused(ttl=60)
    assert "invalid key" in refused(key={"a": "b", "c": "d", "e": "f"})
    assert "invalid key" in refused(key={"a": 1})
    assert "history_size" in refused(history_size=-1)
    assert "endpoint" in refused("ftp://x")
    history = DynamoDBChatMessageHistory(new_table("id"), "s", endpoint())
    with pytest.raises(chat_memory.InvalidError, match='has the partition key "id" .*; give primary_key_name="id", or another table$'):
        history.add_user_message("x")
    history = DynamoDBChatMessageHistory(new_table("pk", "range"), "s", endpoint())
    with pytest.raises(chat_memory.InvalidError, match='has the keys "pk" and "range"; give key={"pk": …, "range": …} with'):
        history.add_user_message("x")
    with pytest.raises(chat_memory.InvalidError, match="exclude each other"):
        DynamoDBChatMessageHistory("chats", "s", history_size=2).add_messages([HumanMessage("x")], key="k")


def test_any_store_has_histories(url: str) -> None:
    store = chat_memory.open(url)
    history = StoreChatMessageHistory(store, "s", turns=2, owner="alice", title="A trip")
    for n in range(3):
        for _ in range(2):
            history.add_messages([HumanMessage(f"{n}?"), AIMessage(f"{n}!")], key=f"turn-{n}")
    assert [message.content for message in history.messages] == ["1?", "1!", "2?", "2!"]
    assert [(info.id, info.title) for info in store.sessions("alice")] == [("s", "A trip")]
    assert store.load("s").messages[0] == {"role": "user", "content": "0?"} or "langchain" in repr(store.load("s").messages[0])
    history.clear()
    assert history.messages == []


def test_histories_of_one_table_share_one_open_store() -> None:
    url = turns_url()
    first, second = StoreChatMessageHistory(url, "a"), StoreChatMessageHistory(url, "b")
    assert first._connection._current is second._connection._current
    first.add_user_message("x")
    assert second.messages == []


def test_the_example_remembers_across_two_processes(durable_url: str) -> None:
    def ask(question: str) -> str:
        program = [sys.executable, str(EXAMPLE), durable_url, "user-42", question]
        return subprocess.run(program, capture_output=True, text=True, timeout=60, check=True).stdout

    assert ask("Where to?") == "0 messages before: To Lisbon.\n"
    assert ask("And to eat?") == "2 messages before: You began with 'Where to?'.\n"
