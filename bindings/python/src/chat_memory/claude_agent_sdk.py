"""A session store for the Claude Agent SDK.

```python
from chat_memory.claude_agent_sdk import ChatMemorySessionStore
from claude_agent_sdk import ClaudeAgentOptions

options = ClaudeAgentOptions(session_store=ChatMemorySessionStore("dynamodb://chats?region=eu-central-1"))
```
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import random
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import quote, unquote
from weakref import WeakValueDictionary

from claude_agent_sdk import (
    SessionKey,
    SessionListSubkeysKey,
    SessionStore,
    SessionStoreEntry,
    SessionStoreListEntry,
    SessionSummaryEntry,
    fold_session_summary,
)

from . import _calls
from ._errors import ConflictError, ContendedError, InvalidError, KeyReusedError, TooLargeError
from ._store import AsyncStore, Store, connection_of
from ._types import History

_ROOT: Final = "claude"
"""The first part of every session's id."""

_SUMMARY: Final = "claude_summary"
"""The field of a record's metadata with the session's summary after the record, as JSON text."""

_TEXT: Final = "claude_entry"
"""The field of a stored entry with the whole entry as JSON text, where the store cannot hold it as it is."""

_MAX_NAME: Final = 240
"""The longest project key or session id in a session's id, in bytes. Both fit into an owner of 512 bytes, which subpaths have."""

_MAX_SESSION: Final = 1000
"""The longest session id of a store, in bytes."""

_MAX_DEPTH: Final = 64
"""Entries that are nested deeper are stored as text, if the store refuses them."""

_ATTEMPTS: Final = 100
"""How often an append is tried while other writers are faster."""

_PAUSE: Final = 0.002
_LONGEST_PAUSE: Final = 0.1
"""How long it pauses in between, at most: longer after each attempt. In seconds."""

_REMEMBERED: Final = 1000
"""For how many sessions the newest summary is remembered."""

_PAGE: Final = 1000
"""How many sessions are listed at a time."""


@dataclass(frozen=True)
class _Newest:
    """The end of a session."""

    position: str
    mtime: int | None
    """When the newest record was written, in epoch milliseconds; `None` if the session is empty."""
    summary: dict[str, Any] | None
    """The `data` of the summary after the newest record; `None` if the session is empty, or something else has written to it."""


class ChatMemorySessionStore(SessionStore):
    """A `SessionStore` of the Claude Agent SDK in a DynamoDB table or a SQLite file.

    An entry is stored once: a batch that the SDK repeats adds only the entries whose `uuid` the session does not contain yet. A batch is
    one write, with the session's summary. Several processes may append to one session.
    """

    def __init__(self, store: str | Store | AsyncStore) -> None:
        """Opens the session store, without a request yet.

        Args:
            store: A store, or a store URL. Session stores with the same URL share one open DynamoDB table, which must have a partition key
                and a sort key.
        """
        self._connection = connection_of(store)
        self._known: OrderedDict[str, _Newest] = OrderedDict()
        self._locks: WeakValueDictionary[tuple[asyncio.AbstractEventLoop, str], asyncio.Lock] = WeakValueDictionary()

    async def append(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        """Appends a batch of entries in one write, without those whose `uuid` the session already contains.

        A batch that is too large for one write is divided. Repeating a batch is safe: only entries without a `uuid` are then stored again.

        Raises:
            InvalidError: The key is invalid.
            ChatMemoryError: The entries could not be stored, or their outcome is unknown; repeat the batch.
        """
        session = _session_of(key)
        if entries:
            async with self._lock(session):
                await self._append(key, session, list(entries))

    async def load(self, key: SessionKey) -> list[SessionStoreEntry] | None:
        """Loads all entries, oldest first; `None` if there are none.

        Raises:
            InvalidError: The key is invalid.
            ChatMemoryError: The entries could not be loaded.
        """
        return _read((await self._load(_session_of(key))).entries) or None

    async def list_sessions(self, project_key: str) -> list[SessionStoreListEntry]:
        """Lists the sessions of a project, with the times of their newest entries. It reads the newest record of each session.

        Raises:
            InvalidError: The project key is invalid.
            ChatMemoryError: The sessions could not be listed.
        """
        return [{"session_id": session_id, "mtime": mtime} for session_id, mtime, _ in await self._list(project_key)]

    async def list_session_summaries(self, project_key: str) -> list[SessionSummaryEntry]:
        """Lists the summaries of the sessions of a project. It reads the newest record of each session.

        Raises:
            InvalidError: The project key is invalid.
            ChatMemoryError: The sessions could not be listed.
        """
        return [
            {"session_id": session_id, "mtime": mtime, "data": summary}
            for session_id, mtime, summary in await self._list(project_key)
            if summary is not None
        ]

    async def delete(self, key: SessionKey) -> None:
        """Deletes a session and its subpaths, or only one subpath if the key has one.

        Raises:
            InvalidError: The key is invalid.
            ChatMemoryError: Not everything could be deleted; repeat the call.
        """
        session = _session_of(key)
        async with self._lock(session):
            if key.get("subpath") is None:
                # The session itself is the last, so that a delete that was interrupted can be repeated from the list of sessions.
                subpaths = await self._owned(session, f"{session}/")
                await asyncio.gather(*(self._connection.acall(_calls.delete(subpath)) for subpath in subpaths))
            self._known.pop(session, None)
            await self._connection.acall(_calls.delete(session))

    async def list_subkeys(self, key: SessionListSubkeysKey) -> list[str]:
        """Lists the subpaths of a session.

        Raises:
            InvalidError: The key is invalid.
            ChatMemoryError: The subpaths could not be listed.
        """
        prefix = f"{_main_of(key)}/"
        return [unquote(session.removeprefix(prefix)) for session in await self._owned(_main_of(key), prefix)]

    def _lock(self, session: str) -> asyncio.Lock:
        """Returns the lock that keeps the appends of this process to a session in the order of the calls."""
        return self._locks.setdefault((asyncio.get_running_loop(), session), asyncio.Lock())

    async def _append(self, key: SessionKey, session: str, entries: list[SessionStoreEntry]) -> None:
        try:
            await self._append_whole(key, session, entries)
        except TooLargeError:
            if len(entries) == 1:
                raise
            half = len(entries) // 2
            await self._append(key, session, entries[:half])
            await self._append(key, session, entries[half:])

    async def _append_whole(self, key: SessionKey, session: str, entries: list[SessionStoreEntry]) -> None:
        stored = [_stored(entry) for entry in entries]
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await self._append_once(key, session, entries, stored)
            except ConflictError:
                self._known.pop(session, None)
                await asyncio.sleep(random.uniform(0, min(_PAUSE * attempt, _LONGEST_PAUSE)))
            except KeyReusedError:
                # The `uuid` of an entry is known, with another body. The SDK expects that such an entry is ignored.
                entries = _new(entries, (await self._load(session)).entries)
                if not entries:
                    return
                stored = [_stored(entry) for entry in entries]
            except InvalidError:
                careful = [entry if _is_storable(entry) else _as_text(entry) for entry in stored]
                if careful == stored:
                    raise
                stored = careful
        raise ContendedError(
            f"append to session {key['session_id']} contended: other writers came first in {_ATTEMPTS} attempts; repeat the batch",
            retryable=True,
        )

    async def _append_once(self, key: SessionKey, session: str, entries: list[SessionStoreEntry], stored: list[dict[str, Any]]) -> None:
        if key.get("subpath") is not None:
            await self._connection.acall(_calls.append_new(session, stored, owner=_main_of(key)))
            return
        newest = await self._newest_for(key, session)
        summary = _fold(newest.summary, key, entries)
        # The position is the condition under which the summary is right.
        appended = await self._connection.acall(
            _calls.append_new(
                session,
                stored,
                owner=_name("project_key", key["project_key"]),
                expected=newest.position,
                metadata={_SUMMARY: json.dumps(summary)},
            )
        )
        self._known.pop(session, None)
        if appended.seq is not None:
            self._known[session] = _Newest(appended.position, None, summary)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)

    async def _newest_for(self, key: SessionKey, session: str) -> _Newest:
        """Returns the end of a session, with the summary up to there."""
        newest = self._known.get(session) or await self._newest(session)
        if newest.summary is None and newest.mtime is not None:
            history = await self._load(session)
            return _Newest(history.position, newest.mtime, _fold(None, key, _read(history.entries)))
        return newest

    async def _newest(self, session: str) -> _Newest:
        history = await self._connection.acall(_calls.load(session, records=1))
        record = history.records[-1] if history.records else None
        # What remains of a deleted session is a record without entries.
        if record is None or (history.complete and not record.entries):
            return _Newest(history.position, None, None)
        written = record.created_at
        return _Newest(history.position, 0 if written is None else round(written.timestamp() * 1000), _summary_in(record.metadata))

    async def _load(self, session: str) -> History:
        return await self._connection.acall(_calls.load(session))

    async def _list(self, project_key: str) -> list[tuple[str, int, dict[str, Any] | None]]:
        """Lists the sessions of a project that are not empty: their ids, when they were last written to, and their summaries."""
        project = _name("project_key", project_key)
        prefix = f"{_ROOT}/{project}/"
        sessions = await self._owned(project, prefix)
        newest = await asyncio.gather(*(self._newest(session) for session in sessions))
        return [
            (unquote(session.removeprefix(prefix)), found.mtime, found.summary)
            for session, found in zip(sessions, newest)
            if found.mtime is not None
        ]

    async def _owned(self, owner: str, prefix: str) -> list[str]:
        """Lists the sessions of an owner whose ids begin with `prefix`."""
        sessions: list[str] = []
        after: str | None = None
        while True:
            page = await self._connection.acall(_calls.session_page(owner, limit=_PAGE, after=after))
            sessions += [info.id for info in page if info.id.startswith(prefix)]
            after = page.next
            if after is None:
                return sessions


def _name(what: str, name: str) -> str:
    """Returns a project key or a session id as a part of a session's id: without `/` and control characters, and of limited length."""
    part = _escaped(what, name, "/")
    if len(part.encode()) <= _MAX_NAME:
        return part
    if what == "project_key":
        # No other name contains "%-".
        return f"%-{hashlib.sha256(name.encode()).hexdigest()}"
    raise _too_long(what, part, _MAX_NAME)


def _escaped(what: str, name: object, unsafe: str = "") -> str:
    """Percent-encodes control characters, `%` and `unsafe`."""
    if not isinstance(name, str) or not name:
        raise InvalidError(f"invalid {what} {name!r}: expected a string that is not empty")
    if not _is_storable(name):
        raise InvalidError(f"invalid {what} {name!r}: half of a character (a lone surrogate) cannot be stored; give whole characters")
    return re.sub(rf"[\x00-\x1f\x7f-\x9f%{unsafe}]", lambda found: quote(found[0], safe=""), name)


def _too_long(what: str, part: str, limit: int) -> InvalidError:
    return InvalidError(f"invalid {what}: it has {len(part.encode())} bytes, and the limit is {limit}; give a shorter one")


def _main_of(key: SessionKey | SessionListSubkeysKey) -> str:
    """Returns the id of the store's session with the main transcript. It is also the owner of those with the subpaths."""
    return f"{_ROOT}/{_name('project_key', key['project_key'])}/{_name('session_id', key['session_id'])}"


def _session_of(key: SessionKey) -> str:
    """Returns the id of the store's session for a key."""
    main = _main_of(key)
    if key.get("subpath") is None:
        return main
    subpath = _escaped("subpath", key.get("subpath"))
    limit = _MAX_SESSION - len(f"{main}/".encode())
    if len(subpath.encode()) > limit:
        raise _too_long("subpath", subpath, limit)
    return f"{main}/{subpath}"


def _fold(data: dict[str, Any] | None, key: SessionKey, entries: list[SessionStoreEntry]) -> dict[str, Any]:
    before: SessionSummaryEntry | None = None if data is None else {"session_id": key["session_id"], "mtime": 0, "data": data}
    return fold_session_summary(before, key, entries)["data"]


def _summary_in(metadata: dict[str, Any] | None) -> dict[str, Any] | None:
    text: object = None if metadata is None else metadata.get(_SUMMARY)
    return cast(dict[str, Any], json.loads(text)) if isinstance(text, str) else None


def _uuid(entry: Mapping[str, Any]) -> str | None:
    uuid: object = entry.get("uuid")
    return uuid if isinstance(uuid, str) and uuid else None


def _stored(entry: SessionStoreEntry) -> dict[str, Any]:
    """Returns an entry as it is stored: as it is, unless the store would identify it by its `id`, or it looks like a stored text."""
    fields = cast(dict[str, Any], entry)
    return _as_text(fields) if "id" in fields or _TEXT in fields else fields


def _as_text(fields: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {name: fields[name] for name in ("type", "uuid") if name in fields and _is_storable(fields[name])}
    return {**shown, _TEXT: json.dumps(fields)}


def _read(stored: list[dict[str, Any]]) -> list[SessionStoreEntry]:
    """Returns entries as they were appended. Of those with the same `uuid`, which the store recognizes for a day, the first counts."""
    entries: list[SessionStoreEntry] = []
    seen: set[str] = set()
    for fields in stored:
        uuid = _uuid(fields)
        if uuid is None or uuid not in seen:
            text: object = fields.get(_TEXT)
            entries.append(cast(SessionStoreEntry, json.loads(text) if isinstance(text, str) else fields))
        if uuid is not None:
            seen.add(uuid)
    return entries


def _new(entries: list[SessionStoreEntry], stored: list[dict[str, Any]]) -> list[SessionStoreEntry]:
    """Returns the entries without a `uuid`, and those whose `uuid` is new."""
    seen = {_uuid(fields) for fields in stored}
    new: list[SessionStoreEntry] = []
    for entry in entries:
        uuid = _uuid(entry)
        if uuid is None or uuid not in seen:
            new.append(entry)
            seen.add(uuid)
    return new


def _is_storable(value: object, depth: int = 0) -> bool:
    """Returns whether the store holds a value exactly: it refuses longer integers, halves of characters and very deep nesting."""
    if isinstance(value, str):
        return re.search("[\ud800-\udfff]", value) is None
    if isinstance(value, int):
        return -(2**63) <= value < 2**64
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, (list, dict)) and depth >= _MAX_DEPTH:
        return False
    if isinstance(value, dict):
        return all(_is_storable(name) and _is_storable(item, depth + 1) for name, item in cast(dict[object, object], value).items())
    if isinstance(value, list):
        return all(_is_storable(item, depth + 1) for item in cast(list[object], value))
    return value is None
