"""Sessions of the OpenAI Agents SDK, next to the SDK's own SQLiteSession."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import types
import typing
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import pytest
from agents import Agent, RunConfig, Runner, SessionSettings, SQLiteSession, function_tool
from agents.extensions.memory.encrypt_session import EncryptedSession
from agents.items import TResponseInputItem
from agents.memory import OpenAIResponsesCompactionSession, SessionABC, is_openai_responses_compaction_aware_session
from agents.testing import ScriptedModel
from conftest import REGION, endpoint, new_table, turns_url
from conftest import user as user_message
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText
from openai.types.responses.response_input_item_param import ResponseInputItemParam
from typing_extensions import is_typeddict

import chat_memory
from chat_memory._connection import Connection
from chat_memory.openai_agents import ChatMemorySession, CompactionSession

EXAMPLE = Path(__file__).parents[2] / "examples/openai_agent.py"
FAULTS = ["--drop-requests", "0.1", "--drop-answers", "0.2", "--duplicates", "0.1", "--seed", "7"]
WRITES = ["--only", "UpdateItem", "--only", "PutItem", "--only", "TransactWriteItems"]

Items = list[TResponseInputItem]


def item(**fields: Any) -> TResponseInputItem:
    return cast(TResponseInputItem, fields)


def user(text: str) -> TResponseInputItem:
    return item(role="user", content=text)


def assistant(text: str) -> TResponseInputItem:
    parts = [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]
    return item(id="msg_1", type="message", role="assistant", status="completed", content=parts)


def texts(items: Items) -> list[str]:
    """The texts of messages."""
    contents = [cast(Any, each)["content"] for each in items]
    return [content if isinstance(content, str) else content[0]["text"] for content in contents]


def exact(items: Any) -> str:
    """The items as text, which also shows whether a number is whole."""
    return json.dumps(items, sort_keys=True)


def sample(of: Any, depth: int = 0) -> Any:
    """A value of a type of the SDK's items, with all fields."""
    origin, arguments = typing.get_origin(of), typing.get_args(of)
    if origin is typing.Literal:
        return arguments[0]
    if origin in (typing.Union, types.UnionType):
        return sample(arguments[0], depth)
    if is_typeddict(of):
        return {name: sample(field, depth + 1) for name, field in typing.get_type_hints(of).items()} if depth < 6 else {}
    if origin is dict:
        return {"k": sample(arguments[1], depth + 1)}
    if arguments:
        return [sample(arguments[0], depth + 1)]
    return {str: "té \U0001f980", int: 7, float: 1.0, bool: True, type(None): None}.get(of, {"any": [1.0, None, []]})


KINDS: dict[str, TResponseInputItem] = {of.__name__: sample(of) for of in typing.get_args(ResponseInputItemParam)}
"""An item of each kind of the Responses API."""

ENTRIES = {"AdditionalTools", "ResponseConfigurationUpdateItemParamParam", "CompactionTrigger", "Program", "ProgramOutput"}
"""The kinds that are not messages, and so are stored as entries."""


@pytest.mark.parametrize("seed", range(3))
def test_random_schedules_have_the_results_of_the_sdks_own_session(url: str, seed: int) -> None:
    rng = random.Random(seed)
    kinds = [*KINDS.values(), *[user("Hi"), assistant("Hello")] * 20]

    async def step(session: SessionABC, choice: float, items: Items, limit: int | None) -> object:
        if choice < 0.45:
            await session.add_items(items)
        elif choice < 0.7:
            return await session.get_items(limit)
        elif choice < 0.97:
            return await session.pop_item()
        else:
            await session.clear_session()
        return None

    async def check() -> None:
        store = await chat_memory.aopen(url)
        settings = SessionSettings(limit=4) if seed == 2 else None
        ours = [ChatMemorySession("s", store, settings) for _ in range(2)]
        theirs = SQLiteSession("s", session_settings=settings)
        for _ in range(60):
            choice, limit = rng.random(), rng.choice([None, 0, 1, 2, 5, 9, 1000, -1])
            items = rng.choices(kinds, k=rng.choice([0, 1, 1, 2, 2, 3, 7]))
            found = await step(rng.choice(ours), choice, items, limit)
            assert exact(found) == exact(await step(theirs, choice, items, limit))
        assert exact(await ours[0].get_items(2**31 - 1)) == exact(await theirs.get_items(2**31 - 1))
        theirs.close()

    asyncio.run(check())


def test_items_of_every_kind_come_back_equal(url: str) -> None:
    async def check() -> None:
        store = await chat_memory.aopen(url)
        session = ChatMemorySession("all", store)
        await session.add_items([*KINDS.values()])
        assert exact(await session.get_items()) == exact([*KINDS.values()])
        for name, each in KINDS.items():
            session = ChatMemorySession(name, store)
            await session.add_items([user("Before"), each, assistant("After")])
            assert exact(await session.get_items()) == exact([user("Before"), each, assistant("After")])
            (record,) = (await store.load(name)).records
            assert (record.others is not None) == (name in ENTRIES), name

    asyncio.run(check())


def test_odd_items_come_back_equal(durable_url: str) -> None:
    odd: list[TResponseInputItem] = [
        item(role="user", content=""),
        item(role="user", content=[]),
        item(role="user", content=None),
        item(role="tool", tool_call_id="c", content="of the chat form"),
        item(role="assistant", content=None, tool_calls=[{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]),
        item(type="function_call", call_id="c", name="f", arguments='{ "a": 1.0,\n"b": NaN'),
        item(type="function_call_output", call_id="c", output=[{"type": "input_text", "text": "\x00\ud7ff\U0001f980"}], score=-0.0),
        item(type="function_call_output", call_id="c", output={"not": ["of", "the", "API"]}),
        item(type="reasoning", id="rs_1", summary=[], encrypted_content="x" * 600_000),
        item(type="of the future", id="f", uuid="f", numbers=[2**63 - 1, -(2**63), 1e308, 0.1, 5e-324]),
        item(),
        item(type="chat_memory.openai_agents"),
    ]

    async def check() -> None:
        session = ChatMemorySession("s", durable_url)
        for each in odd:
            await session.add_items([each])
            assert exact(await session.get_items(1)) == exact([each])
        await session.add_items(odd)
        assert exact(await session.get_items()) == exact([*odd, *odd])
        for each in reversed([*odd, *odd]):
            assert exact(await session.pop_item()) == exact(each)
        assert await session.pop_item() is None
        with pytest.raises(chat_memory.InvalidError, match=r"messages\[1\].content: nan"):
            await session.add_items([user("whole or not at all"), item(role="user", content=float("nan"))])
        assert await session.get_items() == []

    asyncio.run(check())


def test_concurrent_pops_return_different_items(url: str) -> None:
    async def check() -> None:
        store = await chat_memory.aopen(url)
        sessions = [ChatMemorySession("s", store) for _ in range(6)]
        await sessions[0].add_items([user(str(n)) for n in range(10)])
        adds = (session.add_items([user(f"{n}?"), assistant(f"{n}!")]) for n, session in enumerate(sessions))
        pops = (session.pop_item() for session in sessions * 2)
        popped, _ = await asyncio.gather(asyncio.gather(*pops), asyncio.gather(*adds))
        left = await sessions[0].get_items()
        stored = texts([each for each in [*popped, *left] if each is not None])
        assert sorted(stored) == sorted([*map(str, range(10)), *(f"{n}{mark}" for n in range(6) for mark in "?!")])

    asyncio.run(check())


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """The calls of the engine, as they happen."""
    seen: list[tuple[str, dict[str, Any]]] = []
    call_engine = Connection.acall

    async def acall(self: Connection, call: Any) -> Any:
        seen.append((call.operation, call.request))
        return await call_engine(self, call)

    monkeypatch.setattr(Connection, "acall", acall)
    return seen


def test_no_more_is_read_than_is_returned(calls: list[tuple[str, dict[str, Any]]]) -> None:
    async def check() -> None:
        session = ChatMemorySession("s", "memory:")
        for n in range(100):
            await session.add_items([user(f"{n}?"), item(type="reasoning", id="r", summary=[]), assistant(f"{n}!")])
        calls.clear()
        assert exact(await session.get_items(2)) == exact([item(type="reasoning", id="r", summary=[]), assistant("99!")])
        assert exact(await session.pop_item()) == exact(assistant("99!"))
        assert await session.get_items(0) == []
        await session.add_items([])
        assert [(name, request.get("messages")) for name, request in calls if name != "rewind"] == [("records", 2), ("records", 1)]
        assert [request["seq"] for name, request in calls if name == "rewind"] == [99]

    asyncio.run(check())


def test_a_window_never_starts_with_a_result_without_its_call(url: str) -> None:
    call = item(type="function_call", call_id="c", name="f", arguments="{}")
    output = item(type="function_call_output", call_id="c", output="1")

    async def check() -> None:
        store = await chat_memory.aopen(url)
        turns = [[user(f"{n}?"), call, output, assistant(f"{n}!")] for n in range(3)]
        for turn in turns:
            await ChatMemorySession("s", store).add_items(turn)
        session = ChatMemorySession("s", store, turns=2)
        assert exact(await session.get_items()) == exact([*turns[1], *turns[2]])
        assert exact(await session.get_items(2)) == exact([output, assistant("2!")])
        assert texts(await ChatMemorySession("s", store, tokens=20).get_items()) == ["2!"]
        with pytest.raises(chat_memory.InvalidError, match="turns and tokens"):
            await ChatMemorySession("s", store, turns=2, tokens=2).get_items()

    asyncio.run(check())


@function_tool
def weather(city: str) -> str:
    """Returns the weather."""
    return f"21 °C in {city}"


def said(text: str) -> ResponseOutputMessage:
    content = ResponseOutputText(type="output_text", text=text, annotations=[])
    return ResponseOutputMessage(id="msg_1", type="message", role="assistant", status="completed", content=[content])


def called(city: str) -> ResponseFunctionToolCall:
    return ResponseFunctionToolCall(type="function_call", call_id="call_1", name="weather", arguments=json.dumps({"city": city}))


CONFIG = RunConfig(tracing_disabled=True)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_runner_remembers(url: str, streamed: bool) -> None:
    async def check() -> None:
        store = await chat_memory.aopen(url)

        def session() -> ChatMemorySession:
            return ChatMemorySession("trip", store, owner="ada", title="A trip")

        await session().clear_session()
        theirs = SQLiteSession("trip")
        inputs: list[Any] = []
        for used in (session, lambda: theirs):
            model = ScriptedModel([[called("Lisbon")], [said("It is 21 °C.")], [said("Yes.")]])
            agent = Agent("a", model=model, tools=[weather])
            for question in ("What is the weather in Lisbon?", "Is that warm?"):
                if streamed:
                    streaming = Runner.run_streamed(agent, question, session=used(), run_config=CONFIG)
                    async for _ in streaming.stream_events():
                        pass
                else:
                    await Runner.run(agent, question, session=used(), run_config=CONFIG)
            inputs.append([exact(call.input) for call in model.calls])
        assert inputs[0] == inputs[1]
        assert exact(await session().get_items()) == exact(await theirs.get_items())
        theirs.close()

        # The same conversation in the forms of others.
        messages = (await store.load("trip")).messages
        assert [message["role"] for message in messages] == ["user", "assistant", "tool", "assistant", "user", "assistant"]
        assert messages[1]["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city": "Lisbon"}'}
        window = (await store.recall("trip", turns=2, format="anthropic")).messages
        assert [block["type"] for block in window[1]["content"]] == ["tool_use"]
        assert [(info.id, info.title) async for info in store.sessions("ada")] == [("trip", "A trip")]

    asyncio.run(check())


def test_conversations_of_others_are_items(url: str) -> None:
    async def check() -> None:
        store = await chat_memory.aopen(url)
        call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
        asked: list[dict[str, object]] = [user_message("Warm?"), {"role": "assistant", "content": None, "tool_calls": [call]}]
        await store.append("s", [*asked, {"role": "tool", "tool_call_id": "call_1", "content": "21 °C"}])
        await store.append_entries("s", [{"type": "a line of another program"}, {"role": "assistant", "content": "Yes."}])
        session = ChatMemorySession("s", store)
        expected = [
            user("Warm?"),
            item(type="function_call", call_id="call_1", name="weather", arguments="{}"),
            item(type="function_call_output", call_id="call_1", output="21 °C"),
            item(role="assistant", content="Yes."),
        ]
        for n in range(4, 0, -1):
            assert exact(await session.get_items()) == exact(expected[:n])
            assert exact(await session.pop_item()) == exact(expected[n - 1])

    asyncio.run(check())


class Client:
    """Takes the place of the client of OpenAI: `responses.compact` sums up what it is given, and can do something meanwhile."""

    def __init__(self, meanwhile: Callable[[], Coroutine[Any, Any, object]] | None = None) -> None:
        self.responses = self
        self.inputs: list[Any] = []
        self._meanwhile = meanwhile

    async def compact(self, *, model: str, input: Any = None, previous_response_id: str | None = None) -> Any:
        self.inputs.append(input)
        if self._meanwhile is not None:
            await self._meanwhile()
        output = [user("First"), item(type="compaction", id="cmp_1", encrypted_content=f"{len(input or [])} items")]
        return types.SimpleNamespace(output=output, usage=None)


def compaction(session: ChatMemorySession, client: Client, **settings: Any) -> CompactionSession:
    return CompactionSession(session.session_id, session, client=cast(Any, client), **settings)


COMPACTED = [user("First"), item(type="compaction", id="cmp_1", encrypted_content="10 items")]


def test_a_compaction_by_hand_is_one_write(url: str, calls: list[tuple[str, dict[str, Any]]]) -> None:
    async def check() -> None:
        store = await chat_memory.aopen(url)
        session = ChatMemorySession("s", store, SessionSettings(limit=3))
        compacting = compaction(session, Client())
        assert is_openai_responses_compaction_aware_session(compacting)
        for n in range(5):
            await compacting.add_items([user(f"{n}?"), assistant(f"{n}!")])
        calls.clear()
        await compacting.run_compaction({"force": True})
        assert [name for name, _ in calls] == ["records", "append", "sweep"]
        # All items were sent, also those beyond the limit.
        assert exact(await compacting.get_items()) == exact(COMPACTED)
        with pytest.raises(ValueError, match="max_rollback_items"):
            await compaction(session, Client(), max_rollback_items=1).run_compaction({"force": True})
        # The SDK's own class stores in one write, too.
        await session.add_items([user("more")])
        calls.clear()
        theirs = OpenAIResponsesCompactionSession("s", session, client=cast(Any, Client()))
        await theirs.run_compaction({"force": True})
        assert [name for name, _ in calls if name != "records"] == ["append", "sweep"]

    asyncio.run(check())


def test_a_compaction_loses_nothing_of_other_writers(url: str) -> None:
    async def check() -> None:
        store = await chat_memory.aopen(url)
        other = ChatMemorySession("s", store)
        client = Client(lambda: other.add_items([user("meanwhile")]))
        compacting = compaction(ChatMemorySession("s", store), client)
        turns = [each for n in range(5) for each in (user(f"{n}?"), assistant(f"{n}!"))]
        await compacting.add_items(turns)
        with pytest.raises(chat_memory.ConflictError, match="compaction not stored: the session was modified"):
            await compacting.run_compaction({"force": True})
        assert exact(await compacting.get_items()) == exact([*turns, user("meanwhile")])
        # What others have written since is read again, not taken from a cache.
        await other.add_items([user("later")])
        client._meanwhile = None
        await compacting.run_compaction({"force": True})
        assert texts(client.inputs[-1])[-2:] == ["meanwhile", "later"]

    asyncio.run(check())


def test_a_partial_compaction_keeps_the_items_before_it(url: str) -> None:
    rng = random.Random(1)

    async def check() -> None:
        session, stored = ChatMemorySession("s", url), [user("First")]
        await session.add_items(stored)
        for _ in range(15):
            items = rng.choices([*KINDS.values()], k=rng.randint(1, 5))
            await session.add_items(items)
            stored += items
            limit = rng.choice([None, 1, 3, 8])
            snapshot = await session._get_compaction_snapshot(limit)
            assert snapshot is not None and exact(snapshot.items) == exact(stored[-limit:] if limit else stored)
            kept = rng.randrange(len(snapshot.items))
            assert await snapshot.replace_suffix(kept, COMPACTED)
            stored = [*stored[: len(stored) - len(snapshot.items) + kept], *COMPACTED]
            assert exact(await session.get_items()) == exact(stored)
            # What it has read is no longer what is stored.
            assert not await snapshot.replace_suffix(0, [])

    asyncio.run(check())


@pytest.mark.parametrize("interrupted", [False, True])
def test_the_runner_compacts(url: str, interrupted: bool) -> None:
    async def check() -> None:
        store = await chat_memory.aopen(url)
        other = ChatMemorySession("s", store)
        client = Client((lambda: other.add_items([user("meanwhile")])) if interrupted else None)
        await other.add_items([user("Old?"), assistant("Old!")])
        # The model sees the newest two items and the question, and only what it has seen is compacted.
        session = ChatMemorySession("s", store, SessionSettings(limit=4))
        compacting = compaction(session, client, compaction_mode="input", should_trigger_compaction=lambda _: True)
        steps: Any = [{"output": [said(f"{n}!")], "response_id": f"resp_{n}"} for n in range(2)]
        agent = Agent("a", model=ScriptedModel(steps))
        config = RunConfig(tracing_disabled=True, session_settings=SessionSettings(limit=2))
        await Runner.run(agent, "0?", session=compacting, run_config=config)
        stored = await compacting.get_items(100)
        if interrupted:
            assert texts(stored) == ["Old?", "Old!", "0?", "0!", "meanwhile"]
            return
        compacted = [user("First"), item(type="compaction", id="cmp_1", encrypted_content="4 items")]
        assert exact(stored) == exact(compacted)
        await other.add_items([user("a"), assistant("b"), user("c"), assistant("d")])
        await Runner.run(agent, "1?", session=compacting, run_config=config)
        assert exact(await compacting.get_items(100)) == exact([*stored, user("a"), assistant("b"), *compacted])

    asyncio.run(check())


def test_a_compaction_that_is_cancelled_leaves_the_old_items_or_the_new(durable_url: str) -> None:
    async def check() -> None:
        store = await chat_memory.aopen(durable_url)
        turns = [each for n in range(5) for each in (user(f"{n}?"), assistant(f"{n}!"))]
        for n in range(6):
            session = ChatMemorySession(f"s{n}", store)
            await session.add_items(turns)
            task = asyncio.ensure_future(compaction(session, Client()).run_compaction({"force": True}))
            for _ in range(n * 3):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert exact(await session.get_items()) in (exact(turns), exact(COMPACTED))

    asyncio.run(check())


def test_sessions_that_change_items_are_not_bypassed() -> None:
    class Stamped(ChatMemorySession):
        pass

    async def check() -> None:
        assert await Stamped("s", "memory:")._get_compaction_snapshot(None) is None
        assert not await Stamped("s", "memory:")._atomic_replace_items([])

    asyncio.run(check())
    for other in (Stamped("s", "memory:"), SQLiteSession("s")):
        with pytest.raises(chat_memory.InvalidError, match="invalid underlying_session"):
            CompactionSession("s", cast(Any, other))


def test_an_encrypted_session_compacts(url: str) -> None:
    async def check() -> None:
        session = ChatMemorySession("s", url)
        client = Client()
        encrypted = EncryptedSession("s", compaction(session, client), encryption_key="secret", ttl=600)
        turns = [each for n in range(5) for each in (user(f"{n}?"), assistant(f"{n}!"))]
        await encrypted.add_items(turns)
        assert exact(await encrypted.get_items()) == exact(turns) and "0?" not in exact(await session.get_items())
        await encrypted.run_compaction({"force": True})
        assert exact(await encrypted.get_items()) == exact(COMPACTED)
        assert exact(client.inputs[0]) == exact(turns)

    asyncio.run(check())


def test_each_turn_is_stored_once_behind_a_lossy_network(fault_proxy: Callable[..., str]) -> None:
    through = quote(fault_proxy(*FAULTS, *WRITES), safe="")
    url = f"dynamodb://{new_table('session_id', 'sk')}?region={REGION}"
    lossy = f"{url}&endpoint={through}&request_timeout=300ms&deadline=20s"

    async def write(who: str) -> list[str]:
        session = ChatMemorySession("s", lossy)
        for n in range(10):
            await session.add_items([user(f"{who}/{n}?"), assistant(f"{who}/{n}!")])
        return []

    async def pop() -> list[str]:
        session = ChatMemorySession("p", lossy)
        found = [await session.pop_item() for _ in range(6)]
        return texts([each for each in found if each is not None])

    async def check() -> None:
        direct = f"{url}&endpoint={quote(endpoint(), safe='')}"
        await ChatMemorySession("p", direct).add_items([user(str(n)) for n in range(14)])
        *_, first, second = await asyncio.gather(write("a"), write("b"), pop(), pop())
        contents = texts(await ChatMemorySession("s", direct).get_items())
        assert len(contents) == 40
        for who in "ab":
            assert [text for text in contents if text[0] == who] == [f"{who}/{n}{mark}" for n in range(10) for mark in "?!"]
        assert all(answer == question.replace("?", "!") for question, answer in zip(contents[::2], contents[1::2]))
        left = texts(await ChatMemorySession("p", direct).get_items())
        assert left == ["0", "1"] and sorted(first + second, key=int) == [str(n) for n in range(2, 14)]
        compacting = compaction(ChatMemorySession("s", lossy), Client())
        await compacting.run_compaction({"force": True})
        assert len(await ChatMemorySession("s", direct).get_items()) == 2
        await ChatMemorySession("s", lossy).clear_session()
        assert await ChatMemorySession("s", direct).get_items() == []

    asyncio.run(check())


def test_two_processes_share_a_session(durable_url: str) -> None:
    program = """
import asyncio, json, sys
from chat_memory.openai_agents import ChatMemorySession
async def main():
    session, popped = ChatMemorySession("s", sys.argv[1]), []
    print("ready", flush=True)
    for n in range(10):
        await session.add_items([{"role": "user", "content": f"child/{n}/{part}"} for part in range(3)])
        popped.append(await session.pop_item())
    print(json.dumps(popped))
asyncio.run(main())
"""
    child = subprocess.Popen([sys.executable, "-c", program, durable_url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "ready\n"

    async def check() -> Items:
        session, popped = ChatMemorySession("s", durable_url), []
        for n in range(10):
            await session.add_items([user(f"parent/{n}/{part}") for part in range(3)])
            popped.append(await session.pop_item())
        return [each for each in popped if each is not None]

    popped = asyncio.run(check())
    out, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (0, "")
    left = asyncio.run(ChatMemorySession("s", durable_url).get_items())
    stored = texts([*popped, *json.loads(out), *left])
    assert sorted(stored) == sorted(f"{who}/{n}/{part}" for who in ("child", "parent") for n in range(10) for part in range(3))


def test_a_cancelled_write_ends_with_its_outcome(durable_url: str) -> None:
    async def check() -> None:
        session = ChatMemorySession("s", durable_url)
        await session.get_items()
        for n in range(5):
            task = asyncio.ensure_future(session.add_items([user(str(n))]))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            # Nothing is on its way any more.
            assert await session.get_items() == await session.get_items()
        assert texts(await session.get_items()) == [str(n) for n in range(5)]

    asyncio.run(check())


def test_sessions_of_one_table_share_one_open_store() -> None:
    url = turns_url()
    first, second = ChatMemorySession("a", url), ChatMemorySession("b", url, {"limit": 3})
    assert first._connection._current is second._connection._current
    assert second.session_settings == SessionSettings(limit=3) and first.session_settings == SessionSettings()
    with pytest.raises(chat_memory.InvalidError, match="mongo"):
        ChatMemorySession("s", "mongo://x")


def test_the_example_remembers(durable_url: str) -> None:
    expected = {
        "What is the weather in Lisbon?": ["It is 21 °C in Lisbon.", "4 items are stored"],
        "And in Porto?": ["It is 21 °C in Porto. You asked before: What is the weather in Lisbon?", "8 items are stored"],
    }
    for question, lines in expected.items():
        ended = subprocess.run([sys.executable, str(EXAMPLE), durable_url, question], capture_output=True, text=True, timeout=60)
        assert (ended.returncode, ended.stderr, ended.stdout.splitlines()) == (0, "", lines)
