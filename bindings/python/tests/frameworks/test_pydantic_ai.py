"""The conversation store for Pydantic AI: next to Pydantic AI's own, exact, once, and readable by others."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import random
import subprocess
import sys
from collections.abc import Awaitable, Callable, Coroutine
from copy import deepcopy
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import pytest
from conftest import endpoint, new_table, turns_url, user
from pydantic_ai import Agent, DeferredToolRequests
from pydantic_ai.conversation import Conversation, ConversationTypeAdapter
from pydantic_ai.conversation_store import ConversationConflict, ConversationRecord, ConversationStore, InMemoryConversationStore
from pydantic_ai.exceptions import UserError
from pydantic_ai.messages import (
    AudioUrl,
    BinaryContent,
    BinaryImage,
    CachePoint,
    CompactionPart,
    DocumentUrl,
    FilePart,
    ImageUrl,
    InstructionBaselinePart,
    InstructionPart,
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    NativeToolCallPart,
    NativeToolReturnPart,
    RetryFeedbackPart,
    RetryInfo,
    SpeechPart,
    SystemPromptPart,
    TextContent,
    TextPart,
    ThinkingPart,
    ToolAvailabilityDeltaPart,
    ToolCallPart,
    ToolReturnPart,
    UploadedFile,
    UserPromptPart,
    VideoUrl,
)
from pydantic_ai.models.test import TestModel

import chat_memory
from chat_memory.pydantic_ai import ChatMemoryConversationStore

T = TypeVar("T")

EXAMPLE = Path(__file__).parents[2] / "examples" / "pydantic_ai_agent.py"
AT = datetime(2026, 11, 27, 12, tzinfo=timezone.utc)
FAULTS = ["--drop-requests", "0.1", "--drop-answers", "0.2", "--duplicates", "0.1", "--seed", "7"]
WRITES = ["--only", "UpdateItem", "--only", "PutItem", "--only", "TransactWriteItems"]
TIMES = "&request_timeout=300ms&deadline=20s"


def asks(text: str) -> ModelRequest:
    return ModelRequest(parts=[UserPromptPart(text, timestamp=AT)], timestamp=AT)


def answers(text: str) -> ModelResponse:
    return ModelResponse(parts=[TextPart(text)], timestamp=AT)


def turn(text: str) -> list[ModelMessage]:
    return [asks(f"{text}?"), answers(f"{text}!")]


def texts(messages: list[ModelMessage]) -> list[str]:
    return [str(getattr(part, "content", None)) for message in messages for part in message.parts]


def run(test: Callable[[ChatMemoryConversationStore, chat_memory.AsyncStore], Coroutine[Any, Any, None]], url: str) -> None:
    async def main() -> None:
        async with await chat_memory.aopen(url) as store:
            await test(ChatMemoryConversationStore(store), store)

    asyncio.run(main())


class SideBySide:
    """Does the same with Pydantic AI's own store and with ours, and compares what both return."""

    IDS = ("p", "q", "r", "s")
    WEIGHTS = {"save": 8, "rewrite": 3, "parse": 2, "load": 4, "branch": 5, "back": 5, "fork": 2, "delete": 1}

    def __init__(self, seed: int, ours: ConversationStore, sessions: chat_memory.AsyncStore) -> None:
        self.random = random.Random(seed)
        self.stores = (InMemoryConversationStore(), ours)
        self.sessions = sessions
        self.handles: list[tuple[Conversation, Conversation]] = []
        self.done: list[str] = []

    async def both(self, what: Callable[[int], Awaitable[T]]) -> tuple[T, T] | None:
        found: list[Any] = []
        for n in range(2):
            try:
                found.append(await what(n))
            except (UserError, LookupError) as error:
                found.append(type(error))
        if isinstance(found[0], type) or isinstance(found[1], type):
            assert found[0] is found[1], self.done
            return None
        return found[0], found[1]

    async def step(self, n: int) -> None:
        chosen = self.random
        conversation_id, scope, source = chosen.choice(self.IDS), chosen.choice([None, "a", "b"]), chosen.choice(self.IDS)
        [action] = chosen.choices(list(self.WEIGHTS), list(self.WEIGHTS.values()))
        self.done.append(f"{action} {conversation_id}")
        kept = chosen.randrange(6)
        if action == "load":
            limit = chosen.choice([None, None, 0, 1, 3])
            await self.keep(await self.both(lambda n: self.stores[n].load(conversation_id, limit=limit, scope=scope)))
        elif action == "delete":
            await self.both(lambda n: self.stores[n].delete(conversation_id, scope=scope))
        elif action == "fork":
            at = chosen.choice([None, kept])
            await self.keep(await self.both(lambda n: self.stores[n].fork(source, at=at, new_conversation_id=conversation_id, scope=scope)))
        elif action in ("branch", "back"):
            records = await self.both(lambda n: self.stores[n].read_record(conversation_id))
            if records is None or records[0] is None or records[1] is None:
                return
            revisions = [record.revision for record in records if record is not None]
            if chosen.random() < 0.2:
                revisions = ["stale", "stale"]
            if action == "branch":
                await self.keep(
                    await self.both(lambda n: self.stores[n].branch(conversation_id, at=kept, expected_revision=revisions[n]))
                )
            else:
                tips = [record.branches for record in records if record is not None]
                at = chosen.randrange(4)
                tip = [branches[at] if at < len(branches) else "none" for branches in tips]
                await self.keep(
                    await self.both(lambda n: self.stores[n].branch(conversation_id, from_entry=tip[n], expected_revision=revisions[n]))
                )
        else:
            if self.handles and chosen.random() < 0.9:
                handle = chosen.choice(self.handles[-3:])
            else:
                handle = (Conversation(conversation_id=conversation_id), Conversation(conversation_id=conversation_id))
                self.handles.append(handle)
            if action == "parse":
                parsed = [ConversationTypeAdapter.validate_json(ConversationTypeAdapter.dump_json(one)) for one in handle]
                handle = parsed[0], parsed[1]
                self.handles.append(handle)
            at = chosen.randrange(1 + len(handle[0].messages))
            for one in handle:
                if action == "rewrite":
                    one.messages[at : at + 1] = [asks(f"rewritten {n}")]
                one.messages += turn(f"{n}")
                one.usage.requests += 1
            saved = await self.both(lambda n: self.stores[n].save(handle[n], scope=scope))
            if saved is not None:
                assert [entry.message for entry in saved[0]] == [entry.message for entry in saved[1]]
        await self.compare(conversation_id)

    async def keep(self, found: tuple[Conversation | None, Conversation | None] | None) -> None:
        if found is not None:
            theirs, ours = found
            if theirs is None or ours is None:
                assert theirs is ours, self.done
            else:
                assert self.shown(theirs) == self.shown(ours), self.done
                self.handles.append((theirs, ours))

    @staticmethod
    def shown(one: Conversation) -> tuple[Any, ...]:
        return one.messages, one.usage, one.conversation_id, one.deferred_tool_requests, one.new_message_index, one.revision is None

    async def compare(self, conversation_id: str) -> None:
        loaded = await self.both(lambda n: self.stores[n].load_entries(conversation_id))
        assert loaded is not None
        theirs, ours = loaded
        assert (theirs is None) == (ours is None), self.done
        assert [entry.message for entry in theirs or []] == [entry.message for entry in ours or []], self.done
        others = (await self.sessions.load(conversation_id)).messages
        assert [message["content"] for message in others] == texts([entry.message for entry in theirs or []]), self.done

    async def compare_all(self) -> None:
        for conversation_id in self.IDS:
            await self.compare(conversation_id)
        for scope in (None, "a", "b", "c"):
            for limit in (None, 0, 2):
                lists = await self.both(lambda n: self.stores[n].list_conversations(scope=scope, limit=limit))
                assert lists is not None
                theirs, ours = ([self.listed(record) for record in records] for records in lists)
                assert theirs == ours, self.done
        for n in (0, 1):
            for record in await self.stores[n].list_conversations():
                for tip in [record.head_id, *record.branches]:
                    history = await self.stores[n].read_history(tip)
                    assert [entry.parent_id for entry in history] == [None, *(entry.id for entry in history)][: len(history)]
                    assert not history or await self.stores[n].read_entry(history[0].id) == history[0]

    @staticmethod
    def listed(record: ConversationRecord) -> tuple[Any, ...]:
        return record.conversation_id, record.scope, record.usage, record.forked_from, record.forked_at is None, len(record.branches)


def test_it_does_what_the_own_store_does(url: str) -> None:
    async def check(store: ChatMemoryConversationStore, sessions: chat_memory.AsyncStore) -> None:
        for seed in range(6 if url == "memory:" else 2):
            # Each schedule has conversations of its own.
            for listed in await store.list_conversations():
                await store.delete(listed.conversation_id)
            both = SideBySide(seed, store, sessions)
            for n in range(50):
                await both.step(n)
            await both.compare_all()

    run(check, url)


ODD = "quotes \" \\ and ünïcödé 🦀 \u0000 \u2028, longer than a reference"
LONG_RESULT = {"rows": [{"n": n, "x": n / 3, "t": None} for n in range(200)], "shown": "as a field"}
MESSAGES: list[ModelMessage] = [
    ModelRequest(
        parts=[SystemPromptPart("Be brief", timestamp=AT), UserPromptPart(ODD, timestamp=AT)], instructions=ODD, metadata={"shown": 1}
    ),
    ModelRequest(
        parts=[
            UserPromptPart(
                [
                    "See",
                    ODD,
                    "",
                    ImageUrl("https://example.com/a.png"),
                    BinaryContent(bytes(range(256)), media_type="image/png"),
                    BinaryContent(b"\xff\xfe" * 40, media_type="audio/wav"),
                    BinaryContent(b"%PDF-" * 9, media_type="application/pdf", identifier="doc"),
                    DocumentUrl("https://example.com/a.pdf"),
                    AudioUrl("https://example.com/a.mp3"),
                    VideoUrl("https://example.com/a.mp4"),
                    UploadedFile("file-1234567890123456", provider_name="openai"),
                    CachePoint(),
                    TextContent("note", metadata={"a": [1, 1.0, -0.0]}),
                ],
                timestamp=AT,
            ),
            UserPromptPart([], timestamp=AT),
        ]
    ),
    ModelResponse(
        parts=[
            ThinkingPart("Let me think about this", signature="c2lnbmF0dXJlIGFuZCBtb3Jl", provider_name="anthropic", id=""),
            TextPart("I look it up"),
            TextPart(""),
            NativeToolCallPart("web_search", {"query": "weather in Lisbon"}, "srv_1"),
            NativeToolReturnPart("web_search", [{"url": "https://example.com/search"}], "srv_1", timestamp=AT),
            FilePart(BinaryImage(b"\x89PNG" * 20, media_type="image/png"), id="img"),
            ToolCallPart("weather", '{"city": "Lisbon",  "days": [1,2]}', "call_1", provider_details={"deep": {"list": [[]]}}),
            ToolCallPart("weather", {"city": "Lisbon and Porto", "shown": {"shown": 3, "as": "json"}}, "call_2"),
            ToolCallPart("none", None, "call_3"),
            ToolCallPart("broken", "{", "call_4"),
        ],
        model_name="m",
        timestamp=AT,
        provider_details={"n": 9007199254740993, "f": 1e300},
    ),
    ModelRequest(
        parts=[
            ToolReturnPart("weather", LONG_RESULT, "call_1", timestamp=AT, metadata={"own": True}),
            ToolReturnPart("weather", "21 degrees, no rain", "call_2", timestamp=AT),
            ToolReturnPart("none", None, "call_3", timestamp=AT),
            ToolReturnPart("broken", ["x", BinaryContent(b"\xfb\xff" * 30, media_type="image/png")], "call_4", timestamp=AT, outcome="failed"),
        ]
    ),
    ModelResponse(parts=[], timestamp=AT, finish_reason="content_filter"),
    ModelRequest(parts=[]),
    ModelRequest(
        parts=[
            CompactionPart(content="They talked about Lisbon"),
            SpeechPart(speaker="user", transcript="What did we say?"),
            RetryFeedbackPart("Answer in one word, please", retry=RetryInfo("model_retry"), timestamp=AT),
            ToolReturnPart("f", [{"type": "missing"}], "call_5", timestamp=AT, outcome="retried"),
            ToolAvailabilityDeltaPart(tools_added=[], tool_call_id="call_6"),
            InstructionBaselinePart(instructions=[InstructionPart(ODD)]),
        ]
    ),
    ModelResponse(parts=[SpeechPart(speaker="assistant", transcript="About Lisbon and Porto", interrupted_at_ms=10)], timestamp=AT),
    answers("long " * 100_000),
]


def round_trip(messages: list[ModelMessage]) -> list[ModelMessage]:
    return ModelMessagesTypeAdapter.validate_json(ModelMessagesTypeAdapter.dump_json(messages))


def test_messages_come_back_equal(url: str) -> None:
    async def check(store: ChatMemoryConversationStore, sessions: chat_memory.AsyncStore) -> None:
        await store.save(Conversation(conversation_id="c", messages=deepcopy(MESSAGES)))
        loaded = await store.load("c")
        assert loaded is not None and loaded.messages == round_trip(MESSAGES)
        assert ModelMessagesTypeAdapter.dump_json(loaded.messages) == ModelMessagesTypeAdapter.dump_json(round_trip(MESSAGES))
        # Each one also alone, and as a branch that was left.
        for n, message in enumerate(MESSAGES):
            one = Conversation(conversation_id=f"one-{n}", messages=[message])
            await store.save(one)
            await store.branch(one.conversation_id, at=0, expected_revision=one.revision)
            record = await store.read_record(one.conversation_id)
            assert record is not None
            kept = [entry.message for entry in await store.read_history(record.branches[0])]
            assert kept == round_trip([message])
            assert not (await sessions.load(one.conversation_id)).messages

    run(check, url)


def test_nothing_large_is_stored_twice() -> None:
    data, result = random.Random(1).randbytes(200_000), {"rows": list(range(40_000))}
    message = ModelRequest(
        parts=[
            UserPromptPart(["x" * 200_000, BinaryContent(data, media_type="image/png")], timestamp=AT),
            ToolReturnPart("f", result, "call_1", timestamp=AT),
            ToolReturnPart("f", "y" * 200_000, "call_2", timestamp=AT),
        ]
    )

    async def check(store: ChatMemoryConversationStore, sessions: chat_memory.AsyncStore) -> None:
        await store.save(Conversation(conversation_id="c", messages=[message]))
        loaded = await store.load("c")
        assert loaded is not None and loaded.messages == round_trip([message])
        stored = json.dumps((await sessions.load("c")).entries)
        assert len(stored) < 1.1 * len(ModelMessagesTypeAdapter.dump_json([message]))

    run(check, "memory:")


def test_integers_beyond_64_bits_and_deep_values_are_stored_as_text(url: str) -> None:
    deep: Any = []
    for _ in range(150):
        deep = [deep]

    async def check(store: ChatMemoryConversationStore, sessions: chat_memory.AsyncStore) -> None:
        for n, value in enumerate([2**70, deep]):
            messages: list[ModelMessage] = [*turn("big"), ModelResponse(parts=[ToolCallPart("f", {"n": value}, "c")], timestamp=AT)]
            await store.save(Conversation(conversation_id=f"{n}", messages=messages))
            loaded = await store.load(f"{n}")
            assert loaded is not None and loaded.messages == messages
            assert [message["role"] for message in (await sessions.load(f"{n}")).messages] == ["user", "assistant", "assistant"]

    run(check, url)


def test_others_read_the_history_as_chat_messages(url: str) -> None:
    async def check(store: ChatMemoryConversationStore, sessions: chat_memory.AsyncStore) -> None:
        conversation = Conversation(conversation_id="c", messages=[*MESSAGES[:4], *turn("left")])
        await store.save(conversation, scope="ada")
        branched = await store.branch("c", at=4, expected_revision=conversation.revision)
        branched.messages += turn("kept")
        await store.save(branched)
        window = (await sessions.recall("c")).messages
        assert [message["role"] for message in window] == ["system", "user", "user", "user", "assistant", *["tool"] * 4, "user", "assistant"]
        assert [message["content"] for message in window[-2:]] == ["kept?", "kept!"]
        assert [call["function"]["name"] for call in window[4]["tool_calls"]] == ["weather", "weather", "none", "broken"]
        assert window[4]["content"][0]["thinking"] == "Let me think about this"
        assert window[2]["content"][3]["image_url"]["url"] == "https://example.com/a.png"
        assert [info.id async for info in sessions.sessions("ada")] == ["c"]

    run(check, url)


def test_what_others_append_is_part_of_the_conversation(url: str) -> None:
    async def check(store: ChatMemoryConversationStore, sessions: chat_memory.AsyncStore) -> None:
        call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
        theirs = [
            user("Where?"),
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "Sunny"},
            {"role": "assistant", "content": "Rome"},
        ]
        await sessions.append("c", theirs, owner="ada", sent_at=[AT, None, None, None])
        conversation = await store.load("c", scope="ada")
        assert conversation is not None and texts(conversation.messages) == ["Where?", "None", "Sunny", "Rome"]
        assert conversation.messages[0].timestamp == AT
        returned = conversation.messages[2].parts[0]
        assert isinstance(returned, ToolReturnPart) and returned.tool_name == "weather"
        conversation.messages += turn("ours")
        await store.save(conversation)
        files = [
            {"type": "image_url", "image_url": {"url": "https://example.com/a"}},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}},
            {"type": "image_url", "image_url": {"url": "data:broken"}},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw=="}},
            {"type": "document", "source": {"type": "url", "url": "https://example.com/b"}},
            {"type": "refusal", "refusal": "No"},
        ]
        await sessions.append("c", [{"role": "user", "content": [{"type": "text", "text": "And this?"}, *files]}])
        # What was loaded before is refused.
        conversation.messages += turn("late")
        with pytest.raises(ConversationConflict):
            await store.save(conversation)
        again = await store.load("c")
        assert again is not None and again == await store.load("c") and len(again.messages) == 7
        [prompt] = again.messages[-1].parts
        image = BinaryImage(b"\x89PNG", media_type="image/png")
        shown = ["And this?", ImageUrl("https://example.com/a"), image, image, DocumentUrl("https://example.com/b")]
        assert isinstance(prompt, UserPromptPart) and prompt.content == shown
        window = await store.load("c", limit=2)
        assert window is not None and window.messages == again.messages[-2:]
        again.messages += turn("next")
        await store.save(again)
        branched = await store.branch("c", at=1, expected_revision=again.revision)
        assert texts(branched.messages) == ["Where?"]
        assert [message["content"] for message in (await sessions.load("c")).messages] == ["Where?"]
        assert [record.conversation_id for record in await store.list_conversations(scope="ada")] == ["c"]

    run(check, url)


def test_others_remove_turns(url: str) -> None:
    async def check(store: ChatMemoryConversationStore, sessions: chat_memory.AsyncStore) -> None:
        conversation = Conversation(conversation_id="c", messages=[*MESSAGES[:4], *turn("a"), *turn("b")])
        await store.save(conversation)
        conversation.messages += turn("c")
        await store.save(conversation)
        # The whole last record, a part of the first one, and all of it but the system prompt of its first message.
        for turns, left in ((1, 8), (1, 6)):
            await sessions.rewind_turns("c", turns)
            loaded = await store.load("c")
            assert loaded is not None and loaded.messages == round_trip([*MESSAGES[:4], *turn("a"), *turn("b")])[:left]
        await sessions.rewind_turns("c", 9)
        loaded = await store.load("c")
        assert loaded is not None and texts(loaded.messages) == ["Be brief"]
        with pytest.raises(ConversationConflict):
            await store.save(conversation)
        loaded.messages += turn("next")
        await store.save(loaded)
        again = await store.load("c")
        assert again is not None and texts(again.messages) == ["Be brief", "next?", "next!"]

    run(check, url)


def test_one_of_two_writers_is_refused(url: str) -> None:
    async def check(store: ChatMemoryConversationStore, sessions: chat_memory.AsyncStore) -> None:
        stores = [store, ChatMemoryConversationStore(sessions)]
        for n in range(5):
            loaded = [await one.load("c") or Conversation(conversation_id="c") for one in stores]
            for who, conversation in enumerate(loaded):
                conversation.messages += turn(f"{n}/{who}")
            saved = await asyncio.gather(*(one.save(conversation) for one, conversation in zip(stores, loaded)), return_exceptions=True)
            assert sorted(type(result).__name__ for result in saved) == ["ConversationConflict", "list"]
        final = await store.load("c")
        assert final is not None and [text[0] for text in texts(final.messages)] == list("0011223344")

    run(check, url)


def test_a_delete_erases_and_can_be_continued(url: str) -> None:
    async def check(store: ChatMemoryConversationStore, sessions: chat_memory.AsyncStore) -> None:
        conversation = Conversation(conversation_id="c", messages=turn("old"))
        await store.save(conversation, scope="a")
        await store.fork("c", new_conversation_id="f")
        await store.delete("c")
        assert await store.load("c") is None and await sessions.session("c") is None
        fork = await store.load("f")
        assert fork is not None and texts(fork.messages) == ["old?", "old!"]
        conversation.messages += turn("late")
        with pytest.raises(ConversationConflict):
            await store.save(conversation)
        # A process ended between the two writes of a delete.
        for scope in ("a", "b"):
            await sessions.append_entries("c", [{"type": "pydantic_ai.deleted", "scope": "a"}], owner="a")
            assert await store.load("c") is None
            assert [record.conversation_id for record in await store.list_conversations()] == ["f"]
            await store.save(Conversation(conversation_id="c", messages=turn("new")), scope=scope)
            assert [record.conversation_id for record in await store.list_conversations(scope=scope)][0] == "c"
            assert [message["content"] for message in (await sessions.load("c")).messages] == ["new?", "new!"]
            await store.delete("c")

    run(check, url)


def test_primitives_refuse_other_revisions(url: str) -> None:
    async def check(store: ChatMemoryConversationStore, sessions: chat_memory.AsyncStore) -> None:
        conversation = Conversation(conversation_id="c", messages=turn("x"))
        await store.save(conversation)
        # One that has read the record, and one that has not.
        for one in (store, ChatMemoryConversationStore(sessions)):
            record = await store.read_record("c")
            assert record is not None
            for revision in ("stale", None):
                with pytest.raises(ConversationConflict):
                    await one.write_record(replace(record, revision="new"), expected_revision=revision)
            with pytest.raises(ConversationConflict):
                await one.delete_record("c", expected_revision="stale")
            with pytest.raises(ConversationConflict):
                await one.write_record(replace(record, head_id="unknown"), expected_revision=record.revision)
            with pytest.raises(ConversationConflict):
                await one.write_record(replace(record, conversation_id="d", head_id="unknown"), expected_revision=None)
        record, other = await store.read_record("c"), ChatMemoryConversationStore(sessions)
        assert record is not None
        await other.write_record(replace(record, revision="new"), expected_revision=record.revision)
        assert (await store.load("c")) == replace(conversation, revision="new")

    run(check, url)


def test_errors_name_the_parameters() -> None:
    async def check(store: ChatMemoryConversationStore, _: chat_memory.AsyncStore) -> None:
        with pytest.raises(chat_memory.InvalidError, match="^a conversation_id must not be empty$"):
            await store.load("")
        with pytest.raises(chat_memory.InvalidError, match="^a scope is limited to 512 bytes"):
            await store.save(Conversation(messages=turn("x")), scope="x" * 600)

    run(check, "memory:")


def test_an_id_alone_is_not_found(url: str) -> None:
    async def check(store: ChatMemoryConversationStore, _: chat_memory.AsyncStore) -> None:
        entries = await store.save(Conversation(conversation_id="c", messages=turn("x")))
        with pytest.raises(LookupError, match=r"use load_entries\(conversation_id\)"):
            await store.read_entry(entries[0].id)
        assert await store.load_entries("c") == entries

    run(check, url)


def test_a_limited_list_reads_no_older_conversations(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chat_memory.pydantic_ai._ACTIVITY_LAG", timedelta(0))

    async def check(store: ChatMemoryConversationStore, sessions: chat_memory.AsyncStore) -> None:
        await asyncio.gather(*(sessions.append(f"old-{n}", [user("x")], owner="a") for n in range(150)))
        for n in range(5):
            await store.save(Conversation(conversation_id=f"{n}", messages=turn("x")), scope="a")
        read = list[str]()
        read_record = store.read_record

        async def counted(conversation_id: str) -> ConversationRecord | None:
            read.append(conversation_id)
            return await read_record(conversation_id)

        store.read_record = counted  # type: ignore[method-assign]
        assert [record.conversation_id for record in await store.list_conversations(scope="a", limit=3)] == ["4", "3", "2"]
        assert len(read) == 100
        assert len(await store.list_conversations(scope="a")) == 155

    run(check, sqlite_url)


async def save_turn(store: ConversationStore, text: str) -> None:
    """Saves a turn, however often other writers are faster."""
    while True:
        conversation = await store.load("c") or Conversation(conversation_id="c")
        conversation.messages += turn(text)
        try:
            await store.save(conversation)
            return
        except ConversationConflict:
            continue


def check_turns(conversation: Conversation | None, turns: int) -> None:
    """Each turn of both writers is there once, whole, and in its writer's order."""
    assert conversation is not None
    said = texts(conversation.messages)
    for who in "ab":
        assert [text for text in said if text.startswith(who)] == [f"{who}/{n}{mark}" for n in range(turns) for mark in "?!"]
    assert len(said) == 4 * turns and all(answer == question.replace("?", "!") for question, answer in zip(said[::2], said[1::2]))


def test_each_turn_is_stored_once_behind_faults(fault_proxy: Callable[..., str]) -> None:
    through = quote(fault_proxy(*FAULTS, *WRITES), safe="")
    url = f"dynamodb://{new_table('session_id', 'sk')}?region=us-east-1"

    async def main() -> None:
        async def write(who: str) -> None:
            store = ChatMemoryConversationStore(f"{url}&endpoint={through}{TIMES}")
            for n in range(10):
                await save_turn(store, f"{who}/{n}")

        await asyncio.gather(write("a"), write("b"))
        check_turns(await ChatMemoryConversationStore(f"{url}&endpoint={quote(endpoint(), safe='')}").load("c"), 10)

    asyncio.run(main())


def write_turns(url: str, who: str) -> None:
    async def main() -> None:
        store = ChatMemoryConversationStore(url)
        for n in range(5):
            await save_turn(store, f"{who}/{n}")

    asyncio.run(main())


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_processes_save_at_once(durable_url: str) -> None:
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=write_turns, args=(durable_url, who)) for who in "ab"]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0, 0]
    check_turns(asyncio.run(ChatMemoryConversationStore(durable_url).load("c")), 5)


def test_a_paused_run_continues_in_another_store(durable_url: str) -> None:
    def agent() -> Agent[None, str | DeferredToolRequests]:
        made = Agent(TestModel(), output_type=[str, DeferredToolRequests])
        made.tool_plain(requires_approval=True)(remove)
        return made

    def remove(path: str) -> str:
        return f"removed {path}"

    async def main() -> None:
        store = ChatMemoryConversationStore(durable_url)
        result = await agent().run("Remove it", conversation=Conversation(conversation_id="c"))
        await store.save(result)
        loaded = await ChatMemoryConversationStore(durable_url).load("c")
        assert loaded is not None and loaded.deferred_tool_requests is not None
        assert loaded == result.conversation
        approved = loaded.deferred_tool_requests.build_results(approve_all=True)
        result = await agent().run(conversation=loaded, deferred_tool_results=approved)
        await store.save(result)
        loaded = await store.load("c")
        assert loaded is not None and loaded.deferred_tool_requests is None and loaded.usage == result.usage

    asyncio.run(main())


def test_a_turn_costs_the_same_at_any_length() -> None:
    class Counted(ChatMemoryConversationStore):
        cost = chat_memory.Cost()

        async def _call(self, call: Any) -> Any:
            found = await super()._call(call)
            self.cost += found.cost
            return found

    async def main() -> None:
        store = Counted(turns_url())
        conversation = Conversation(conversation_id="c")
        costs = list[tuple[int, float, float]]()
        for n in range(60):
            conversation.messages += turn(f"{n:03}")
            store.cost = chat_memory.Cost()
            await store.save(conversation)
            costs.append((store.cost.requests, store.cost.read_units, store.cost.write_units))
        # Each save reads the newest record and writes one.
        assert set(costs[1:]) == {(2, 1.0, 1.0)}

    asyncio.run(main())


def test_the_example_remembers(durable_url: str) -> None:
    for n, question in enumerate(["Where should we go in May?", "And what can we eat there?"], 1):
        ended = subprocess.run([sys.executable, str(EXAMPLE), durable_url, question], capture_output=True, text=True, timeout=60)
        expected = [f"You have asked {n} times, first: Where should we go in May?", f"trip: {n} requests"]
        assert (ended.returncode, ended.stderr, ended.stdout.splitlines()) == (0, "", expected)
