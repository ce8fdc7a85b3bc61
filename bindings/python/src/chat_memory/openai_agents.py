"""Sessions for the OpenAI Agents SDK.

```python
from agents import Agent, Runner
from chat_memory.openai_agents import ChatMemorySession

session = ChatMemorySession("user-42", "dynamodb://chats?region=eu-central-1")
result = await Runner.run(Agent("Assistant"), "Where to?", session=session)
```
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import dropwhile
from typing import Any, NamedTuple, cast

from agents.items import TResponseInputItem
from agents.memory import OpenAIResponsesCompactionArgs, OpenAIResponsesCompactionSession, SessionABC, SessionSettings
from agents.memory.openai_responses_compaction_session import OpenAIResponsesCompactionMode
from agents.memory.session import _await_mutation, _CompactionSnapshot
from agents.memory.session_settings import coerce_session_settings, resolve_session_limit
from agents.run_context import RunContextWrapper
from openai import AsyncOpenAI

from . import _calls
from ._calls import Call
from ._errors import ChatMemoryError, ConflictError, InvalidError
from ._retry import ATTEMPTS, pause_s
from ._store import AsyncStore, Store, connection_of
from ._types import Appended, Record

_AS_ENTRIES: dict[str, object] = {"type": "chat_memory.openai_agents"}
"""The first entry of a record with items that are not messages: the others are the items, as they are."""


class ChatMemorySession(SessionABC):
    """A session of the OpenAI Agents SDK in any store: `ChatMemorySession("user-42", "sqlite:chat.db")`.

    Items come back equal. What one `add_items` adds is one record: all of it or nothing. An append whose answer was lost is stored once.

    As with the SDK's own stores, a task that is cancelled during a write ends when the outcome of the write is known.
    """

    session_settings: SessionSettings | None = None

    def __init__(
        self,
        session_id: str,
        store: str | Store | AsyncStore,
        session_settings: SessionSettings | dict[str, Any] | None = None,
        *,
        turns: int | None = None,
        tokens: int | None = None,
        counter: str | None = None,
        owner: str | None = None,
        title: str | None = None,
    ) -> None:
        """Opens the session, without a request yet.

        Args:
            session_id: The session.
            store: A store, or a store URL. Sessions with the same URL share one open DynamoDB table.
            session_settings: Its `limit` is how many items `get_items` returns unless it is given one.
            turns: Without a limit, `get_items` returns the newest n turns; by default everything.
            tokens: Without a limit, `get_items` returns as many of the newest items as fit into n tokens.
            counter: How to count tokens, as for `Store.recall`.
            owner: The owner of a new session.
            title: The title of a new session.

        Raises:
            InvalidError: The store URL is invalid.
        """
        self._connection = connection_of(store)
        self.session_id = session_id
        self.session_settings = SessionSettings() if session_settings is None else coerce_session_settings(session_settings)
        self._turns, self._tokens, self._counter = turns, tokens, counter
        self._owner, self._title = owner, title

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """Returns the items, oldest first, and reads no more than it needs.

        Args:
            limit: Only the newest n items. A window of `turns` or `tokens` then does not apply.
        """
        limit = resolve_session_limit(limit, self.session_settings)
        if limit is None and (self._turns is not None or self._tokens is not None or self._counter is not None):
            window = _calls.recall(self.session_id, turns=self._turns, tokens=self._tokens, counter=self._counter, format="responses")
            return _typed((await self._connection.acall(window)).messages)
        if limit is None or limit < 0:
            return (await self._read()).items
        return (await self._read(limit)).items[-limit:] if limit else []

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        """Adds items in one write: all of them or none."""
        if items:
            await _await_mutation(self._write(self._append(items)))

    async def pop_item(self) -> TResponseInputItem | None:
        """Removes the newest item and returns it; `None` if there is none. Two concurrent calls never return the same item.

        Raises:
            ConflictError: Other writers were faster, again and again. Nothing was removed.
            InDoubtError: It is unknown whether the item was removed.
        """
        return await _await_mutation(self._pop())

    async def clear_session(self) -> None:
        """Removes all items."""
        await _await_mutation(self._clear())

    async def _pop(self) -> TResponseInputItem | None:
        for attempt in range(ATTEMPTS):
            read = await self._read(1)
            if not read.items:
                return None
            try:
                await self._write(self._rewind(read, len(read.items) - 1, []))
                return read.items[-1]
            except ConflictError:
                if attempt == ATTEMPTS - 1:
                    raise
                await asyncio.sleep(pause_s(attempt))
        return None

    async def _clear(self) -> None:
        # Unlike the store's `clear`, this may start the session, with its owner, and is retried.
        await self._write(self._append([], replace=True))
        await self._connection.acall(_calls.sweep(self.session_id))

    async def _replace(self, items: list[TResponseInputItem], *, expected: str | None = None) -> None:
        """Replaces all items in one write, and erases the old ones."""
        await self._write(self._append(items, expected=expected, replace=True))
        try:
            await self._connection.acall(_calls.sweep(self.session_id))
        except ChatMemoryError:
            # They are replaced. The next replacement or clear erases them.
            pass

    async def _read(self, limit: int | None = None) -> _Read:
        """Reads records: those with the newest `limit` items, or all of them."""
        history = await self._connection.acall(_calls.load(self.session_id, last=limit, format="responses"))
        read = _Read(history.records, history.position, history.complete)
        while limit is not None and history.older is not None and len(read.items) < limit:
            older = _calls.load(self.session_id, last=limit - len(read.items), before=history.older, format="responses")
            history = await self._connection.acall(older)
            # The position stays that of the first load: a write that expects it is refused if anything was written since.
            read = _Read([*history.records, *read.records], read.position, history.complete)
        return read

    def _append(self, items: list[TResponseInputItem], *, expected: str | None = None, replace: bool = False) -> _Write:
        def write(as_entries: bool) -> Call[Appended]:
            if as_entries:
                return _calls.append_entries(
                    self.session_id,
                    [_AS_ENTRIES, *items],
                    expected=expected,
                    replace=replace,
                    owner=self._owner,
                    title=self._title,
                    retry=True,
                )
            return _calls.append(
                self.session_id,
                items,
                expected=expected,
                replace=replace,
                owner=self._owner,
                title=self._title,
                retry=True,
                format="responses",
            )

        return write

    def _rewind(self, read: _Read, start: int, items: list[TResponseInputItem]) -> _Write:
        """Puts items in the place of those from number `start` of `read` on."""
        record, kept = read.record_of(start)
        items = [*kept, *items]

        def write(as_entries: bool) -> Call[Appended]:
            entries = [_AS_ENTRIES, *items] if as_entries else None
            messages = () if as_entries else items
            return _calls.rewind_to(self.session_id, record.seq, messages, entries=entries, expected=read.position, format="responses")

        return write

    async def _write(self, write: _Write) -> None:
        """Stores items as messages or, if one is not an item of a conversation, as entries."""
        try:
            await self._connection.acall(write(False))
        except InvalidError as error:
            try:
                await self._connection.acall(write(True))
            except InvalidError:
                raise error from None

    # Two methods of the SDK's own stores, which its compaction session calls if a store has them.

    async def _get_compaction_snapshot(
        self,
        limit: int | None,
        *,
        prune_prefix: Callable[[TResponseInputItem], bool] | None = None,
    ) -> _CompactionSnapshot | None:
        """Returns the newest items, and how to replace the last of them unless the session was modified since.

        Args:
            limit: Up to n items; by default all.
            prune_prefix: A replacement also removes the oldest items, as long as this is true of them.
        """
        if not self._is_plain():
            return None
        read = await self._read(limit)
        stored = read.items
        first = 0 if limit is None else max(len(stored) - limit, 0)
        complete = read.complete and first == 0

        async def write(start: int, output: list[TResponseInputItem]) -> None:
            if prune_prefix is not None and not complete:
                everything = (await self._read()).items
                earlier = everything[: len(everything) - len(stored) + start]
                kept = list(dropwhile(prune_prefix, earlier))
                if len(kept) < len(earlier):
                    return await self._replace([*kept, *output], expected=read.position)
            if start == 0 and complete:
                return await self._replace(output, expected=read.position)
            await self._write(self._rewind(read, start, output))

        async def replace_suffix(start: int, output: list[TResponseInputItem]) -> bool:
            if first + start >= len(stored) > 0:
                return False
            try:
                await write(first + start, output)
            except ConflictError:
                return False
            return True

        return _CompactionSnapshot(stored[first:], complete, replace_suffix)

    async def _atomic_replace_items(self, items: list[TResponseInputItem]) -> bool:
        """Replaces all items in one write."""
        if not self._is_plain():
            return False
        await self._replace(items)
        return True

    def _is_plain(self) -> bool:
        """Whether no subclass changes what is written or read, which these methods would bypass."""
        return type(self) is ChatMemorySession


_Write = Callable[[bool], Call[Appended]]
"""Returns the call that writes items, as messages or as entries."""


class _Read(NamedTuple):
    """Records that were read, and their items."""

    records: list[Record]
    position: str
    complete: bool

    @property
    def items(self) -> list[TResponseInputItem]:
        return [item for record in self.records for item in _items(record)]

    def record_of(self, number: int) -> tuple[Record, list[TResponseInputItem]]:
        """Returns the record with the item of this number, and the record's items before it."""
        for record in self.records:
            items = _items(record)
            if number < len(items):
                return record, items[:number]
            number -= len(items)
        raise IndexError(number)


def _items(record: Record) -> list[TResponseInputItem]:
    others = record.others
    return _typed(others[1:] if others is not None and others[0] == _AS_ENTRIES else record.messages)


def _typed(items: list[dict[str, Any]]) -> list[TResponseInputItem]:
    return cast(list[TResponseInputItem], items)


class CompactionSession(OpenAIResponsesCompactionSession):
    """The SDK's `OpenAIResponsesCompactionSession` for a `ChatMemorySession`, with the same parameters.

    A compaction replaces what it compacted in one write, and only if nobody has written to the session since it was read: neither a crash
    nor another writer, in any process, loses an item.
    """

    def __init__(
        self,
        session_id: str,
        underlying_session: ChatMemorySession,
        *,
        client: AsyncOpenAI | None = None,
        model: str = "gpt-4.1",
        compaction_mode: OpenAIResponsesCompactionMode = "auto",
        should_trigger_compaction: Callable[[dict[str, Any]], bool] | None = None,
        max_rollback_items: int | None = None,
    ) -> None:
        """Wraps a session. The parameters are the SDK's.

        Args:
            session_id: The session's id, as the SDK shows it.
            underlying_session: The session that stores the items.
            client: The client for `responses.compact`.
            model: The model for `responses.compact`.
            compaction_mode: Whether the request has the items (`input`), or the last response's id (`previous_response_id`).
            should_trigger_compaction: Decides after each turn; by default, from 10 items on that are not the user's.
            max_rollback_items: A compaction by hand of a session with more items than this is refused.

        Raises:
            InvalidError: The session is of another class.
        """
        if type(underlying_session) is not ChatMemorySession:
            raise InvalidError(
                f"invalid underlying_session: a {type(underlying_session).__name__}; "
                "give a ChatMemorySession, or use the SDK's OpenAIResponsesCompactionSession"
            )
        super().__init__(
            session_id,
            underlying_session,
            client=client,
            model=model,
            compaction_mode=compaction_mode,
            should_trigger_compaction=should_trigger_compaction,
            max_rollback_items=max_rollback_items,
        )
        self._stored = underlying_session
        self._to_replace: _CompactionSnapshot | None = None

    async def run_compaction(
        self,
        args: OpenAIResponsesCompactionArgs | None = None,
        *,
        wrapper: RunContextWrapper[Any] | None = None,
    ) -> None:
        """Compacts the session. The runner calls this after each turn.

        Raises:
            ConflictError: In a compaction by hand: the session was modified meanwhile. Nothing was replaced.
        """
        await super().run_compaction(args, wrapper=wrapper)

    async def _run_compaction_locked(
        self,
        args: OpenAIResponsesCompactionArgs | None,
        *,
        wrapper: RunContextWrapper[Any] | None,
        read_items: _ReadItems | None = None,
        prepare_items: Callable[[list[TResponseInputItem]], list[TResponseInputItem]] | None = None,
        read_snapshot: Callable[[int], Awaitable[_CompactionSnapshot | None]] | None = None,
    ) -> None:
        async def read_all(limit: int | None) -> tuple[list[TResponseInputItem], bool]:
            # All items: what is not sent must not be replaced.
            snapshot = await self._stored._get_compaction_snapshot(None)
            assert snapshot is not None
            self._to_replace = snapshot
            return (snapshot.items, snapshot.complete) if read_items is None else await read_items(limit)

        # An automatic compaction takes a snapshot of what the model has just seen, and replaces only that.
        is_automatic = wrapper is not None and getattr(wrapper, "_session_compaction_is_automatic", False)
        try:
            await super()._run_compaction_locked(
                args,
                wrapper=wrapper,
                read_items=read_items if is_automatic else read_all,
                prepare_items=prepare_items,
                read_snapshot=read_snapshot,
            )
        finally:
            self._to_replace = None
            if not is_automatic:
                # After an error, it is unknown what is stored.
                self._compaction_candidate_items = self._session_items = None

    async def _get_all_underlying_session_items(self) -> list[TResponseInputItem]:
        # Without a limit to check, they are only read to restore them after a failed `clear_session` and `add_items`.
        return [] if self.max_rollback_items is None else await super()._get_all_underlying_session_items()

    async def _replace_underlying_session_items(
        self,
        *,
        output_items: list[TResponseInputItem],
        previous_items: list[TResponseInputItem],
        wrapper: RunContextWrapper[Any] | None = None,
    ) -> None:
        snapshot = self._to_replace
        assert snapshot is not None
        if not await _await_mutation(snapshot.replace_suffix(0, output_items)):
            raise ConflictError("compaction not stored: the session was modified while it was compacted; run the compaction again")


_ReadItems = Callable[[int | None], Awaitable[tuple[list[TResponseInputItem], bool]]]
