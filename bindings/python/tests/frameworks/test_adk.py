"""Sessions of Google's ADK: next to ADK's own services, next to the Rust crate, with stale sessions, other processes and lost answers."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from conftest import assistant, endpoint, new_table, turns_url, user
from google.adk.errors import StaleSessionError
from google.adk.errors.already_exists_error import AlreadyExistsError
from google.adk.errors.session_not_found_error import SessionNotFoundError
from google.adk.events.event import Event
from google.adk.events.event_actions import EventActions
from google.adk.sessions import BaseSessionService, DatabaseSessionService, InMemorySessionService, Session
from google.adk.sessions.base_session_service import GetSessionConfig
from google.genai import types

import chat_memory
from chat_memory import adk
from chat_memory._adk_events import from_messages, to_messages
from chat_memory.adk import ChatMemorySessionService

REPOSITORY = Path(__file__).parents[4]
CASES: dict[str, list[dict[str, Any]]] = json.loads((REPOSITORY / "testdata" / "adk.json").read_text())
EXAMPLE = Path(__file__).parents[2] / "examples" / "adk.py"

# Later than any session was created, so that the order of a list follows from the events.
START = 4_000_000_000.0

NAMES: dict[str, Any] = {"app_name": "app", "user_id": "ada", "session_id": "s"}


def event(text: str, *, at: float = START, role: str = "model", **delta: Any) -> Event:
    """An event whose id is its text. In the names of `delta`, `__` stands for `:`."""
    return Event(
        id=text,
        invocation_id="invocation",
        author="agent",
        timestamp=at,
        content=types.Content(role=role, parts=[types.Part(text=text)]),
        actions=EventActions(state_delta={name.replace("__", ":"): value for name, value in delta.items()}),
    )


async def get(service: BaseSessionService, **names: Any) -> Session:
    session = await service.get_session(**{**NAMES, **names})
    assert session is not None
    return session


def ids(session: Session) -> list[str]:
    return [event.id for event in session.events]


def exactly(value: Any) -> str:
    """JSON in which `1`, `1.0` and `true` differ."""
    return json.dumps(value, sort_keys=True)


def dump(event: Event) -> Any:
    return event.model_dump(mode="json", exclude_none=True)


def services(url: str, count: int) -> list[ChatMemorySessionService]:
    """Services that know nothing of each other, as in other processes."""
    store = chat_memory.open(url)
    return [ChatMemorySessionService(store) for _ in range(count)]


# Next to the Rust crate.


@pytest.mark.parametrize("case", CASES["python"], ids=lambda case: case["name"])
def test_an_event_is_stored_as_the_rust_crate_reads_it(case: dict[str, Any]) -> None:
    event = case["event"]
    assert exactly(dump(Event.model_validate(event))) == exactly(event), "it is an event of ADK"
    assert exactly(to_messages(event)) == exactly(case["messages"])
    assert exactly(from_messages(json.loads(json.dumps(case["messages"])), 0, 0.0)) == exactly([event])


@pytest.mark.parametrize("case", CASES["rust"], ids=lambda case: case["name"])
def test_an_event_of_the_rust_crate_is_read(case: dict[str, Any]) -> None:
    assert exactly(from_messages(json.loads(json.dumps(case["messages"])), 0, 0.0)) == exactly([case["python"]])
    assert exactly(dump(Event.model_validate(case["python"]))) == exactly(case["python"])


def test_a_session_that_the_rust_crate_wrote_continues(url: str) -> None:
    async def run() -> None:
        store = chat_memory.open(url)
        # As its service writes a session: the state in the first record's metadata, and those of the app and the user in logs.
        store.append("adk/a%2Fb/ada/s%F0%9F%A6%80", [], metadata={"adk_state": {"own": 1}}, owner="adk/a%2Fb/ada", replace=True)
        store.append("adk-id/s%F0%9F%A6%80", [{"role": "system", "content": "", "adk_id": {"app": "a/b", "user": "ada"}}], owner="adk-rust")
        store.append("adk-state/a%2Fb", [{"role": "system", "content": "", "adk_state": {"x": 1}}], owner="adk-rust")
        for case in CASES["rust"]:
            store.append("adk/a%2Fb/ada/s%F0%9F%A6%80", case["messages"])
        service = ChatMemorySessionService(store)
        names: dict[str, Any] = {"app_name": "a/b", "user_id": "ada", "session_id": "s🦀"}
        session = await get(service, **names)
        assert exactly([dump(event) for event in session.events]) == exactly([case["python"] for case in CASES["rust"]])
        assert session.state == {"own": 1, "count": 1, "gone": None, "app:x": 1}
        await service.append_event(session, event("next", user__seen=True))
        last = store.load("adk/a%2Fb/ada/s%F0%9F%A6%80").messages[-1]
        assert (last["role"], last["content"], last["adk"]["author"]) == ("assistant", "next", "agent")
        assert (await get(service, **names)).state["user:seen"] is True
        [listed] = (await service.list_sessions(app_name="a/b")).sessions
        assert (listed.user_id, listed.id) == ("ada", "s🦀")
        await service.delete_session(**names)
        assert store.load("adk-id/s%F0%9F%A6%80").messages == []
        assert [info.id for info in store.sessions("adk/a%2Fb/ada")] == []

    asyncio.run(run())


def test_records_of_other_programs_are_read_as_events(url: str) -> None:
    async def run() -> None:
        store = chat_memory.open(url)
        service = ChatMemorySessionService(store)
        call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"city": "Paris"}'}}
        answer = {"role": "tool", "tool_call_id": "c", "content": "21"}
        await service.create_session(**NAMES)
        store.append("adk/app/ada/s", [user("Where to?"), assistant("", tool_calls=[call]), answer])
        session = await get(service)
        assert ids(session) == ["record-1-0", "record-1-1", "record-1-2"]
        assert [event.author for event in session.events] == ["user", "agent", "agent"]
        [called] = session.events[1].get_function_calls()
        [answered] = session.events[2].get_function_responses()
        assert (called.args, answered.response) == ({"city": "Paris"}, {"result": 21})
        await service.append_event(session, event("e", own=1))
        assert ids(await get(service)) == ["record-1-0", "record-1-1", "record-1-2", "e"]

    asyncio.run(run())


# Next to ADK's own services.


def delta_of(random: random.Random) -> dict[str, Any]:
    values: list[Any] = [None, True, 1, 1.0, "x", [], {"a": [None]}]
    keys = ["a", "b", "app:a", "app:c", "user:a", "user:d", "temp:a"]
    return {key: random.choice(values) for key in random.sample(keys, random.randint(0, 3))}


def seen(session: Session) -> Any:
    """What a session shows. The time of its creation depends on the clock."""
    updated_at = session.last_update_time if session.last_update_time >= START else None
    return [session.id, session.app_name, session.user_id, exactly(session.state), exactly([*map(dump, session.events)]), updated_at]


async def schedule(service: BaseSessionService, seed: int, *, stale: bool) -> list[Any]:
    """Runs random calls, and returns what each returned or raised. With `stale`, session objects of any age are appended to."""
    choice = random.Random(seed)
    held: list[Session] = []
    results: list[Any] = []
    for step in range(45):
        names: dict[str, Any] = {"app_name": choice.choice("AB"), "user_id": choice.choice("uv"), "session_id": choice.choice("st")}
        delta, old = delta_of(choice), choice.random()
        what = choice.choice(["create", "append", "append", "append", "get", "list", "delete"])
        recent, after = choice.choice([None, None, 0, 1, 5]), choice.choice([None, None, START + step // 2])
        if what == "delete" and old < 0.5:
            what = "append"
        try:
            if what == "create":
                held.append(await service.create_session(**names, state=delta))
                results.append(seen(held[-1]))
            elif what == "append":
                if stale and held:
                    session = held[int(old * len(held))]
                else:
                    found = await service.get_session(**names)
                    if found is None:
                        continue
                    session = found
                appended = await service.append_event(session, event(f"e{step}", at=START + step, **delta))
                results.append([dump(appended), seen(session)])
            elif what == "get":
                found = await service.get_session(**names, config=GetSessionConfig(num_recent_events=recent, after_timestamp=after))
                results.append(found and seen(found))
                if found and recent is None and after is None:
                    held.append(found)
            elif what == "list":
                del names["session_id"]
                listed = (await service.list_sessions(app_name=names["app_name"], user_id=names["user_id"] if old < 0.5 else None)).sessions
                started = [session.id for session in listed if session.last_update_time >= START]
                results.append([started, sorted(map(seen, listed), key=exactly)])
                results.append(await service.get_user_state(**names))
            else:
                await service.delete_session(**names)
        except (AlreadyExistsError, SessionNotFoundError, StaleSessionError) as error:
            results.append(type(error).__name__)
    return results


@functools.cache
def theirs(seed: int, stale: bool) -> list[Any]:
    """What a schedule returns with ADK's own services."""

    async def run() -> list[Any]:
        async with DatabaseSessionService("sqlite+aiosqlite:///:memory:") as database:
            results = await schedule(database, seed, stale=stale)
        # This one refuses no stale sessions.
        assert stale or results == await schedule(InMemorySessionService(), seed, stale=False)
        return results

    return asyncio.run(run())


@pytest.mark.parametrize("stale", [False, True], ids=["the newest sessions", "stale sessions, too"])
def test_random_schedules_go_as_with_adks_own_services(url: str, tmp_path: Path, stale: bool) -> None:
    found: set[str] = set()
    for seed in range(3):
        one_url = url if url == "memory:" else turns_url() if url.startswith("dynamodb") else f"sqlite:{tmp_path}/{seed}.db"
        results = asyncio.run(schedule(ChatMemorySessionService(one_url), seed, stale=stale))
        assert results == theirs(seed, stale)
        found.update(result for result in results if isinstance(result, str))
    assert found == ({"AlreadyExistsError", "StaleSessionError", "SessionNotFoundError"} if stale else {"AlreadyExistsError"})


# Stale sessions.


def test_a_stale_session_is_refused_and_nothing_is_written(url: str) -> None:
    async def run() -> None:
        one, other = services(url, 2)
        first = await one.create_session(**NAMES, state={"own": 0, "user:name": "Ada"})
        second = await get(other)
        await other.append_event(second, event("e0"))
        with pytest.raises(StaleSessionError, match="session 's' was modified in storage since it was loaded: reload it and retry"):
            await one.append_event(first, event("late", own=1, user__name="Eve"))
        assert (ids(first), first.state) == ([], {"own": 0, "user:name": "Ada"})
        assert (await get(one)).state == {"own": 0, "user:name": "Ada"}
        first = await get(one)
        await one.append_event(first, event("e1"))
        with pytest.raises(StaleSessionError):
            await other.append_event(second, event("late"))
        assert ids(await get(other)) == ["e0", "e1"]

        # A copy is a session like any other; of two, one is faster.
        copies = [first.model_copy(deep=True) for _ in range(4)]
        ends = await asyncio.gather(*(one.append_event(copy, event(f"c{n}")) for n, copy in enumerate(copies)), return_exceptions=True)
        assert sorted(type(end).__name__ for end in ends) == ["Event"] + ["StaleSessionError"] * 3

        # A session that another service returned has no marker.
        now = await get(one)
        made = Session(id="s", app_name="app", user_id="ada", events=now.events, last_update_time=0)
        await one.append_event(made, event("made"))
        old = Session(id="s", app_name="app", user_id="ada", events=now.events, last_update_time=0)
        with pytest.raises(StaleSessionError):
            await one.append_event(old, event("late"))
        assert len((await get(other)).events) == 4

    asyncio.run(run())


def test_a_deleted_session_does_not_come_back(url: str) -> None:
    async def run() -> None:
        one, other = services(url, 2)
        with pytest.raises(SessionNotFoundError, match="session 's' not found"):
            await one.append_event(Session(id="s", app_name="app", user_id="ada"), event("early"))
        session = await one.create_session(**NAMES)
        with pytest.raises(AlreadyExistsError, match="session 's' already exists"):
            await other.create_session(**NAMES)
        await one.append_event(session, event("e0"))
        await other.delete_session(**NAMES)
        await other.delete_session(**NAMES)
        for _ in range(2):
            with pytest.raises(SessionNotFoundError):
                await one.append_event(session, event("late"))
        assert await one.get_session(**NAMES) is None
        await other.create_session(**NAMES, state={"own": 2})
        with pytest.raises(StaleSessionError):
            await one.append_event(session, event("late"))
        assert (await get(one)).state == {"own": 2}
        creations = [service.create_session(**{**NAMES, "session_id": "t"}) for service in (one, other)]
        both = await asyncio.gather(*creations, return_exceptions=True)
        assert sorted(type(end).__name__ for end in both) == ["AlreadyExistsError", "Session"]
        names = {**NAMES, "session_id": ""}
        assert (await one.create_session(**names)).id != (await one.create_session(**names)).id

    asyncio.run(run())


def test_branches_of_one_run_append_concurrently(url: str) -> None:
    async def run() -> None:
        [service] = services(url, 1)
        session = await service.create_session(**NAMES)
        await asyncio.gather(*(service.append_event(session, event(f"e{n}", app__count=n, own=n)) for n in range(12)))
        stored = await get(service)
        assert ids(stored) == ids(session) == [f"e{n}" for n in range(12)]
        assert stored.state == session.state

    asyncio.run(run())
    # Each run of a runner that is called without an event loop has an event loop of its own.
    service = ChatMemorySessionService(chat_memory.open("memory:"))
    session = asyncio.run(service.create_session(**NAMES))
    for n in range(3):
        asyncio.run(service.append_event(session, event(str(n))))
    assert ids(asyncio.run(get(service))) == ["0", "1", "2"]


# Long sessions and odd values.


def test_a_long_session_takes_one_call_an_event_and_its_newest_events_one_load(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        store = chat_memory.open(url)
        one, other = ChatMemorySessionService(store), ChatMemorySessionService(store)
        calls: list[str] = []
        connection = one._connection
        acall = connection.acall

        async def counted(call: Any) -> Any:
            calls.append(call.operation)
            return await acall(call)

        monkeypatch.setattr(connection, "acall", counted)
        session = await one.create_session(**NAMES, state={"own": "kept"})
        assert calls == ["records", "append", "append", "records", "records"]
        calls.clear()
        for n in range(40):
            await one.append_event(session, event(f"e{n}", count=n, temp__x=n))
        assert calls == ["append"] * 40
        calls.clear()
        for newest in (0, 1, 5, 30, None):
            found = await other.get_session(**NAMES, config=GetSessionConfig(num_recent_events=newest))
            assert found is not None
            assert ids(found) == [f"e{n}" for n in range(40)][40 - (40 if newest is None else newest) :]
            assert found.state == {"own": "kept", "count": 39}
        # As the Rust crate reads it: the state is in the first record's metadata, and in each 16th event's.
        metadata = [record.metadata for record in store.load("adk/app/ada/s").records]
        states = {n: fields for n, fields in enumerate(metadata) if fields is not None}
        assert states == {0: {"adk_state": {"own": "kept"}}} | {n: {"adk_state": {"own": "kept", "count": n - 1}} for n in (16, 32)}
        assert store.load("adk-id/s").messages == [{"role": "system", "content": "", "adk_id": {"app": "app", "user": "ada"}}]
        # A cached end is used for an hour only.
        monkeypatch.setattr(adk, "_KNOWN_FOR", 0)
        calls.clear()
        await one.append_event(session, event("e40"))
        await one.append_event(session, event("e41", app__changes=1))
        assert calls == ["records", "append", "records", "append", "append"]
        monkeypatch.setattr(adk, "_MAX_KNOWN", 0)
        await one.append_event(session, event("e42"))
        assert len((await get(other)).events) == 43

    asyncio.run(run())


def test_states_of_app_and_user_are_written_out_from_time_to_time(url: str) -> None:
    async def run() -> None:
        store = chat_memory.open(url)
        service = ChatMemorySessionService(store)
        session = await service.create_session(**NAMES, state={"app:first": 1})
        for n in range(34):
            await service.append_event(session, event(f"e{n}", app__count=n))
        for _ in range(2):
            assert (await get(service)).state == {"app:first": 1, "app:count": 33}
        assert len(store.load("adk-state/app").records) == 1
        assert [info.id for info in store.sessions()] == [], "nothing is listed without an owner"

    asyncio.run(run())


def test_odd_values_are_read_back_equal(url: str) -> None:
    large = "🦀 large " * 100_000

    async def run() -> None:
        one, other = services(url, 2)
        names: dict[str, Any] = {"app_name": "a/b%~", "user_id": "Zoë \n", "session_id": "s/🦀"}
        session = await one.create_session(**names, state={"": [], "ö\x00": {"": None}, "big": 2**63 - 1, "float": 1e300, "one": 1.0})
        events = [Event.model_validate(case["event"]) for case in CASES["python"]]
        odd = types.Part(function_call=types.FunctionCall(name="f", args={"n": 10**30, "x": -0.0, "deep": [[[]]], "\x00": "\ud7ff"}))
        events.append(Event(id="odd", author="agent", timestamp=START + 1 / 3, content=types.Content(role="model", parts=[odd])))
        events.append(event("large", large=large, at=START))
        events.append(Event(id="", timestamp=0.1, author="user"))
        for one_event in events:
            await one.append_event(session, one_event)
        found = await get(other, **names)
        assert exactly([dump(event) for event in found.events]) == exactly([dump(event) for event in events])
        assert exactly(found.state) == exactly(session.state)
        assert found.state["large"] == large
        [listed] = (await other.list_sessions(app_name="a/b%~", user_id="Zoë \n")).sessions
        assert (listed.id, exactly(listed.state), listed.events) == ("s/🦀", exactly(found.state), [])
        assert [one.id for one in (await other.list_sessions(app_name="a")).sessions] == []

    asyncio.run(run())


def test_what_cannot_be_stored_is_refused(url: str) -> None:
    async def run() -> None:
        [service] = services(url, 1)
        session = await service.create_session(**NAMES, state={"set": {1}, "type": int})
        assert session.state == {"set": [1], "type": "<class 'int'>"}, "as in ADK's own services"
        errors: list[str] = []
        infinite = types.Part(function_call=types.FunctionCall(name="f", args={"x": float("inf")}))
        for refused in (
            event("nan", x=float("nan")),
            event("integer", x=2**64),
            Event(author="a", content=types.Content(parts=[infinite])),
            Event(author="a", custom_metadata={"x": object()}),
        ):
            with pytest.raises(chat_memory.InvalidError) as error:
                await service.append_event(session, refused)
            errors.append(str(error.value))
        assert errors[0].startswith("invalid value in event.actions.state_delta.x: nan, which JSON cannot hold")
        assert "actions.state_delta.x: an integer of more than 64 bits" in errors[1]
        assert errors[2].startswith("invalid value in event.content.parts[0].function_call.args.x: inf, which")
        assert errors[3].startswith("the event cannot be stored: ")
        with pytest.raises(chat_memory.InvalidError, match="invalid app_name and user_id: together 606 bytes"):
            await service.create_session(app_name="a" * 600, user_id="u")
        with pytest.raises(chat_memory.InvalidError, match="invalid app_name, user_id and session_id: together 1008 bytes"):
            await service.create_session(**{**NAMES, "session_id": "/" * 332})
        await service.append_event(session, event("partial").model_copy(update={"partial": True}))
        await service.append_event(session, event("e"))
        assert ids(await get(service)) == ["e"]
        chat_memory.Store(service._connection).append("adk/app/ada/s", [user("x", adk={"id": 1})])
        assert [event.author for event in (await get(service)).events] == ["agent", "user"]

    asyncio.run(run())


# Lost answers and other processes.


def test_each_event_is_stored_once_though_requests_and_answers_are_lost(fault_proxy: Callable[..., str]) -> None:
    writes = [option for name in ("UpdateItem", "PutItem", "TransactWriteItems") for option in ("--only", name)]
    through = fault_proxy("--drop-requests", "0.1", "--drop-answers", "0.2", "--duplicates", "0.1", "--seed", "7", *writes)
    url = f"dynamodb://{new_table('session_id', 'sk')}?region=us-east-1&endpoint="

    async def write(who: str) -> None:
        service = ChatMemorySessionService(f"{url}{quote(through, safe='')}&request_timeout=300ms&deadline=20s")
        session = await service.create_session(app_name="app", user_id="ada", session_id=who, state={"user:started": who})
        for n in range(10):
            counted: dict[str, Any] = {f"app__{who}": n}
            await service.append_event(session, event(f"{who}/{n}?", role="user"))
            await service.append_event(session, event(f"{who}/{n}!", count=n, **counted))

    async def run() -> None:
        await asyncio.gather(write("a"), write("b"))
        service = ChatMemorySessionService(f"{url}{quote(endpoint(), safe='')}")
        for who in "ab":
            session = await get(service, session_id=who)
            assert ids(session) == [f"{who}/{n}{mark}" for n in range(10) for mark in "?!"]
            assert (session.state["count"], session.state["app:a"], session.state["app:b"]) == (9, 9, 9)
        assert len((await service.list_sessions(app_name="app", user_id="ada")).sessions) == 2

    asyncio.run(run())


def test_an_event_whose_every_answer_is_lost_is_found_again(fault_proxy: Callable[..., str]) -> None:
    through = fault_proxy("--drop-answers", "1", "--seed", "1", "--only", "PutItem", "--only", "UpdateItem")
    url = f"dynamodb://{new_table('session_id', 'sk')}?region=us-east-1&endpoint="

    async def run() -> None:
        direct = ChatMemorySessionService(f"{url}{quote(endpoint(), safe='')}")
        session = await direct.create_session(**NAMES)
        service = ChatMemorySessionService(f"{url}{quote(through, safe='')}&request_timeout=300ms&deadline=2s")
        await service.append_event(session, event("0"))
        assert ids(await get(direct)) == ["0"]
        await direct.append_event(session, event("1"))

    asyncio.run(run())


async def write(url: str, who: str) -> None:
    """Appends events as a process of its own does, and reloads the session where the other one was faster."""
    service = ChatMemorySessionService(url)
    session, n = await get(service), 0
    while n < 15:
        own: dict[str, Any] = {who: n}
        try:
            await service.append_event(session, event(f"{who}/{n}", **own))
            n += 1
        except StaleSessionError:
            session = await get(service)


def test_two_processes_write_one_session(durable_url: str) -> None:
    async def create() -> None:
        await ChatMemorySessionService(durable_url).create_session(**NAMES)

    asyncio.run(create())
    program = (
        "import asyncio, sys, test_adk; print('ready', flush=True); "
        "sys.stdin.readline(); asyncio.run(test_adk.write(sys.argv[1], 'y'))"
    )
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    other = subprocess.Popen(
        [sys.executable, "-c", program, durable_url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert other.stdin is not None and other.stdout is not None and other.stdout.readline() == "ready\n"
    other.stdin.write("go\n")
    other.stdin.flush()
    asyncio.run(write(durable_url, "x"))
    other.communicate(timeout=60)
    assert other.returncode == 0
    session = asyncio.run(get(ChatMemorySessionService(durable_url)))
    for who in "xy":
        assert [id for id in ids(session) if id.startswith(who)] == [f"{who}/{n}" for n in range(15)]
    assert session.state == {"x": 14, "y": 14} and len(session.events) == 30


def test_the_example_remembers_across_processes(durable_url: str) -> None:
    def ask(question: str) -> str:
        program = [sys.executable, str(EXAMPLE), durable_url, question]
        return subprocess.run(program, capture_output=True, text=True, timeout=60, check=True, env=dict(os.environ)).stdout

    assert ask("How is the weather?") == "It is 21 °C in Paris (question 1)\n"
    assert ask("And now?") == "It is 21 °C in Paris (question 2)\n"
    # All of it is readable to every other program.
    window = chat_memory.open(durable_url).recall("adk/weather/user-42/session-1", turns=1)
    assert [message["role"] for message in window.messages] == ["user", "assistant", "tool", "assistant"]
    assert json.loads(window.messages[2]["content"]) == {"result": "21 °C in Paris"}
