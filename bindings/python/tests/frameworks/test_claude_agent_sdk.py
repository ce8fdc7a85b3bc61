"""The session store of the Claude Agent SDK: the SDK's own suite, its functions, and what that suite does not try."""

from __future__ import annotations

import asyncio
import itertools
import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import claude_agent_sdk as sdk
import pytest
from claude_agent_sdk import InMemorySessionStore, SessionKey, SessionStore, SessionStoreEntry
from claude_agent_sdk.testing import run_session_store_conformance
from conftest import REGION, endpoint, new_table, turns_url

import chat_memory
from chat_memory.claude_agent_sdk import ChatMemorySessionStore

FAULTS = ["--drop-requests", "0.1", "--drop-answers", "0.2", "--duplicates", "0.1", "--seed", "7"]
WRITES = ["--only", "UpdateItem", "--only", "PutItem", "--only", "TransactWriteItems"]
KEY: SessionKey = {"project_key": "-home-ada-app", "session_id": "550e8400-e29b-41d4-a716-446655440000"}
SUBAGENT: SessionKey = {**KEY, "subpath": "subagents/agent-1"}


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


def entry(uuid: str | None = None, **fields: Any) -> SessionStoreEntry:
    return cast(SessionStoreEntry, {"type": "user", **fields} if uuid is None else {"type": "user", "uuid": uuid, **fields})


def said(uuid: str, text: str, **fields: Any) -> SessionStoreEntry:
    return entry(uuid, timestamp="2026-11-27T12:00:00.000Z", message={"role": "user", "content": text}, **fields)


def exact(entries: list[SessionStoreEntry] | None) -> str:
    """The entries as text, which also shows whether a number is whole."""
    return json.dumps(entries, sort_keys=True)


async def folded(store: SessionStore, key: SessionKey = KEY) -> dict[str, Any]:
    return sdk.fold_session_summary(None, key, await store.load(key) or [])["data"]


async def summary(store: SessionStore, key: SessionKey = KEY) -> dict[str, Any] | None:
    found = {each["session_id"]: each["data"] for each in await store.list_session_summaries(key["project_key"])}
    return found.get(key["session_id"])


@pytest.mark.parametrize("kind", ["memory", "sqlite", "dynamodb"])
def test_the_sdks_own_suite_passes(kind: str, tmp_path: Path) -> None:
    numbers = itertools.count()
    urls: dict[str, Callable[[], str]] = {
        "memory": lambda: "memory:",
        "sqlite": lambda: f"sqlite:{tmp_path / str(next(numbers))}.db",
        "dynamodb": turns_url,
    }
    run(lambda: run_session_store_conformance(lambda: ChatMemorySessionStore(urls[kind]())))


def test_entries_come_back_exactly(url: str) -> None:
    deep: dict[str, Any] = {}
    for _ in range(150):
        deep = {"in": deep}
    odd: list[dict[str, Any]] = [
        {"n": [0, -1, 1.0, -0.0, 0.1, 1e300, 5e-324, 2**63 - 1, -(2**63), 2**64 - 1], "none": None, "yes": True},
        {"text": "\u0000\u001f\u2028 \U0001f980 é \ufeff", "": "", "e": [[], {}, [[]], ""]},
        # What JSON can hold, but the store cannot.
        {"n": 2**64, "list": [-(2**63) - 1, 10**400]},
        {"lastPrompt": "cut in a character \ud83e", "\udd80": 1},
        {"deep": deep},
        # What the store understands itself.
        {"role": "user", "content": "Hi", "name": None},
        {"role": "assistant", "content": None, "tool_calls": [], "id": "m"},
        {"id": "same", "n": 1},
        {"id": "same", "n": 2},
        {"id": 7, "claude_entry": "{}"},
        {"uuid": "", "message": {}},
        {"uuid": None},
        {"uuid": "\ud800"},
    ]
    entries = [cast(SessionStoreEntry, {"type": "x", **fields}) for fields in odd]
    entries += [cast(SessionStoreEntry, {**one, "uuid": f"e{n}"}) for n, one in enumerate(entries)]

    async def test() -> None:
        store = ChatMemorySessionStore(url)
        for key in (KEY, SUBAGENT):
            await store.append(key, entries)
            assert exact(await store.load(key)) == exact(entries)
        assert await summary(store) == await folded(store)

    run(test)


def test_a_repeated_batch_is_stored_once(url: str) -> None:
    batch = [said("a", "1"), entry(type="custom-title", customTitle="T"), said("b", "2")]

    async def test() -> None:
        store = ChatMemorySessionStore(url)
        for key in (KEY, SUBAGENT):
            await store.append(key, [*batch, said("a", "1")])
            await store.append(key, [batch[0], batch[2]])
            assert await store.load(key) == batch
            # Without an uuid, an entry is stored again. With one that is known, it is ignored, whatever it contains.
            await store.append(key, [*batch, said("a", "changed"), said("c", "3"), said("c", "again")])
            assert await store.load(key) == [*batch, batch[1], said("c", "3")]
            await store.append(key, [said("c", "changed")])
            await store.append(key, [])
            assert await store.load(key) == [*batch, batch[1], said("c", "3")]
        assert await summary(store) == await folded(store)

    run(test)


def test_an_uuid_that_was_stored_twice_is_loaded_once() -> None:
    # As after an import that is repeated days later.
    async def test() -> None:
        plain = await chat_memory.aopen("memory:")
        store = ChatMemorySessionStore(plain)
        await store.append(KEY, [said("a", "1")])
        [info] = [info async for info in plain.all_sessions()]
        await plain.append_entries(info.id, [{"type": "user", "uuid": "a"}, {"type": "user", "uuid": "b"}])
        assert await store.load(KEY) == [said("a", "1"), entry("b")]

    run(test)


def test_large_batches_and_large_entries(url: str) -> None:
    many = [said(str(n), f"line {n}") for n in range(1000)]
    large = [said(f"large-{n}", "\U0001f980x" * 210_000) for n in range(2)]

    async def test() -> None:
        store = ChatMemorySessionStore(url)
        await store.append(KEY, many)
        await store.append(KEY, large)
        assert await store.load(KEY) == [*many, *large]

    run(test)


def test_a_batch_that_is_too_large_for_one_write_is_divided(tmp_path: Path) -> None:
    async def test() -> None:
        store = ChatMemorySessionStore(f"sqlite:{tmp_path / 'chat.db'}?max_record=100000")
        batch = [said(str(n), "x" * 40_000) for n in range(7)]
        for key in (KEY, SUBAGENT):
            await store.append(key, batch)
            assert await store.load(key) == batch
        assert await summary(store) == await folded(store)
        with pytest.raises(chat_memory.TooLargeError):
            await store.append(KEY, [said("a", "before"), said("b", "x" * 100_000)])

    run(test)


ODD_NAMES = ["a/b", "a", "%", "a%2Fb", "\n\u0085\u007f", "日本 ü", "..", "ns#x", "%-" + "0" * 64, " "]


def test_keys_of_any_characters_stay_apart(url: str) -> None:
    async def test() -> None:
        store = ChatMemorySessionStore(url)
        projects = [*ODD_NAMES[:5], "x" * 400, "x" * 401, "é" * 200]
        keys: list[SessionKey] = [{"project_key": project, "session_id": name} for project in projects[:2] for name in ODD_NAMES]
        keys += [{"project_key": project, "session_id": "s"} for project in projects[2:]]
        subpaths: list[SessionKey] = [{**keys[0], "subpath": name} for name in ODD_NAMES]
        keys += [*subpaths, {**keys[1], "subpath": "b/c"}, {**keys[1], "subpath": "x" * 500}]
        await asyncio.gather(*(store.append(key, [entry(n=n)]) for n, key in enumerate(keys)))
        for n, key in enumerate(keys):
            assert await store.load(key) == [entry(n=n)], key
        for project in projects[:2]:
            assert sorted(one["session_id"] for one in await store.list_sessions(project)) == sorted(ODD_NAMES)
        for project in projects[2:]:
            assert [one["session_id"] for one in await store.list_sessions(project)] == ["s"]
        assert sorted(await store.list_subkeys({"project_key": "a/b", "session_id": "a/b"})) == sorted(ODD_NAMES)
        await store.delete(keys[0])
        assert await store.list_subkeys({"project_key": "a/b", "session_id": "a/b"}) == []
        assert await store.load({**keys[0], "subpath": "a"}) is None
        assert sorted(await store.list_subkeys({"project_key": "a/b", "session_id": "a"})) == ["b/c", "x" * 500]

    run(test)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ({**KEY, "subpath": ""}, "invalid subpath ''"),
        ({**KEY, "session_id": ""}, "invalid session_id ''"),
        ({**KEY, "project_key": 7}, "invalid project_key 7"),
        ({**KEY, "session_id": "\ud800"}, "half of a character"),
        ({**KEY, "session_id": "x" * 241}, "invalid session_id: it has 241 bytes, and the limit is 240"),
        ({**KEY, "subpath": "x" * 1000}, "invalid subpath: it has 1000 bytes, and the limit is "),
    ],
)
def test_keys_that_cannot_be_stored_are_refused(key: SessionKey, message: str) -> None:
    store = ChatMemorySessionStore("memory:")
    for call in (store.append(key, [entry()]), store.load(key), store.delete(key)):
        with pytest.raises(chat_memory.InvalidError, match=message):
            asyncio.run(call)


def test_summaries_are_those_of_all_entries_whoever_wrote_them(url: str) -> None:
    async def test() -> None:
        plain = await chat_memory.aopen(url)
        # Each has a memory of its own of what the session contains.
        stores = [ChatMemorySessionStore(plain) for _ in range(4)]

        async def write(who: int) -> None:
            for n in range(6):
                title = entry(type="custom-title", customTitle=f"{who}/{n}")
                await stores[who].append(KEY, [said(f"{who}/{n}", f"{who}/{n}", gitBranch=f"b{who}"), title])

        await asyncio.gather(*(write(who) for who in range(4)))
        loaded = await stores[0].load(KEY) or []
        assert len(loaded) == 48
        for who in range(4):
            assert [one["uuid"] for one in loaded if one.get("uuid", "").startswith(f"{who}/")] == [f"{who}/{n}" for n in range(6)]
        assert await summary(stores[1]) == await folded(stores[1])

        # What another program appends has no summary: the SDK computes it from the entries, and so does the next append.
        [info] = [info async for info in plain.sessions(KEY["project_key"])]
        await plain.append_entries(info.id, [{"type": "custom-title", "customTitle": "by hand"}])
        assert await summary(stores[0]) is None
        await stores[0].append(KEY, [said("last", "x")])
        assert await summary(stores[0]) == await folded(stores[0])
        assert (await folded(stores[0]))["custom_title"] == "by hand"

        # A rewind takes the summary back, too.
        history = await plain.load(info.id)
        await plain.rewind_to(info.id, history.records[3].seq)
        await stores[1].append(KEY, [said("after", "x")])
        assert await summary(stores[1]) == await folded(stores[1])
        assert len(await stores[1].load(KEY) or []) == 7

    run(test)


def test_appends_of_one_process_keep_the_order_of_the_calls(url: str) -> None:
    async def test() -> None:
        store = ChatMemorySessionStore(url)
        for key in (KEY, SUBAGENT):
            await asyncio.gather(*(store.append(key, [said(str(n), str(n))]) for n in range(20)))
            assert [one["uuid"] for one in await store.load(key) or []] == [str(n) for n in range(20)]

    run(test)


def test_the_time_of_a_session_is_that_of_its_newest_entry(url: str) -> None:
    async def test() -> None:
        plain = await chat_memory.aopen(url)
        store = ChatMemorySessionStore(plain)
        keys: list[SessionKey] = [{"project_key": "p", "session_id": name} for name in "abc"]
        for key in [*keys, *keys, keys[0]]:
            await store.append(key, [entry()])
        mtimes = {one["session_id"]: one["mtime"] for one in await store.list_sessions("p")}
        for key in keys:
            [session] = [info.id async for info in plain.sessions("p") if info.id.endswith(f"/{key['session_id']}")]
            newest = (await plain.load(session)).records[-1].created_at
            assert newest is not None and mtimes[key["session_id"]] == round(newest.timestamp() * 1000)
        assert {one["session_id"]: one["mtime"] for one in await store.list_session_summaries("p")} == mtimes
        # Other sessions of the owner are none of the SDK's.
        await plain.append("another", [{"role": "user", "content": "Hi"}], owner="p")
        assert len(await store.list_sessions("p")) == 3

    run(test)


def test_a_deleted_session_can_be_written_again(url: str) -> None:
    async def test() -> None:
        store, other = ChatMemorySessionStore(chat_memory.open(url)), ChatMemorySessionStore(url)
        if url != "memory:":
            await other.append(KEY, [said("z", "before")])
        await store.append(KEY, [said("a", "1", cwd="/old")])
        await store.append(SUBAGENT, [entry("a")])
        await store.delete(KEY)
        assert (await store.load(KEY), await store.load(SUBAGENT), await store.list_sessions(KEY["project_key"])) == (None, None, [])
        # What another process remembers does not count.
        await (store if url == "memory:" else other).append(KEY, [said("a", "2")])
        assert await store.load(KEY) == [said("a", "2")]
        assert await summary(store) == await folded(store)
        assert [one["session_id"] for one in await store.list_sessions(KEY["project_key"])] == [KEY["session_id"]]

    run(test)


def transcript(session: str) -> list[SessionStoreEntry]:
    """The lines of a transcript, as the SDK's functions expect them."""
    lines: list[SessionStoreEntry] = []
    parent: str | None = None
    for n in range(6):
        uuid = f"00000000-0000-4000-8000-{n:012}"
        role = "assistant" if n % 2 else "user"
        content = [{"type": "text", "text": f"{role} {n}"}] if n % 2 else f"{role} {n}"
        fields = {"parentUuid": parent, "sessionId": session, "isSidechain": False, "timestamp": f"2026-11-27T12:00:0{n}.000Z"}
        lines.append(entry(uuid, **{**fields, "type": role, "message": {"role": role, "content": content}}))
        parent = uuid
    return [*lines, entry(type="summary", summary="A summary", leafUuid=parent)]


def test_the_sdks_functions_see_what_they_see_in_its_own_store(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = KEY["session_id"]
    (tmp_path / "work").mkdir()
    directory = str(tmp_path / "work")
    project = sdk.project_key_for_directory(directory)
    on_disk = tmp_path / "config" / "projects" / project
    subagents = on_disk / session / "subagents"
    subagents.mkdir(parents=True)
    lines = transcript(session)
    (on_disk / f"{session}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (subagents / "agent-7.jsonl").write_text("".join(json.dumps({**line, "agentId": "7"}) + "\n" for line in lines[:4]))
    (subagents / "agent-7.meta.json").write_text('{"agentType": "explore"}')
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "config"))

    async def seen(store: SessionStore) -> list[Any]:
        found: list[Any] = []
        for _ in range(2):
            await sdk.import_session_to_store(session, store, directory=directory, batch_size=3)
        fork = await sdk.fork_session_via_store(store, session, directory=directory, title="A fork")
        await sdk.rename_session_via_store(store, session, "A name", directory=directory)
        await sdk.tag_session_via_store(store, session, "a-tag", directory=directory)
        for each in (session, fork.session_id):
            found.append([(message.type, message.message) for message in await sdk.get_session_messages_from_store(store, each, directory)])
        found.append(await sdk.list_subagents_from_store(store, session, directory))
        found.append(await sdk.get_subagent_messages_from_store(store, session, "7", directory))
        for _ in range(2):
            listed = await sdk.list_sessions_from_store(store, directory)
            found.append(sorted((one.summary, one.custom_title, one.first_prompt, one.tag) for one in listed))
            await sdk.delete_session_via_store(store, fork.session_id, directory)
        await sdk.delete_session_via_store(store, session, directory)
        found.append(await sdk.list_sessions_from_store(store, directory))
        return found

    async def test() -> None:
        ours = await seen(ChatMemorySessionStore(url))
        assert ours == await seen(InMemorySessionStore())
        assert len(ours[0]) == 6 and ours[2] == ["7"] and ours[-1] == []

    run(test)


def test_batches_are_stored_once_and_in_order_despite_lost_answers(fault_proxy: Callable[..., str]) -> None:
    table = new_table("session_id", "sk")

    def store_at(at: str) -> ChatMemorySessionStore:
        times = "request_timeout=300ms&deadline=20s"
        return ChatMemorySessionStore(f"dynamodb://{table}?region={REGION}&endpoint={quote(at, safe='')}&{times}")

    async def test() -> None:
        through = fault_proxy(*FAULTS, *WRITES)
        written = {who: [said(f"{who}/{n}", f"{who}/{n}") for n in range(30)] for who in "ab"}

        async def write(who: str) -> None:
            store = store_at(through)
            for n in range(0, 30, 2):
                for key in (KEY, SUBAGENT):
                    await store.append(key, [*written[who][n : n + 2], entry(type="mode", mode=f"{who}/{n}")])

        await asyncio.gather(write("a"), write("b"))
        direct = store_at(endpoint())
        for key in (KEY, SUBAGENT):
            loaded = await direct.load(key) or []
            assert len(loaded) == 90
            for who in "ab":
                assert [one for one in loaded if one.get("uuid", "").startswith(who)] == written[who]
            for first in range(0, 90, 3):
                one, two, mode = cast(list[dict[str, Any]], loaded[first : first + 3])
                assert mode["mode"] == one["uuid"] and two["uuid"] != one["uuid"], "a batch stays together"
        assert await summary(direct) == await folded(direct)

    run(test)


def test_an_append_determines_its_outcome_though_every_answer_is_lost(fault_proxy: Callable[..., str]) -> None:
    through = fault_proxy("--drop-answers", "1", "--seed", "1", *WRITES)
    batch = [said("a", "1"), entry(type="mode", mode="plan"), said("b", "2")]

    async def test() -> None:
        store = ChatMemorySessionStore(turns_url("&request_timeout=300ms&deadline=2s", at=through))
        for key in (KEY, SUBAGENT):
            await store.append(key, batch)
            assert await store.load(key) == batch
        assert await summary(store) == await folded(store)

    run(test)


SHARED: SessionKey = {"project_key": "p", "session_id": "s"}


def write_batches(url: str, who: str, batches: int, acknowledged: Connection | None = None) -> None:
    """Runs in a process of its own, and sends what is acknowledged."""

    async def write() -> None:
        store = ChatMemorySessionStore(url)
        for n in range(batches):
            await store.append(SHARED, [said(f"{who}/{n}/{i}", "x" * 2000, gitBranch=who) for i in range(3)])
            if acknowledged is not None:
                acknowledged.send(n)

    asyncio.run(write())


def uuids(url: str) -> list[str]:
    return [one["uuid"] for one in asyncio.run(ChatMemorySessionStore(url).load(SHARED)) or []]


FORK = multiprocessing.get_context("fork")


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_two_processes_write_to_one_session(durable_url: str) -> None:
    children = [FORK.Process(target=write_batches, args=(durable_url, who, 15)) for who in "ab"]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0, 0]
    loaded = uuids(durable_url)
    assert len(loaded) == 90
    for who in "ab":
        assert [uuid for uuid in loaded if uuid.startswith(who)] == [f"{who}/{n}/{i}" for n in range(15) for i in range(3)]
    assert all(loaded[first + 2] == f"{loaded[first][:-1]}2" for first in range(0, 90, 3)), "a batch stays together"
    store = ChatMemorySessionStore(durable_url)
    assert asyncio.run(summary(store, SHARED)) == asyncio.run(folded(store, SHARED))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_killed_process_leaves_whole_batches_and_can_be_repeated(durable_url: str) -> None:
    acknowledged, sender = FORK.Pipe(duplex=False)
    child = FORK.Process(target=write_batches, args=(durable_url, "a", 1_000_000, sender))
    child.start()
    sender.close()
    last = [acknowledged.recv() for _ in range(5)][-1]
    child.kill()
    child.join(60)
    while True:
        try:
            last = acknowledged.recv()
        except EOFError:
            break
    loaded = uuids(durable_url)
    stored = len(loaded) // 3
    assert stored > last and len(loaded) == 3 * stored
    write_batches(durable_url, "a", stored + 2)
    assert uuids(durable_url) == [f"a/{n}/{i}" for n in range(stored + 2) for i in range(3)]


def test_a_table_that_holds_only_messages_is_refused() -> None:
    async def test() -> None:
        store = ChatMemorySessionStore(f"dynamodb://{new_table('id')}?region={REGION}&endpoint={quote(endpoint(), safe='')}")
        with pytest.raises(chat_memory.UnsupportedError, match="not a chat message.* use a table of the turns layout, or SQLite"):
            await store.append(KEY, [said("a", "1")])
        with pytest.raises(chat_memory.UnsupportedError, match="no directory of sessions"):
            await store.list_sessions(KEY["project_key"])

    run(test)


def test_the_example_remembers_across_two_processes(durable_url: str, tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "examples" / "claude_agent.py"
    environment = {**os.environ, "CLAUDE_CONFIG_DIR": str(tmp_path / "config")}
    for question, answer in (("Where to?", "You have asked 1: Where to?"), ("And to eat?", "You have asked 2: Where to? And to eat?")):
        command = [sys.executable, str(example), durable_url, question]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
        assert (ended.returncode, ended.stdout.splitlines()) == (0, [answer, "session: Where to?"]), ended.stderr
