"""A conversation store for Pydantic AI.

```python
from chat_memory.pydantic_ai import ChatMemoryConversationStore

store = ChatMemoryConversationStore("dynamodb://chats")
conversation = await store.load("user-42") or Conversation(conversation_id="user-42")
result = await agent.run("Where to?", conversation=conversation)
await store.save(result)
```
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar

from pydantic import TypeAdapter
from pydantic_ai.conversation_store import ConversationConflict, ConversationEntry, ConversationRecord, ConversationStore
from pydantic_ai.messages import ModelMessage

from . import _calls
from ._calls import Call
from ._errors import ConflictError, InvalidError
from ._pydantic_messages import FIELD, dump, from_entries, from_others, to_entries
from ._store import AsyncStore, Store, connection_of
from ._types import Entry, Record, SessionInfo

T = TypeVar("T")

_RECORD = "pydantic_ai.conversation"
"""The type of the entry with the conversation's record. Each record that is written here has one."""

_DELETED = "pydantic_ai.deleted"
"""The type of the only entry of a conversation that is being deleted."""

_RECORDS: TypeAdapter[ConversationRecord] = TypeAdapter(ConversationRecord)

_PAGE = 100
"""How many messages to read at a time where it is unknown how many are needed."""

_ACTIVITY_LAG = timedelta(hours=2)
"""How old a listed time of the last activity may be: an hour on DynamoDB, and another one for clocks that differ."""

_UNKNOWN = datetime.fromtimestamp(0, timezone.utc)
"""The time of messages of other programs, if the store does not know it."""

_MAX_PLACES = 1024
"""How many revisions a store remembers the place of."""


class _EntryId(str):
    """The id of an entry, which knows the session that contains the entry."""

    session: str

    def __new__(cls, entry_id: str, session: str) -> _EntryId:
        self = super().__new__(cls, entry_id)
        self.session = session
        return self

    def __reduce__(self) -> tuple[type[_EntryId], tuple[str, str]]:
        return _EntryId, (str(self), self.session)


@dataclass
class _Entry:
    """An entry as it is stored, with its message still to be read."""

    id: str
    parent_id: str | None
    message: Callable[[], ModelMessage]
    is_shown: bool = True
    """Whether it is in the conversation's history, and not in a branch that the conversation left."""


@dataclass
class _Log:
    """What was read of a session."""

    position: str
    is_complete: bool
    records: list[tuple[int, list[_Entry]]] = field(default_factory=list[tuple[int, list[_Entry]]])
    """The entries of each record, with its number, oldest first."""
    entries: dict[str, _Entry] = field(default_factory=dict[str, _Entry])
    state: Mapping[str, Any] | None = None
    """The conversation's record, or the mark that it is being deleted."""
    head_id: str | None = None
    others: tuple[int, datetime] | None = None
    """The number and the time of the last record, if another program wrote it."""
    tools: dict[str, str] = field(default_factory=dict[str, str])
    """The names of tools by the ids of their calls, in messages of other programs."""

    @property
    def exists(self) -> bool:
        """Whether there is a conversation."""
        return bool(self.entries) if self.state is None else self.state["type"] == _RECORD

    def add(self, record: Record) -> None:
        """Adds the next record."""
        state, entries = _state_of(record), list[_Entry]()
        at = next((at for at in reversed(record.sent_at) if at), record.created_at) or _UNKNOWN
        if state is None and record.messages and not self.exists:
            self.state = self.head_id = None
        kept, n = record.entries, 0
        while n < len(kept):
            own: Any = kept[n].get(FIELD)
            group = kept[n : n + (1 if own is None else own["entries"])]
            sent_at = record.sent_at[n] if record.others is None else None
            n += len(group)
            if own is not None and len(group) == own["entries"]:
                entries.append(_stored(own, group))
            elif state is None and _is_message(group[0]):
                # Another program wrote it, or it is what is left of one of our messages.
                message = from_others(group[0], sent_at or at, self.tools)
                entries.append(_read_entry(f"record-{record.seq}-{len(entries)}", self.head_id, message))
            if state is None and entries and entries[-1].is_shown:
                self.head_id, self.others = entries[-1].id, (record.seq, at)
        if state is not None:
            self.state, self.others, self.head_id = state, None, state.get("head_id")
        self.records.append((record.seq, entries))
        self.entries.update((entry.id, entry) for entry in entries)

    def history(self, head_id: str | None, limit: int | None = None) -> tuple[list[_Entry], bool]:
        """Returns the entries up to `head_id` that were read, and whether these are all of them."""
        found: list[_Entry] = []
        while head_id is not None and (limit is None or len(found) < limit):
            entry = self.entries.get(head_id)
            if entry is None:
                return found[::-1], False
            found.append(entry)
            head_id = entry.parent_id
        return found[::-1], True


class ChatMemoryConversationStore(ConversationStore):
    """Stores conversations in a DynamoDB table, a SQLite file or memory: `ChatMemoryConversationStore("sqlite:chat.db")`.

    A conversation is the session with its id; its scope is the session's owner. Each save is one write, which is refused if another writer
    was faster. A fork copies the history up to its point, so `delete` erases all messages of a conversation and none of its forks.

    Other programs read the conversation's history as chat messages, without the branches that it left. What they append to the session
    becomes part of the conversation.
    """

    def __init__(self, store: str | Store | AsyncStore) -> None:
        """Opens the store, without a request yet.

        Args:
            store: A store, or a store URL. Conversation stores with the same URL share one open DynamoDB table.
        """
        self._connection = connection_of(store)
        # A revision is one state of a session, so it has one position and one head.
        self._places: OrderedDict[str, tuple[str, str | None]] = OrderedDict()

    def __repr__(self) -> str:
        return f"<ChatMemoryConversationStore {self._connection!r}>"

    async def read_record(self, conversation_id: str) -> ConversationRecord | None:
        """Returns the record for a conversation, or `None` if the store does not have it."""
        return await self._record_of(conversation_id, await self._load_log(conversation_id, last=1))

    async def read_records(self, *, scope: str | None = None, limit: int | None = None) -> Sequence[ConversationRecord]:
        """Returns the records, most recently saved first.

        Args:
            scope: Only those with this scope. Without one, all sessions are read: on DynamoDB the whole table.
            limit: At most n records.
        """
        found: list[ConversationRecord] = []
        after: str | None = None
        while limit != 0:
            call = _calls.all_sessions_page(after=after) if scope is None else _calls.session_page(scope, after=after, recent=True)
            page = await self._call(call)
            records = await asyncio.gather(*(self.read_record(info.id) for info in page.sessions))
            found += [record for record in records if record is not None and scope in (None, record.scope)]
            found.sort(key=lambda record: record.updated_at, reverse=True)
            after = page.next
            is_recent = scope is not None and page.order == "recent"
            if after is None or (is_recent and limit is not None and _are_newest(found[:limit], limit, page.sessions[-1:])):
                break
        return found[:limit]

    async def write_record(
        self,
        record: ConversationRecord,
        *,
        new_entries: Sequence[ConversationEntry] = (),
        expected_revision: str | None,
    ) -> None:
        """Stores a record and new entries in one write, in place of the record with `expected_revision`.

        Raises:
            ConversationConflict: If the conversation was saved or deleted since, exists already, or its history is not in the store.
        """
        start = new_entries[0].parent_id if new_entries else record.head_id
        place = None if expected_revision is None else self._places.get(_key(record.conversation_id, expected_revision))
        try:
            if expected_revision is None:
                await self._write_first(record, new_entries, start)
            elif place is not None and place[1] == start:
                await self._write_next(record, new_entries, place[0])
            else:
                await self._write_moved(record, new_entries, expected_revision)
        except ConflictError:
            raise ConversationConflict(record.conversation_id) from None

    async def delete_record(self, conversation_id: str, *, expected_revision: str) -> None:
        """Deletes a conversation: erases all of its messages, and removes it from the list. Forks of it are not changed.

        Raises:
            ConversationConflict: If it was saved, replaced or deleted since.
        """
        log = await self._load_log(conversation_id, last=1)
        record = await self._record_of(conversation_id, log)
        if record is None or record.revision != expected_revision:
            raise ConversationConflict(conversation_id)
        # The engine's delete is unconditional, so this refuses it, and then refuses every save of what was deleted.
        mark = {"type": _DELETED, "scope": record.scope}
        try:
            await self._call(_calls.append_entries(conversation_id, [mark], expected=log.position, replace=True, retry=True))
        except ConflictError:
            raise ConversationConflict(conversation_id) from None
        await self._call(_calls.delete(conversation_id))

    async def read_entry(self, entry_id: str) -> ConversationEntry:
        """Returns an entry. Its id comes from a record or another entry that this store returned: any other text does not tell its
        conversation.

        Raises:
            LookupError: If the entry does not exist, or the id is any other text.
        """
        return (await self.read_history(entry_id, limit=1))[-1]

    async def read_history(self, head_id: str | None, *, limit: int | None = None) -> list[ConversationEntry]:
        """Returns the entries up to `head_id`, oldest first, or only the last `limit` of them. The id is as for `read_entry`.

        Raises:
            LookupError: If the entry does not exist, or the id is any other text.
        """
        if head_id is None or limit == 0:
            return []
        if not isinstance(head_id, _EntryId):
            raise LookupError(f"entry {head_id!r} not found: its id does not tell the conversation; use load_entries(conversation_id)")
        last = limit
        while True:
            log = await self._load_log(head_id.session, last=last)
            found, is_whole = log.history(head_id, limit)
            if is_whole or log.is_complete or last is None:
                break
            last = max(2 * last, _PAGE)
        if not found:
            raise LookupError(f"entry {str(head_id)!r} not found: conversation {head_id.session!r} does not contain it; load it again")
        return [_given(entry, head_id.session) for entry in found]

    async def _call(self, call: Call[T]) -> T:
        try:
            return await self._connection.acall(call)
        except InvalidError as error:
            text = str(error)
            for engine, here in (("a session id", "a conversation_id"), ("an owner", "a scope")):
                text = here + text.removeprefix(engine) if text.startswith(engine) else text
            error.args = (text,)
            raise

    async def _load_log(self, session: str, *, last: int | None = None) -> _Log:
        """Reads a session, or at least its last messages and the newest record of the conversation."""
        history = await self._call(_calls.load(session, last=last))
        records, older, position = history.records, history.older, history.position
        # If others wrote the oldest record that was read, the entry before it is the head of an older one.
        while older is not None and not (records and _state_of(records[0])):
            history = await self._call(_calls.load(session, last=_PAGE, before=older))
            records, older = [*history.records, *records], history.older
        log = _Log(position, is_complete=older is None)
        for record in records:
            log.add(record)
        return log

    async def _record_of(self, session: str, log: _Log) -> ConversationRecord | None:
        """Returns the record of a session that was read, and remembers the place of its revision."""
        if not log.exists:
            return None
        if log.state is None:
            info = await self._call(_calls.session(session))
            record = ConversationRecord(conversation_id=session, head_id=None, scope=info.owner if info else None, revision="")
        else:
            kept: Any = log.state["record"]
            record = _RECORDS.validate_json(kept if isinstance(kept, str) else json.dumps(kept))
        if log.others is not None:
            number, record.updated_at = log.others
            record.revision += f"+{number}"
        record.head_id = _id_in(session, log.head_id)
        record.branches = [_EntryId(tip, session) for tip in record.branches]
        self._places[_key(session, record.revision)] = log.position, log.head_id
        if len(self._places) > _MAX_PLACES:
            self._places.popitem(last=False)
        return record

    async def _write_next(self, record: ConversationRecord, new_entries: Iterable[ConversationEntry], position: str) -> None:
        def call(entries: list[Entry]) -> Call[Any]:
            return _calls.append_entries(record.conversation_id, entries, expected=position, retry=True)

        await self._write_entries(record, [_new(entry) for entry in new_entries], call)

    async def _write_first(self, record: ConversationRecord, new_entries: Iterable[ConversationEntry], start: str | None) -> None:
        session = record.conversation_id
        log = await self._load_log(session, last=1)
        if log.exists:
            raise ConversationConflict(session)
        if log.state is not None and log.state["scope"] != record.scope:
            # Its deletion was interrupted: the session is still listed with the other owner.
            await self._call(_calls.delete(session))
            log = await self._load_log(session, last=1)
        if start is not None and not isinstance(start, _EntryId) and record.forked_from is not None:
            start = _EntryId(start, record.forked_from)
        try:
            copied = await self.read_history(start)
        except LookupError:
            raise ConversationConflict(session) from None

        def call(entries: list[Entry]) -> Call[Any]:
            replace = log.state is not None
            return _calls.append_entries(session, entries, expected=log.position, owner=record.scope, replace=replace, retry=True)

        await self._write_entries(record, [_new(entry) for entry in (*copied, *new_entries)], call)

    async def _write_moved(self, record: ConversationRecord, new_entries: Iterable[ConversationEntry], expected_revision: str) -> None:
        """Makes another line of entries the history. The session is rewritten from the first record on that shows an entry which is no
        longer in the history, or does not show one that now is."""
        session = record.conversation_id
        log = await self._load_log(session)
        current = await self._record_of(session, log)
        if current is None or current.revision != expected_revision:
            raise ConversationConflict(session)
        log.entries.update((entry.id, _new(entry)) for entry in new_entries)
        history, _ = log.history(record.head_id)
        if record.head_id is not None and not history:
            raise ConversationConflict(session)
        ids = {entry.id for entry in history}
        changed = (n for n, (_, entries) in enumerate(log.records) if any(entry.is_shown != (entry.id in ids) for entry in entries))
        first = next(changed, len(log.records))
        unchanged = {entry.id for _, entries in log.records[:first] for entry in entries}
        left = [entry for _, entries in log.records[first:] for entry in entries if entry.id not in ids]
        for entry in log.entries.values():
            entry.is_shown = entry.id in ids

        def call(entries: list[Entry]) -> Call[Any]:
            if first == len(log.records):
                return _calls.append_entries(session, entries, expected=log.position, retry=True)
            return _calls.rewind_to(session, log.records[first][0], entries=entries, expected=log.position)

        await self._write_entries(record, [*left, *(entry for entry in history if entry.id not in unchanged)], call)

    async def _write_entries(self, record: ConversationRecord, entries: Sequence[_Entry], call: Callable[[list[Entry]], Call[Any]]) -> None:
        dumped = [(dump(entry.message()), entry) for entry in entries]

        def stored(as_text: bool) -> list[Entry]:
            text = _RECORDS.dump_json(record).decode()
            state = {"type": _RECORD, "head_id": record.head_id, "record": text if as_text else json.loads(text)}
            return [*(one for message, entry in dumped for one in _entries_of(message, entry, as_text)), state]

        try:
            await self._call(call(stored(as_text=False)))
        except InvalidError:
            # JSON texts hold what the engine's values do not: integers beyond 64 bits, and any depth.
            await self._call(call(stored(as_text=True)))


def _state_of(record: Record) -> Mapping[str, Any] | None:
    """Returns the conversation's record, or the mark of a deletion; `None` if another program wrote this."""
    last = record.entries[-1] if record.entries else {}
    return last if last.get("type") in (_RECORD, _DELETED) else None


def _is_message(entry: Entry) -> bool:
    content = entry.get("content")
    return entry.get("role") in ("system", "developer", "user", "assistant", "tool") and (content is None or isinstance(content, (str, list)))


def _stored(own: Mapping[str, Any], entries: Sequence[Entry]) -> _Entry:
    return _Entry(own["id"], own["parent_id"], lambda: from_entries(entries), own["in_history"])


def _new(entry: ConversationEntry) -> _Entry:
    return _read_entry(entry.id, entry.parent_id, entry.message)


def _read_entry(entry_id: str, parent_id: str | None, message: ModelMessage) -> _Entry:
    return _Entry(entry_id, parent_id, lambda: message)


def _given(entry: _Entry, session: str) -> ConversationEntry:
    return ConversationEntry(id=_EntryId(entry.id, session), parent_id=_id_in(session, entry.parent_id), message=entry.message())


def _entries_of(message: dict[str, Any], entry: _Entry, as_text: bool) -> list[dict[str, Any]]:
    own = {"id": entry.id, "parent_id": entry.parent_id, "in_history": entry.is_shown}
    return to_entries(message, own, hidden=not entry.is_shown, as_text=as_text)


def _id_in(session: str, entry_id: str | None) -> _EntryId | None:
    return None if entry_id is None else _EntryId(entry_id, session)


def _key(session: str, revision: str) -> str:
    return f"{revision} {session}"


def _are_newest(found: Sequence[ConversationRecord], limit: int, last: Sequence[SessionInfo]) -> bool:
    """Whether no session after the `last` one of a page can have a record that is newer than these."""
    at = last[0].last_at if last else None
    return len(found) == limit and at is not None and at + _ACTIVITY_LAG < found[-1].updated_at
