"""Search, forks, and the deletion of an owner."""

from __future__ import annotations

import asyncio
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from conftest import assistant, turns_url, user

import chat_memory
from chat_memory import ConflictError, DeletedSession, InvalidError, Origin, ReadOnlyError, SearchHit


def brief(hit: SearchHit) -> tuple[str, int | None, str]:
    """A hit as its session, its record and its text."""
    return hit.session.id, hit.message.seq if hit.message else None, hit.snippet.text


@pytest.fixture
def store(url: str) -> chat_memory.Store:
    return chat_memory.open(url)


def test_a_search_finds_messages_and_titles(store: chat_memory.Store, url: str) -> None:
    store.append("trip", [user("Where to?"), assistant("To Lisbon, in May.")], owner="ada", title="A trip")
    store.append("rome", [user("Not to Lisbon")], owner="bob")
    search = store.search("LISB may")
    (hit,) = search
    assert (hit.session.id, hit.session.owner, hit.session.title) == ("trip", "ada", "A trip")
    assert hit.message is not None
    assert (hit.message.seq, hit.message.index, hit.message.role) == (0, 1, "assistant")
    assert hit.message.at is not None
    assert datetime.now(timezone.utc) - hit.message.at < timedelta(hours=1)
    assert str(hit.snippet) == hit.snippet.text == "To Lisbon, in May."
    assert [text for text, is_match in hit.snippet.parts if is_match] == ["Lisb", "May"]
    assert (search.indexed, search.sessions, search.warnings) == (False, 2, [])
    assert url == "memory:" or search.cost.requests > 0

    hour = timedelta(hours=1)
    assert list(map(brief, store.search("lisbon", owner="bob"))) == [("rome", 0, "Not to Lisbon")]
    assert list(map(brief, store.search("lisbon", session="trip"))) == [("trip", 0, "To Lisbon, in May.")]
    assert list(map(brief, store.search("trip", titles=True))) == [("trip", None, "A trip")]
    assert list(store.search("lisbon", until=datetime.now(timezone.utc) - hour)) == []
    assert len(list(store.search("lisbon", since=datetime.now(timezone.utc) - hour))) == 2
    assert list(store.search("nowhere")) == []


def test_a_search_reads_page_by_page(store: chat_memory.Store) -> None:
    for n in range(0, 250, 10):
        store.append("long", [user(f"needle {n + i}") for i in range(10)])
    assert [hit.snippet.text for hit in store.search("needle")] == [f"needle {n}" for n in reversed(range(250))]
    for limit in (1, 100, 150, 250, 1000):
        assert len(list(store.search("needle", limit=limit))) == min(limit, 250)
    search = store.search("needle")
    assert brief(next(search)) == ("long", 24, "needle 249")


def test_a_search_is_awaited(url: str) -> None:
    async def run() -> None:
        store = await chat_memory.aopen(url)
        await store.append("s", [user(f"needle {n}") for n in range(120)])
        search = store.search("needle")
        assert len([hit async for hit in search]) == 120
        assert search.sessions > 0
        assert [hit async for hit in search] == []

    asyncio.run(run())


def test_a_redacted_message_is_nowhere_and_its_neighbours_stay(store: chat_memory.Store, url: str) -> None:
    turn = [user("My card is 4111 1111"), {"role": "assistant", "content": "Thank you."}]
    seq = store.append("card", turn, owner="ada").seq
    info = store.session("card")
    assert info is not None and info.records == 1
    assert info.first_words == (None if url.startswith("dynamodb") else "My card is 4111 1111")
    listed = [info for info in store.session_page("ada", contents=True) if info.id == "card"]
    assert [(info.records, info.records_exact, info.first_words) for info in listed] == [(1, True, "My card is 4111 1111")]

    redacted = store.redact("card", seq, message=0, replacement="[a card]")
    assert (redacted.changed, redacted.entries) == (True, 1)
    assert [message["content"] for message in store.messages("card")] == ["[a card]", "Thank you."]
    assert list(store.search("4111")) == []
    assert not store.redact("card", seq, message=0, replacement="[a card]").changed
    assert store.redact("card", seq).changed

    with pytest.raises(chat_memory.NotFoundError, match="record 9"):
        store.redact("card", 9)
    with pytest.raises(InvalidError, match="2 messages"):
        store.redact("card", seq, message=2)
    with pytest.raises(InvalidError, match="replacement"):
        store.redact("card", seq, replacement="")


def test_a_fork_has_what_its_session_had_and_says_where_it_comes_from(store: chat_memory.Store, url: str) -> None:
    for text in ("Where to?", "To Lisbon.", "How?"):
        store.append("trip", [user(text)], owner="ada", title="A trip")
    plan = store.plan_fork("trip", "rome", at=1)
    assert (plan.origin, plan.seq, plan.records, plan.entries) == ("trip", 1, 2, 2)
    assert (plan.write_units is not None) == url.startswith("dynamodb")
    assert store.load("rome").records == []

    forked = store.fork("trip", "rome", at=1, title="Rome instead")
    assert (forked.session, forked.origin, forked.seq, forked.records, forked.repeated) == ("rome", "trip", 1, 2, False)
    store.append("rome", [user("To Rome.")], expected=forked.position)
    assert [message["content"] for message in store.messages("rome")] == ["Where to?", "To Lisbon.", "To Rome."]
    assert len(store.load("trip").messages) == 3
    info, origin = store.session("rome"), store.session("trip")
    assert info is not None and origin is not None
    assert (info.owner, info.title, info.forked_from) == ("ada", "Rome instead", Origin("trip", 1))
    assert origin.forked_from is None

    with pytest.raises(ConflictError, match='"rome"') as conflict:
        store.fork("trip", "rome")
    assert conflict.value.actual is not None
    with pytest.raises(InvalidError, match="record 9"):
        store.fork("trip", at=9)
    with pytest.raises(InvalidError, match='"empty".*no messages'):
        store.plan_fork("empty")

    once, again = store.fork("trip", key="a", owner="bob"), store.fork("trip", key="a", owner="bob")
    assert (again.session, again.repeated, again.position) == (once.session, True, once.position)
    assert store.fork("trip").session != store.fork("trip").session
    assert [info.id for info in store.sessions("bob")] == [once.session]


def test_all_sessions_of_an_owner_are_deleted_and_only_those(store: chat_memory.Store) -> None:
    # More than a step deletes.
    for n in range(130):
        store.append(f"s{n}", [user("x")], owner="ada")
    store.append("other", [user("x")], owner="bob")
    seen: list[DeletedSession] = []
    report = store.delete_owner("ada", progress=seen.append)
    assert (report.sessions, report.records, report.failed) == (130, 130, [])
    assert sorted(done.session for done in seen) == sorted(f"s{n}" for n in range(130))
    assert all((done.records, done.error) == (1, None) for done in seen)
    assert list(store.sessions("ada")) == []
    assert len(store.load("other").records) == 1
    assert store.delete_owner("ada").sessions == 0


def test_a_session_that_cannot_be_deleted_is_reported() -> None:
    url = turns_url()
    chat_memory.open(url).append("s", [user("x")], owner="ada")
    seen: list[DeletedSession] = []
    report = chat_memory.open(f"{url}&read_only=true").delete_owner("ada", progress=seen.append)
    assert report.sessions == 0
    assert [(done.session, type(done.error)) for done in report.failed] == [("s", ReadOnlyError)]
    assert seen == report.failed


def test_an_owner_is_deleted_in_an_event_loop(url: str) -> None:
    async def run() -> None:
        store = await chat_memory.aopen(url)
        await asyncio.gather(*(store.append(f"s{n}", [user("x")], owner="ada") for n in range(5)))
        assert (await store.fork("s0", "fork", owner="bob")).records == 1
        assert (await store.delete_owner("ada")).sessions == 5
        assert [info.id async for info in store.sessions("bob")] == ["fork"]

        def stop(_: DeletedSession) -> None:
            raise RuntimeError("enough")

        with pytest.raises(RuntimeError, match="enough"):
            await store.delete_owner("bob", progress=stop)

    asyncio.run(run())


def test_what_cannot_be_searched_or_forked_names_the_parameter() -> None:
    store = chat_memory.open("memory:")
    wrong: Any
    for wrong, says in (
        ({"words": "?!"}, "nothing to search for in"),
        ({"words": ""}, "give words, or a time"),
        ({"words": 7}, "^invalid words: integer `7`, expected a string$"),
        ({"words": "a", "owner": "ada", "session": "s"}, "session cannot be combined with owner"),
        ({"words": "a", "limit": 0}, "invalid limit 0: expected at least 1"),
        ({"words": "a", "limit": "many"}, '^invalid limit: string "many", expected a whole number$'),
        ({"words": "a", "since": datetime(2026, 5, 1)}, "in since: no time zone"),
        ({"words": "a", "until": date(2026, 5, 1)}, "^invalid until: a date, not a datetime"),
    ):
        with pytest.raises(InvalidError, match=says):
            next(store.search(**wrong))
    with pytest.raises(InvalidError, match='^invalid at: string "1", expected a whole number$'):
        store.fork("a", at="1")  # type: ignore[arg-type]
    with pytest.raises(InvalidError, match="owner"):
        store.delete_owner("")
