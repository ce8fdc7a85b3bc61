"""Strands Agents: storage next to strands' own, on every store."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from conftest import endpoint, new_table, script, turns_url
from strands.agent.conversation_manager import SlidingWindowConversationManager
from strands.storage import InMemoryStorage
from strands.types.exceptions import StorageError
from strands_agents import KEY, Meter, agent_of, snapshots, texts

import chat_memory
from chat_memory.strands import ChatMemorySessionManager, ChatMemoryStorage, StaleWriteError

EXAMPLE = Path(__file__).parents[2] / "examples" / "strands_agent.py"


ODD = [b"", b"null", b"[1, 1.0, true]", b"[true, 1, 1.0]", b"1e400", b'{"a": 1, "a": 2}', b'"\\ud800"']


def snapshot(messages: list[dict[str, Any]], state: object) -> bytes:
    return json.dumps({"schema_version": "1.0", "data": {"messages": messages, "state": state}}, ensure_ascii=False).encode()


def test_storage_is_that_of_memory(url: str) -> None:
    """Random schedules of all methods with all kinds of values, next to strands' InMemoryStorage."""
    seed = random.Random(3)
    keys = ["session/s/a", "session/s/b/c.json", "session/t", "x", "note/é/日本"]

    def value(previous: bytes | None) -> bytes:
        match seed.randrange(8):
            case 0:
                return seed.randbytes(seed.randrange(3000))
            case 1:
                return ("é日\n" * seed.randrange(400)).encode()
            case 2 if previous:
                at = seed.randrange(len(previous) + 1)
                return previous[:at] + b"abc" + previous[at + seed.randrange(30) :]
            case 3:
                return seed.choice([*ODD, b"[" * 300 + b"]" * 300])
            case _:
                state = {seed.choice("abcde"): seed.choice([0, 1.0, "x" * seed.randrange(200), [], {"y": None}]) for _ in range(4)}
                messages = [
                    {"role": "user", "content": [{"text": str(n)}]} | ({"tracking_id": str(n)} if seed.random() < 0.5 else {})
                    for n in range(seed.randrange(4), seed.randrange(4, 12))
                ]
                if seed.random() < 0.2:
                    messages.append({"content": [], "role": "user"})
                return snapshot(messages, state)

    async def converse() -> None:
        store = await chat_memory.aopen(url)
        memory, ours = InMemoryStorage(), ChatMemoryStorage(store)
        for _ in range(100):
            key = seed.choice(keys)
            match seed.randrange(8):
                case 0:
                    ours = ChatMemoryStorage(store)
                case 1:
                    prefix = seed.choice(["", "session/", "session/s/", "session/s", "session/s/b", "note/é/", "y"])
                    assert await ours.list(prefix) == await memory.list(prefix)
                case 2:
                    await memory.delete(key)
                    await ours.delete(key)
                case 3:
                    assert await ours.read(key) == await memory.read(key)
                case _:
                    data = value(await memory.read(key))
                    await memory.write(key, data)
                    await ours.write(key, data)
                    assert await ChatMemoryStorage(store).read(key) == data
        assert [result.key for result in await ours.search("é日")] == [result.key for result in await memory.search("é日")]
        scoped, views = ours.namespace("session").namespace("s"), memory.namespace("session").namespace("s")
        await scoped.write("new", b"x")
        await views.write("new", b"x")
        assert await scoped.list() == await views.list() and await ours.read("session/s/new") == b"x"
        for bad in ("", "//", "a/../b", "a\\b"):
            with pytest.raises(StorageError):
                await ours.read(bad)

    asyncio.run(converse())


@pytest.mark.parametrize("save", ["invocation", "message"])
def test_snapshots_continue_and_are_readable(url: str, save: Any) -> None:
    store = chat_memory.open(url)
    use = {"toolUse": {"toolUseId": "c1", "name": "weather", "input": {"city": "Paris"}}}
    agent = agent_of(snapshots(store, save_latest_on=save), [use], [{"text": "It is 21 °C."}])
    agent("What is the weather?")
    for n in range(20):
        # Of more than ten messages, the agent's window drops the oldest.
        window = SlidingWindowConversationManager(window_size=10)
        agent = agent_of(snapshots(store, save_latest_on=save), conversation_manager=window) if n % 8 == 0 else agent
        agent.state.set("n", n)
        agent(f"Question {n}")
    again = agent_of(snapshots(store))
    assert again.messages == agent.messages and again.state.get("n") == 19 and len(again.messages) <= 42
    # The session has the whole conversation, once.
    assert texts(list(store.messages(KEY)))[2:] == [text for n in range(20) for text in (f"Question {n}", "Yes.")]
    assert store.recall(KEY, turns=2).messages[0]["content"] == [{"text": "Question 18"}]


def test_redacted_message_of_a_snapshot_is_replaced(url: str) -> None:
    store = chat_memory.open(url)
    answers: list[list[dict[str, Any]]] = [[{"text": "Hi."}], [{"redact": "[removed]"}, {"text": "No."}], [{"text": "Yes."}]]
    agent = agent_of(snapshots(store, save_latest_on="message"), *answers)
    for question in ("Hello", "a secret", "Well"):
        agent(question)
    assert texts(list(store.messages(KEY))) == texts(agent.messages) == ["Hello", "Hi.", "[removed]", "No.", "Well", "Yes."]
    assert agent_of(snapshots(store)).messages == agent.messages


def test_stale_snapshot_is_refused(durable_url: str) -> None:
    agents = [agent_of(snapshots(durable_url)) for _ in range(2)]
    agents[0]("first")
    for _ in range(2):
        with pytest.raises(StaleWriteError, match="modified since it was read"):
            agents[1]("second")
    assert texts(agent_of(snapshots(durable_url)).messages) == ["first", "Yes."]


def test_long_conversation_is_read_in_pages(url: str) -> None:
    async def converse() -> None:
        store = await chat_memory.aopen(url)
        storage, messages, state = ChatMemoryStorage(store), list[dict[str, Any]](), {"n": 0, "text": "x" * 20_000}
        for n in range(120):
            messages += [{"role": role, "content": [{"text": f"{n}"}]} for role in ("user", "assistant") * 3]
            await storage.write("k", snapshot(messages, state | {"n": n}))
        assert await ChatMemoryStorage(store).read("k") == snapshot(messages, state | {"n": 119})
        # Without new messages: now and then, everything is stored again, so that reading stays as cheap.
        for n in range(300):
            state = {"n": n, "text": f"{n}" * 3000}
            await storage.write("other", snapshot(messages[:3], state))
        assert await ChatMemoryStorage(store).read("other") == snapshot(messages[:3], state)
        assert len((await store.load("other")).records) < 60

    asyncio.run(converse())


def test_tasks_that_share_a_storage(url: str) -> None:
    async def converse() -> None:
        storage = ChatMemoryStorage(await chat_memory.aopen(url))
        await asyncio.gather(*(storage.write("k", json.dumps({"n": n}).encode()) for n in range(10)))
        value = await storage.read("k")
        assert value is not None and json.loads(value)["n"] in range(10)

    asyncio.run(converse())


def test_what_is_in_use_does_not_expire(monkeypatch: pytest.MonkeyPatch, sqlite_url: str) -> None:
    """With a retention, what is still needed of old records is stored again when half of their time is over."""
    url = f"{sqlite_url}?retention=2h"
    for make in (lambda: ChatMemorySessionManager("s", url), lambda: snapshots(url)):
        agent_of(make())("Hello")
    later = datetime.now(timezone.utc) + timedelta(minutes=61)
    monkeypatch.setattr("chat_memory._values._now", lambda: later)
    store = chat_memory.open(url)
    for make in (lambda: ChatMemorySessionManager("s", url), lambda: snapshots(url)):
        agent_of(make())("And now?")
    for session in (KEY, "s/strands/state"):
        assert "full" in store.load(session).entries[-1] and len(store.load(session).records) == 1
    assert texts(agent_of(snapshots(url)).messages) == ["Hello", "Yes.", "And now?", "Yes."]
    assert texts(agent_of(ChatMemorySessionManager("s", url)).messages) == ["Hello", "Yes.", "And now?", "Yes."]


@pytest.mark.parametrize(("retention", "records"), [("?retention=1h", 1), ("", 3)])
def test_agent_that_outlives_a_retention_keeps_its_snapshot(
    monkeypatch: pytest.MonkeyPatch, sqlite_url: str, retention: str, records: int
) -> None:
    store = chat_memory.open(f"{sqlite_url}{retention}")
    agent = agent_of(snapshots(store))
    agent("Hello")
    agent("And now?")
    monkeypatch.setattr("chat_memory._values._now", lambda: datetime.now(timezone.utc) + timedelta(minutes=31))
    agent("And then?")
    assert len(store.load(KEY).records) == records
    assert agent_of(snapshots(store)).messages == agent.messages


def test_each_turn_of_a_snapshot_costs_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    meter, url = Meter(monkeypatch), turns_url()
    agent = agent_of(snapshots(url))
    units: dict[int, float] = {}
    for turn in range(1, 101):
        meter.taken()
        agent.state.set("n", turn)
        agent(f"Question {turn:03}")
        units[turn] = meter.taken().write_units
    assert units[2] == units[30] == units[100] == 1
    # Now and then, the state is written again as a whole.
    assert sum(units[turn] for turn in range(2, 101)) <= 105
    agent = agent_of(snapshots(url))
    assert agent.state.get("n") == 100 and texts(agent.messages)[-2:] == ["Question 100", "Yes."]
    assert meter.taken().requests == 1


def test_large_state_costs_what_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    meter, url = Meter(monkeypatch), turns_url()
    seed = random.Random(1)
    agent = agent_of(snapshots(url))
    agent.state.set("documents", {f"d{n}": seed.randbytes(1000).hex() for n in range(1000)})
    agent("Hello")
    assert meter.taken().write_units > 1000
    agent("And now?")
    usual = meter.taken()
    agent.state.set("documents", {**agent.state.get("documents"), "d7": "changed"})
    agent("And now?")
    changed = meter.taken()
    assert usual.write_units == changed.write_units == 1
    assert agent_of(snapshots(url)).state.get() == agent.state.get()


FAULTS = ["--drop-requests", "0.1", "--drop-answers", "0.2", "--seed", "7"]
TIMES = "&request_timeout=300ms&deadline=20s"


def test_each_turn_is_stored_once(fault_proxy: Callable[..., str]) -> None:
    table = f"dynamodb://{new_table('session_id', 'sk')}?region=us-east-1"
    through = f"{table}&endpoint={quote(fault_proxy(*FAULTS), safe='')}{TIMES}"
    direct = f"{table}&endpoint={quote(endpoint(), safe='')}"
    for start in range(0, 20, 10):
        agent = agent_of(snapshots(through))
        for n in range(start, start + 10):
            agent.state.set("n", n)
            agent(str(n))
    agent = agent_of(snapshots(direct))
    assert texts(agent.messages) == [text for n in range(20) for text in (str(n), "Yes.")] and agent.state.get("n") == 19
    assert texts(list(chat_memory.open(direct).messages(KEY))) == texts(agent.messages)


def test_example_remembers_across_two_processes(durable_url: str) -> None:
    said = [script(EXAMPLE.read_text(), durable_url, "user-42", "snapshots") for _ in range(2)]
    assert [(run.returncode, run.stderr) for run in said] == [(0, "")] * 2
    assert [run.stdout for run in said] == [
        "visit 1: You began with 'This is visit 1.'; I see 1 messages.\n",
        "visit 2: You began with 'This is visit 1.'; I see 3 messages.\n",
    ]


def test_two_processes_lose_nothing(durable_url: str) -> None:
    """A turn that is refused is repeated by an agent that is created again."""
    program = """
import sys
sys.path[:0] = sys.argv[3:]
from strands_agents import agent_of, snapshots
from chat_memory.strands import StaleWriteError
url, who = sys.argv[1:3]
for n in range(4):
    while True:
        try:
            agent_of(snapshots(url))(f"{who}/{n}")
            break
        except StaleWriteError:
            pass
"""
    runs: list[Any] = []
    folder = str(Path(__file__).parent)
    threads = [threading.Thread(target=lambda who: runs.append(script(program, durable_url, who, folder)), args=(who,)) for who in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(run.returncode, run.stderr) for run in runs] == [(0, "")] * 2
    found = texts(agent_of(snapshots(durable_url)).messages)
    for who in "ab":
        assert [text for text in found if text.startswith(f"{who}/")] == [f"{who}/{n}" for n in range(4)]
    assert len(found) == 16, "a turn is one write"
