"""The suite that examines chat memories: it finds what is wrong with a bad one, and nothing wrong with ours."""

from __future__ import annotations

import asyncio
import json
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from conftest import REGION, create_table, endpoint, new_table

import chat_memory
from chat_memory.adk import ChatMemorySessionService
from chat_memory.claude_agent_sdk import ChatMemorySessionStore
from chat_memory.langchain import StoreChatMessageHistory
from chat_memory.openai_agents import ChatMemorySession
from chat_memory.pydantic_ai import ChatMemoryConversationStore
from chat_memory.strands import ChatMemorySessionManager
from chat_memory.testing import Damage, Place, Proxy, Said, Subject, damage, examine, frameworks, table


class Careless(Subject):
    """Rewrites a whole file for each message, as many do with an item."""

    def __init__(self, place: Place) -> None:
        self.folder = Path(place.folder)

    def _messages(self, session: str) -> list[Any]:
        file = self.folder / f"{session}.json"
        return json.loads(file.read_text()) if file.exists() else []

    async def add(self, session: str, question: str, answer: str, arguments: Any = None) -> None:
        if len(question) > 100_000:
            raise ValueError("too large")
        for message in ((question, None), (answer, arguments and {key: float(value) for key, value in arguments.items()})):
            messages = [*self._messages(session), message]
            draft = self.folder / f"{session}.{os.getpid()}"
            draft.write_text(json.dumps(messages))
            draft.rename(self.folder / f"{session}.json")

    async def read(self, session: str) -> list[Said]:
        return [Said(*message) for message in self._messages(session)]


class Ours(Subject):
    def __init__(self, place: Place) -> None:
        self.place = place
        where = f"sqlite:{place.folder}/chat.db"
        if place.endpoint:
            where = f"dynamodb://{place.table}?region={REGION}&endpoint={place.endpoint}"
        self.store = chat_memory.open(where)

    async def prepare(self) -> None:
        if self.place.endpoint:
            create_table(self.place.table, "session_id", "sk")

    async def add(self, session: str, question: str, answer: str, arguments: Any = None) -> None:
        said: list[dict[str, Any]] = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        if arguments is not None:
            said[1]["arguments"] = arguments
        self.store.append(session, said, retry=True)

    async def read(self, session: str) -> list[Said]:
        return [Said(message["content"], message.get("arguments")) for message in self.store.load(session).messages]


def careless(place: Place) -> Subject:
    return Careless(place)


def ours(place: Place) -> Subject:
    return Ours(place)


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the processes of the suite import this file."""
    here = Path(__file__).parent
    paths = [str(here), str(here.parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in paths if path))


def test_ours_is_unharmed_on_dynamodb() -> None:
    report = examine("test_testing:ours", endpoint=endpoint(), turns=(2, 20))
    assert [str(found) for found in (report.writers, report.lossy, report.killed)] == ["none"] * 3, report
    assert (report.large, report.long, report.inexact) == ("yes", "yes", []), report
    assert [found.write_units for found in report.usage.values() if not isinstance(found, str)] == [1.0, 1.0], report


def test_ours_is_unharmed_in_a_file() -> None:
    report = examine("test_testing:ours")
    assert [str(found) for found in (report.writers, report.killed)] == ["none"] * 2, report
    assert (report.large, report.long, report.inexact, report.lossy, report.usage) == ("yes", "yes", [], None, {}), report


def test_a_careless_memory_is_found_out() -> None:
    report = examine("test_testing:careless")
    assert report.large == "ValueError", report
    # What it does with numbers of other kinds is an error, or a float.
    assert {"an integer beyond 2^53", "null", "order of names"} <= set(report.inexact), report
    assert "a fraction" not in report.inexact, report
    lines = table([report], ["careless"]).splitlines()
    assert lines[0].startswith("|  | 8 writers |") and lines[2].startswith("| careless |"), lines


def subjects(folder: Path) -> list[Subject]:
    url = f"sqlite:{folder}/chat.db"
    return [
        frameworks.LangChainHistory(lambda session: StoreChatMessageHistory(url, session)),
        frameworks.OpenAIAgentsSession(lambda session: ChatMemorySession(session, url)),
        frameworks.AdkSessionService(ChatMemorySessionService(url)),
        frameworks.PydanticAIStore(ChatMemoryConversationStore(url)),
        frameworks.ClaudeSessionStore(ChatMemorySessionStore(url)),
        frameworks.StrandsAgent(lambda session: ChatMemorySessionManager(session, url)),
    ]


@pytest.mark.parametrize("number", range(6))
def test_each_frameworks_subject_reads_what_it_added(number: int, tmp_path: Path) -> None:
    async def examined() -> tuple[list[Said], list[Said]]:
        subject = subjects(tmp_path)[number]
        await subject.add("plain", "Where to?", "To Lisbon.")
        await subject.add("plain", "And then?", "To Porto.")
        await subject.add("call", "The weather?", "I look.", {"x": [1, 1.0, None]})
        return await subject.read("plain"), await subject.read("call")

    plain, call = asyncio.run(examined())
    assert [said.text for said in plain] == ["Where to?", "To Lisbon.", "And then?", "To Porto."]
    assert [said.arguments for said in plain] == [None] * 4
    assert call[0] == Said("The weather?") and json.dumps(call[1].arguments) == '{"x": [1, 1.0, null]}'


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["question a", "answer a", "question b", "answer b"], Damage(2)),
        (["question a", "answer a"], Damage(2, lost=1)),
        (["question a", "answer a", "question b"], Damage(2, lost=1, torn=1)),
        (["question a", "question b", "answer a", "answer b"], Damage(2, torn=2)),
        (["question a", "answer a", "question b", "answer b", "question b", "answer b"], Damage(2, doubled=1)),
        (["question a", "answer a", "question c", "question b", "answer b"], Damage(2, torn=1)),
    ],
)
def test_damage_is_counted_by_turns(texts: list[str], found: Damage) -> None:
    assert damage([Said(text) for text in texts], ["a", "b"], 2) == found


def test_the_proxy_counts_what_dynamodb_counts_and_loses_what_it_should() -> None:
    body = {"TableName": new_table("id"), "Item": {"id": {"S": "1"}, "text": {"S": "x" * 1500}}}

    def put(url: str) -> Any:
        headers = {
            "content-type": "application/x-amz-json-1.0",
            "x-amz-target": "DynamoDB_20120810.PutItem",
            "authorization": f"AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/dynamodb/aws4_request, SignedHeaders=host, Signature=0",
        }
        with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers)) as answer:
            return json.load(answer)

    with Proxy(endpoint()) as proxy:
        put(proxy.url)
        assert (proxy.usage.requests, proxy.usage.write_units, proxy.usage.read_units) == (1, 2.0, 0.0)
    for lost_requests, lost_answers, arrived in ((1.0, 0.0, 0), (0.0, 1.0, 1)):
        with Proxy(endpoint(), lost_requests=lost_requests, lost_answers=lost_answers) as proxy:
            with pytest.raises((urllib.error.URLError, ConnectionError)):
                put(proxy.url)
            assert proxy.usage.requests == arrived
