"""What the tests of Strands Agents share: agents with a model that gives fixed answers, and what calls cost."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterable
from typing import Any, TypeVar, cast

import pytest
from strands import Agent, tool
from strands.models import Model
from strands.session import SnapshotSessionManager
from strands.types.content import Messages
from strands.types.streaming import StreamEvent

import chat_memory
from chat_memory._calls import Call
from chat_memory._connection import Connection
from chat_memory.strands import ChatMemoryStorage

T = TypeVar("T")

KEY = "session/user-42/scopes/agent/default/snapshots/snapshot_latest.json"
"""The key under which the agents of `snapshots` are stored."""


class Answers(Model):
    """A model that gives these answers, one after another; the last one forever."""

    def __init__(self, *answers: list[dict[str, Any]]) -> None:
        self.answers = list(answers) or [[{"text": "Yes."}]]
        self.seen: list[Any] = []

    def update_config(self, **model_config: Any) -> None: ...

    def get_config(self) -> Any:
        return {}

    def structured_output(self, *args: Any, **kwargs: Any) -> AsyncGenerator[dict[str, Any], None]:
        raise NotImplementedError

    async def stream(self, messages: Messages, *args: Any, **kwargs: Any) -> AsyncIterable[StreamEvent]:
        self.seen = json.loads(json.dumps(messages))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        events: list[dict[str, Any]] = [{"messageStart": {"role": "assistant"}}]
        for block in answer:
            if "redact" in block:
                events.append({"redactContent": {"redactUserContentMessage": block["redact"]}})
            elif "text" in block:
                events += [{"contentBlockStart": {"start": {}}}, {"contentBlockDelta": {"delta": {"text": block["text"]}}}]
                events.append({"contentBlockStop": {}})
            else:
                use = block["toolUse"]
                start = {"toolUse": {"name": use["name"], "toolUseId": use["toolUseId"]}}
                delta = {"toolUse": {"input": json.dumps(use["input"])}}
                events += [{"contentBlockStart": {"start": start}}, {"contentBlockDelta": {"delta": delta}}, {"contentBlockStop": {}}]
        reason = "tool_use" if any("toolUse" in block for block in answer) else "end_turn"
        events.append({"messageStop": {"stopReason": reason}})
        for event in events:
            yield cast(StreamEvent, event)


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"21 °C in {city}"


class Meter:
    """Adds up what calls cost."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cost = chat_memory.Cost()
        meter, call, acall = self, Connection.call, Connection.acall

        def metered(self: Connection, asked: Call[T]) -> T:
            found = call(self, asked)
            meter.add(found)
            return found

        async def ametered(self: Connection, asked: Call[T]) -> T:
            found = await acall(self, asked)
            meter.add(found)
            return found

        monkeypatch.setattr(Connection, "call", metered)
        monkeypatch.setattr(Connection, "acall", ametered)

    def add(self, found: Any) -> None:
        self.cost += getattr(found, "cost", chat_memory.Cost())

    def taken(self) -> chat_memory.Cost:
        cost, self.cost = self.cost, chat_memory.Cost()
        return cost


def agent_of(manager: Any, *answers: list[dict[str, Any]], **more: Any) -> Agent:
    return Agent(model=Answers(*answers), session_manager=manager, callback_handler=None, tools=[weather], **more)


def texts(messages: list[Any]) -> list[str]:
    return [block["text"] for message in messages for block in message["content"] if "text" in block]


def snapshots(url: str | chat_memory.Store, **more: Any) -> SnapshotSessionManager:
    return SnapshotSessionManager("user-42", storage=ChatMemoryStorage(url), **more)
