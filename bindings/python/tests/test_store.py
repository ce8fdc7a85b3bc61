"""The calls of a store, blocking and awaited, on each kind of store."""

from __future__ import annotations

import asyncio
import inspect
import os
import pickle
import secrets
import threading
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from conftest import REGION, assistant, endpoint, new_table, turns_url, user

import chat_memory
from chat_memory import ChatMemoryError, ConflictError, Credentials, InvalidError, KeyReusedError


class Blocking:
    """An `AsyncStore` used like a `Store`, so that both pass the same tests."""

    def __init__(self, url: str, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.store = loop.run_until_complete(chat_memory.aopen(url))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            made = getattr(self.store, name)(*args, **kwargs)
            return self.loop.run_until_complete(collected(made) if inspect.isasyncgen(made) else made)

        return call


async def collected(items: Any) -> list[Any]:
    return [item async for item in items]


@pytest.fixture(params=["blocking", "awaited"])
def store(request: pytest.FixtureRequest, url: str) -> Iterable[Any]:
    if request.param == "blocking":
        yield chat_memory.open(url)
        return
    loop = asyncio.new_event_loop()
    yield Blocking(url, loop)
    loop.close()


def turn(n: int) -> list[dict[str, Any]]:
    return [user(f"{n}?"), assistant(f"{n}!")]


def test_a_session_from_its_first_record_to_its_end(store: Any) -> None:
    first = store.append("s", turn(0), owner="alice", title="A trip", metadata={"n": 0})
    assert (first.started, first.seq, first.repeated, first.cost.requests > 0) == (True, 0, False, True)
    for n in (1, 2, 3):
        store.append("s", turn(n), key=f"turn-{n}")
    again = store.append("s", turn(3), key="turn-3")
    assert (again.repeated, again.seq) == (True, 3)
    with pytest.raises(KeyReusedError, match="turn-3") as reused:
        store.append("s", turn(4), key="turn-3")
    assert reused.value.kind == "key_reused"
    with pytest.raises(ConflictError, match="reload it and retry") as conflict:
        store.append("s", turn(4), expected=first.position)
    assert conflict.value.actual is not None
    store.append("t", turn(4), expected=store.load("t").position)

    window = store.recall("s", turns=2)
    assert window.messages == [*turn(2), *turn(3)]
    assert window.omitted.unread and "left out" in window.omitted.text
    assert len(store.recall("s", messages=1).messages) == 1
    assert store.recall("s", tokens=12, counter="gpt-4o").tokens <= 12

    page = store.load("s", last=2)
    assert (page.messages, page.complete) == (turn(3), False)
    older = store.load("s", turns=2, before=page.older)
    assert (older.messages, older.complete) == ([*turn(1), *turn(2)], False)
    assert store.load("s", before=older.older).older is None
    everything = [message for n in range(4) for message in turn(n)]
    assert list(store.messages("s")) == everything
    assert list(store.messages("s", newest_first=True)) == everything[::-1]

    assert store.rewind_turns("s", 1).seq == 4
    assert store.rewind_to("s", 2, [user("other")]).seq == 5
    assert [message["content"] for message in store.messages("s")] == ["0?", "0!", "1?", "1!", "other"]
    with pytest.raises(ConflictError):
        store.rewind_to("s", 1, expected=first.position)
    store.append("s", turn(9), replace=True)
    assert list(store.messages("s")) == turn(9)

    assert [(info.id, info.title) for info in store.sessions("alice")] == [("s", "A trip")]
    assert store.update_session("s", title=None, metadata={"tag": 1}).title is None
    assert store.update_session("s", title="B").metadata == {"tag": 1}
    assert store.session("s").owner == "alice"
    store.clear("s")
    assert list(store.messages("s")) == []
    assert store.delete("s").existed
    assert store.session("s") is None
    assert list(store.sessions("alice")) == []
    assert store.rewind_turns("s", 1) is None
    store.sweep("s")


def test_entries_are_stored_as_they_are_and_once_by_their_ids(store: Any) -> None:
    lines: list[dict[str, Any]] = [
        {"type": "summary", "uuid": "a", "nested": [1, 1.0, None, {"": []}]},
        user("Hello", id="b"),
        {"type": "mode"},
    ]
    store.append_entries("s", lines, owner="alice")
    found = store.load("s")
    assert found.entries == lines == found.records[0].others and [m["content"] for m in found.messages] == ["Hello"]
    new = store.append_new("s", [*lines, {"type": "end", "uuid": "c"}])
    assert (new.new, new.seq, new.cost.requests > 0) == ([False, False, True, True], 1, True)
    again = store.append_new("s", lines[:2], expected=new.position)
    assert (again.new, again.seq) == ([False, False], None)
    with pytest.raises(KeyReusedError, match='entry id "a" was already used in record 0'):
        store.append_new("s", [{"uuid": "a"}])
    with pytest.raises(ConflictError):
        store.append_new("s", [{"uuid": "d"}], expected=store.append("other", turn(0)).position)
    store.rewind_to("s", 1, entries=[{"uuid": "c", "type": "other"}], expected=new.position)
    assert store.load("s", since=1).entries == [{"uuid": "c", "type": "other"}]
    newest = store.load("s", records=1)
    assert (newest.entries, [record.seq for record in newest.records]) == ([{"uuid": "c", "type": "other"}], [2])
    with pytest.raises(InvalidError, match="give only one of last, turns and records"):
        store.load("s", records=1, turns=1)
    store.append("s", turn(1))
    assert store.load("s", since=3).entries == turn(1) and store.load("s", since=3).records[0].others is None
    with pytest.raises(InvalidError, match="invalid entries: a dict, not a list"):
        store.append_entries("s", {"type": "mode"})


def test_times_are_kept_to_the_millisecond(store: Any) -> None:
    sent = datetime(2026, 5, 1, 12, 0, 0, 123_000, tzinfo=timezone(timedelta(hours=2)))
    before = datetime.now(timezone.utc) - timedelta(seconds=1)
    appended = store.append("s", turn(0), sent_at=[sent, None])
    [record] = store.load("s").records
    assert record.sent_at == [sent, None]
    assert record.created_at == appended.created_at and before < record.created_at < before + timedelta(minutes=1)
    assert store.session("s").created_at >= before


def test_many_sessions_are_listed_page_by_page(store: Any) -> None:
    ids = [f"s{n:03}" for n in range(105)]
    for session in ids:
        store.append(session, [user("x")], owner="alice")
    assert sorted(info.id for info in store.sessions("alice")) == ids
    assert sorted(info.id for info in store.sessions("alice", recent=True)) == ids
    assert sorted(info.id for info in store.all_sessions()) == ids
    page = store.session_page("alice", limit=10)
    assert (len(list(page)), page.order, page.warnings) == (10, "started", [])
    assert store.session_page("alice", limit=1, after=page.next).sessions[0].id not in [info.id for info in page]


def test_long_sessions_are_read_page_by_page(store: Any) -> None:
    # More pages than an iterator keeps.
    for n in range(0, 3000, 25):
        store.append("s", [user(str(n + i)) for i in range(25)])
    assert [message["content"] for message in store.messages("s", newest_first=True)] == [str(n) for n in reversed(range(3000))]
    assert [message["content"] for message in store.messages("s")] == [str(n) for n in range(3000)]


def test_iteration_over_messages_is_not_disturbed_by_writes(url: str) -> None:
    store = chat_memory.open(url)
    # Large enough that an iterator cannot keep them all, even if they are stored compressed.
    for n in range(0, 3000, 25):
        store.append("s", [user(f"{n + i} {secrets.token_urlsafe(4000)}") for i in range(25)])

    def contents(meanwhile: Callable[[], object]) -> list[int]:
        messages = store.messages("s")
        first = next(messages)
        meanwhile()
        return [int(str(message["content"]).split()[0]) for message in (first, *messages)]

    assert contents(lambda: store.append("s", [user("3000")])) == list(range(3000)), "what is appended meanwhile does not come"
    # Of the oldest pages, which are read once, everything comes; of the others what is still there, once and in order. A store in memory
    # has no bytes, so that all are kept.
    found = contents(lambda: store.rewind_turns("s", 900))
    assert found == list(range(3001 if url == "memory:" else 2100))


def test_every_providers_turn_comes_back_whole(store: Any) -> None:
    turns = {
        "anthropic": [
            user("w?"),
            {"role": "assistant", "content": [{"type": "text", "text": "let me"}, {"type": "tool_use", "id": "t1", "name": "f", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "21"}]},
            assistant("21C"),
        ],
        "responses": [
            user("w?"),
            {"type": "function_call", "id": "fc_1", "call_id": "t1", "name": "f", "arguments": "{}", "status": "completed"},
            {"type": "function_call_output", "call_id": "t1", "output": "21"},
            {"type": "message", "role": "assistant", "id": "msg_1", "content": [{"type": "output_text", "text": "21C"}]},
        ],
    }
    for form, messages in turns.items():
        store.append(form, messages)
        assert list(store.messages(form)) == messages
        assert store.recall(form, messages=2).messages == messages[3:]
        assert store.recall(form, messages=3, start_at_user=True).messages == []


def test_write_units_are_estimated_without_a_request(store: Any, url: str) -> None:
    units = store.write_units("s", [turn(0), turn(1)])
    assert units is None if not url.startswith("dynamodb") else units >= 3


def test_threads_lose_nothing(url: str) -> None:
    store = chat_memory.open(url)

    def write(who: int) -> None:
        for n in range(10):
            store.append("s", [user(f"{who}/{n}")])

    threads = [threading.Thread(target=write, args=(who,)) for who in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    contents = [message["content"] for message in store.messages("s")]
    assert sorted(contents) == sorted(f"{who}/{n}" for who in range(8) for n in range(10))
    for who in range(8):
        assert [text for text in contents if text.startswith(f"{who}/")] == [f"{who}/{n}" for n in range(10)]


def test_errors_say_what_to_do() -> None:
    missing = chat_memory.open(f"dynamodb://no-such-table?region={REGION}&endpoint={endpoint()}")
    with pytest.raises(chat_memory.NotFoundError, match="no-such-table"):
        missing.load("s")
    dead = chat_memory.open(f"dynamodb://chats?region={REGION}&endpoint=http://127.0.0.1:9&deadline=2s&request_timeout=1s")
    with pytest.raises(chat_memory.UnavailableError, match="127.0.0.1:9") as unavailable:
        dead.load("s")
    assert unavailable.value.retryable
    copy = pickle.loads(pickle.dumps(unavailable.value))
    assert (type(copy), str(copy), copy.retryable, copy.ticket) == (type(unavailable.value), str(unavailable.value), True, None)
    with pytest.raises(TypeError, match="a store cannot be pickled; open it in the other process: <chat_memory.Store"):
        pickle.dumps(dead)
    read_only = chat_memory.open(f"dynamodb://{new_table('session_id', 'sk')}?region={REGION}&endpoint={endpoint()}&read_only=true")
    with pytest.raises(chat_memory.ReadOnlyError):
        read_only.append("s", turn(0))


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("chats", "unknown store"),
        ("dynamodb://chats?regoin=x", "regoin"),
        ("dynamodb://key:secret@chats", "credentials"),
        ("sqlite:", "missing path"),
    ],
)
def test_a_url_that_cannot_work_is_refused_at_once(url: str, says: str) -> None:
    with pytest.raises(InvalidError, match=says):
        chat_memory.open(url)


def test_a_file_that_cannot_be_opened_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ChatMemoryError, match="nowhere"):
        chat_memory.open(f"sqlite:{tmp_path}/nowhere/chat.db")


def test_a_relative_path_is_of_the_folder_in_which_it_was_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "a")
    first = chat_memory.open("sqlite:chat.db")
    monkeypatch.chdir(tmp_path / "b")
    second = chat_memory.open("sqlite:chat.db")
    first.append("s", [user("a")])
    assert list(second.messages("s")) == []
    assert (tmp_path / "a" / "chat.db").exists()


def test_a_closed_store_is_one_file_and_refuses_calls(tmp_path: Path) -> None:
    with chat_memory.open(f"sqlite:{tmp_path}/chat.db") as store:
        store.append("s", [user("x")])
    assert os.listdir(tmp_path) == ["chat.db"]
    with pytest.raises(InvalidError, match="the store is closed; open it again"):
        store.load("s")


def test_credentials_are_renewed_by_the_function_that_gets_them_and_appear_nowhere() -> None:
    asked = 0

    def credentials() -> Credentials:
        nonlocal asked
        asked += 1
        expires_at = datetime.now(timezone.utc) + timedelta(hours=1 if asked > 1 else 0)
        return Credentials("AKIAEXAMPLE", "hunter2", "hunter3", expires_at)

    url = turns_url()
    store = chat_memory.open(url, credentials=credentials)
    store.append("s", [user("x")])
    store.load("s")
    store.load("s")
    assert asked == 2, "once for those that ended, once more for all calls after them"
    assert "hunter" not in repr(store) + repr(credentials()) + repr(vars(store))

    def fail() -> Credentials:
        raise OSError("no role")

    with pytest.raises(chat_memory.AccessDeniedError, match="no role"):
        chat_memory.open(url, credentials=fail)
    with pytest.raises(InvalidError, match="secret"):
        chat_memory.open(url, credentials=Credentials("AKIAEXAMPLE", ""))
    for wrong in ("AKIAEXAMPLE", {"key": "a"}, 5):
        with pytest.raises(InvalidError, match=r"invalid credentials: .*give a chat_memory\.Credentials, or a function"):
            chat_memory.open(url, credentials=wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidError, match="time zone"):
        Credentials("a", "b", expires_at=datetime(2030, 1, 1))
    with pytest.raises(InvalidError, match="access_key_id"):
        Credentials(None, "b")  # type: ignore[arg-type]
    with pytest.raises(InvalidError, match="leave them out"):
        chat_memory.open("memory:", credentials=Credentials("a", "b"))


def test_errors_name_the_parameters_of_the_methods() -> None:
    store: Any = chat_memory.open("memory:")
    for call, name in (
        (lambda: store.load("s", last="1"), "last"),
        (lambda: store.recall("s", messages="1"), "messages"),
        (lambda: store.recall("s", turns=2, keep_system=1), "keep_system"),
        (lambda: store.recall("s", turns=2, start_at_user=1), "start_at_user"),
        (lambda: store.session_page(any_owner="yes"), "any_owner"),
        (lambda: store.append("s", turn(0), retry=1), "retry"),
        (lambda: store.append("s", turn(0), expected=5), "expected"),
        (lambda: list(store.messages("s", newest_first=1)), "newest_first"),
        (lambda: store.session_page(limit=0), "limit 0"),
    ):
        with pytest.raises(InvalidError, match=f"^invalid {name}: "):
            call()


def test_calls_have_signatures_and_documentation() -> None:
    assert list(inspect.signature(chat_memory.Store.append).parameters)[:2] == ["session", "messages"]
    for name in ("append", "load", "recall", "write_units"):
        assert getattr(chat_memory.Store, name).__doc__ == getattr(chat_memory.AsyncStore, name).__doc__
        assert getattr(chat_memory.Store, name).__doc__
