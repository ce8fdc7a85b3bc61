"""Sessions and storage for Strands Agents.

```python
from chat_memory.strands import ChatMemorySessionManager
from strands import Agent

agent = Agent(session_manager=ChatMemorySessionManager("user-42", "dynamodb://chats"))
```

`ChatMemorySessionManager` stores each message as one record of a session. `ChatMemoryStorage`, for strands' `SnapshotSessionManager`,
stores the changes of each snapshot.
"""

from __future__ import annotations

import asyncio
import builtins
import copy
import json
import re
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from strands.session import RepositorySessionManager, SessionRepository
from strands.storage import Storage
from strands.storage import storage as _strands_storage
from strands.types.exceptions import SessionException, StorageError
from strands.types.session import Session, SessionAgent, SessionMessage

from . import _calls, _values
from ._calls import Call
from ._errors import ChatMemoryError, ConflictError
from ._retry import ATTEMPTS, pause_s
from ._store import AsyncStore, Store, connection_of
from ._types import History, Record
from ._values import Value

if TYPE_CHECKING:
    from strands.multiagent import MultiAgentBase

T = TypeVar("T")

_DEFAULT_AGENT = "default"
"""The id that strands gives to an agent without one."""

_OWNER = "strands"
"""The owner of sessions that contain no conversation."""

_MAX_KNOWN = 256
"""Of how many sessions or values the version is cached. Beyond that, it is read again."""


class StaleWriteError(StorageError):
    """The value was modified since this storage read it. Nothing was written."""


class _Versions(OrderedDict[str, T]):
    """What is known of sessions or values: a limited number of them, those that were used last."""

    def keep(self, name: str, version: T) -> T:
        self.pop(name, None)
        self[name] = version
        while len(self) > _MAX_KNOWN:
            self.popitem(last=False)
        return version

    def one(self, name: str, make: Callable[[], T]) -> T:
        found = self.get(name)
        return self.keep(name, make() if found is None else found)


class ChatMemorySessionRepository(SessionRepository):
    """The sessions of a store, for strands' `RepositorySessionManager`. Several managers may share it.

    The messages of an agent are a session of the store: that of the agent `default` has the id of strands' session, that of another agent
    `SESSION/AGENT`. The states of all agents are in `SESSION/strands/state`.
    """

    def __init__(self, store: str | Store | AsyncStore, *, owner: str | None = None) -> None:
        """Opens the repository, without a request yet.

        Args:
            store: A store, or a store URL. Repositories with the same URL share one open DynamoDB table.
            owner: The owner of new conversations.
        """
        self._connection = connection_of(store)
        self._owner = owner
        self._states: _Versions[Value] = _Versions()
        self._ends: _Versions[tuple[str, int]] = _Versions()
        """The position of each conversation, and the id of its next message."""
        self._new: set[str] = set()
        """The conversations of agents that were created here and have no message yet."""

    def create_session(self, session: Session, **kwargs: Any) -> Session:
        """Creates a session.

        Raises:
            SessionException: It exists.
        """
        known = self._read_state(session.session_id)
        if known.data is None:
            try:
                self._write_state(session.session_id, known, {"session": session.to_dict(), "agents": {}, "multi_agents": {}})
                return session
            except ConflictError:
                pass
        raise SessionException(f"cannot create session {session.session_id!r}: it exists; read it, or use another session_id")

    def read_session(self, session_id: str, **kwargs: Any) -> Session | None:
        """Returns a session; `None` if there is none."""
        known = self._read_state(session_id)
        return None if known.data is None else Session.from_dict(_state(known)["session"])

    def delete_session(self, session_id: str, **kwargs: Any) -> None:
        """Deletes a session with everything in it.

        Raises:
            SessionException: There is none.
        """
        known = self._read_state(session_id)
        if known.data is None:
            raise SessionException(f"cannot delete session {session_id!r}: it does not exist; check the session_id")
        for agent_id in {_DEFAULT_AGENT, *_state(known)["agents"]}:
            self._call(_calls.delete(_conversation(session_id, agent_id)))
            self._ends.pop(_conversation(session_id, agent_id), None)
        # Last, so that a delete that was interrupted can be repeated.
        self._call(_calls.delete(_state_of(session_id)))
        self._states.pop(session_id, None)

    def create_agent(self, session_id: str, session_agent: SessionAgent, **kwargs: Any) -> None:
        """Adds an agent to a session, in place of one with its id."""
        name = _conversation(session_id, session_agent.agent_id)

        def created(previous: dict[str, Any] | None) -> dict[str, Any]:
            if previous is None:
                self._new.add(name)
            return session_agent.to_dict()

        self._change(session_id, "agents", session_agent.agent_id, created)

    def read_agent(self, session_id: str, agent_id: str, **kwargs: Any) -> SessionAgent | None:
        """Returns an agent; `None` if there is none."""
        known = self._read_state(session_id)
        found = None if known.data is None else _state(known)["agents"].get(agent_id)
        return None if found is None else SessionAgent.from_dict(found)

    def update_agent(self, session_id: str, session_agent: SessionAgent, **kwargs: Any) -> None:
        """Stores an agent's state, if it has changed.

        Raises:
            SessionException: There is no such agent, or another process has changed it since this repository read it.
        """

        def changed(previous: dict[str, Any] | None) -> dict[str, Any]:
            if previous is None:
                raise SessionException(
                    f"cannot update agent {session_agent.agent_id!r} of session {session_id!r}: it does not exist; create it first"
                )
            session_agent.created_at = previous["created_at"]
            agent = session_agent.to_dict()
            return previous if _same({**agent, "updated_at": previous["updated_at"]}, previous) else agent

        self._change(session_id, "agents", session_agent.agent_id, changed)

    def create_message(self, session_id: str, agent_id: str, session_message: SessionMessage, **kwargs: Any) -> None:
        """Adds a message at the end of an agent's conversation.

        Raises:
            SessionException: Its `message_id` is not the next one, as when another process has continued the conversation.
        """
        name = _conversation(session_id, agent_id)
        at = session_message.message_id
        known = self._ends.get(name)
        for _ in range(ATTEMPTS):
            position, following = known or self._read_end(name)
            # What is there of an agent whose state is gone, as when it has expired, is not continued.
            replaced = at == 0 < following and name in self._new
            if at != following and not replaced:
                if known is not None:
                    # Another process may have deleted the conversation, or taken messages back.
                    known = None
                    continue
                self._ends.keep(name, (position, following))
                raise SessionException(
                    f"cannot add message {at} of agent {agent_id!r} to session {session_id!r}: the next message_id is {following}; "
                    "if another process has continued the conversation, create the agent again, which restores it"
                )
            try:
                appended = self._call(
                    _calls.append_entries(
                        name, _entries([session_message]), expected=position, owner=self._owner, replace=replaced, retry=True
                    )
                )
                self._new.discard(name)
                self._ends.keep(name, (appended.position, at + 1))
                return
            except ConflictError:
                known = None
            except ChatMemoryError:
                self._ends.pop(name, None)
                raise
        raise SessionException(f"cannot add message {at} to session {session_id!r}: other writers were faster; retry")

    def read_message(self, session_id: str, agent_id: str, message_id: int, **kwargs: Any) -> SessionMessage | None:
        """Returns a message; `None` if there is none. Reads the conversation from it on."""
        history = self._call(_calls.load(_conversation(session_id, agent_id), since=max(message_id, 0)))
        found = [message for record in history.records for message in _messages(record) if message.message_id == message_id]
        return found[0] if found else None

    def update_message(self, session_id: str, agent_id: str, session_message: SessionMessage, **kwargs: Any) -> None:
        """Replaces a message: takes back its record and what follows, and appends that again. The old text is hidden, and erased when the
        session is deleted.

        Raises:
            SessionException: There is no such message.
        """
        name = _conversation(session_id, agent_id)
        at = session_message.message_id
        for attempt in range(ATTEMPTS):
            history = self._call(_calls.load(name, since=max(at, 0)))
            rest = [(record.seq, message) for record in history.records for message in _messages(record)]
            found = [(seq, message) for seq, message in rest if message.message_id == at]
            if not found:
                raise SessionException(f"cannot update message {at} of agent {agent_id!r} of session {session_id!r}: it does not exist")
            seq, previous = found[0]
            session_message.created_at = previous.created_at
            messages = [session_message if message.message_id == at else message for number, message in rest if number >= seq]
            try:
                appended = self._call(_calls.rewind_to(name, seq, entries=_entries(messages), expected=history.position))
                self._ends.keep(name, (appended.position, messages[-1].message_id + 1))
                return
            except ConflictError:
                if attempt == ATTEMPTS - 1:
                    raise
                time.sleep(pause_s(attempt))

    def list_messages(
        self, session_id: str, agent_id: str, limit: int | None = None, offset: int = 0, **kwargs: Any
    ) -> list[SessionMessage]:
        """Returns an agent's messages, `limit` of them from number `offset` on; reads the conversation from there on.

        Raises:
            SessionException: There is no such agent.
        """
        name = _conversation(session_id, agent_id)
        # A message's number is never above that of its record.
        history = self._call(_calls.load(name, since=offset) if offset > 0 else _calls.load(name))
        messages = [message for record in history.records for message in _messages(record)]
        if messages:
            self._ends.keep(name, (history.position, messages[-1].message_id + 1))
        elif self.read_agent(session_id, agent_id) is None:
            raise SessionException(f"cannot list messages of agent {agent_id!r} of session {session_id!r}: it does not exist")
        messages = [message for message in messages if message.message_id >= offset]
        return messages if limit is None else messages[:limit]

    def create_multi_agent(self, session_id: str, multi_agent: MultiAgentBase, **kwargs: Any) -> None:
        """Stores the state of a graph or swarm in a session, in place of one with its id."""
        self._change(session_id, "multi_agents", multi_agent.id, lambda _: multi_agent.serialize_state())

    def read_multi_agent(self, session_id: str, multi_agent_id: str, **kwargs: Any) -> dict[str, Any] | None:
        """Returns the state of a graph or swarm; `None` if there is none."""
        known = self._read_state(session_id)
        found: dict[str, Any] | None = None if known.data is None else _state(known)["multi_agents"].get(multi_agent_id)
        return found

    def update_multi_agent(self, session_id: str, multi_agent: MultiAgentBase, **kwargs: Any) -> None:
        """Stores the state of a graph or swarm, if it has changed.

        Raises:
            SessionException: There is none, or another process has changed it since this repository read it.
        """

        def changed(previous: dict[str, Any] | None) -> dict[str, Any]:
            if previous is None:
                raise SessionException(f"cannot update {multi_agent.id!r} of session {session_id!r}: it does not exist; create it first")
            return multi_agent.serialize_state()

        self._change(session_id, "multi_agents", multi_agent.id, changed)

    def _change(self, session_id: str, kind: str, name: str, change: Callable[[dict[str, Any] | None], dict[str, Any]]) -> None:
        """Changes one state in a session. Changes of others at the same time are kept."""
        known = self._states.get(session_id)
        if known is None or known.data is None:
            known = self._read_state(session_id)
        for _ in range(ATTEMPTS):
            if known.data is None:
                raise SessionException(f"cannot store the state of {name!r}: session {session_id!r} does not exist; create it first")
            state = _state(known)
            previous = state[kind].get(name)
            changed = change(previous)
            if _same(changed, previous) and not known.is_due:
                return
            state[kind][name] = changed
            try:
                self._write_state(session_id, known, state)
                return
            except ConflictError:
                known = self._states.get(session_id) or self._read_state(session_id)
                current = None if known.data is None else _state(known)[kind].get(name)
                if not _same(current, previous):
                    raise SessionException(
                        f"cannot store the state of {name!r} in session {session_id!r}: it was modified since it was read; "
                        "create the agent again, which restores it"
                    ) from None
        raise SessionException(f"cannot store the state of {name!r} in session {session_id!r}: other writers were faster; retry")

    def _read_state(self, session_id: str) -> Value:
        _check(session_id, "session_id")
        return self._states.keep(session_id, _values.run(self._connection, _values.read(_state_of(session_id))))

    def _write_state(self, session_id: str, known: Value, state: dict[str, Any]) -> None:
        data = json.dumps(state, ensure_ascii=False).encode()
        name = _state_of(session_id)
        try:
            written = _values.run(self._connection, _values.write(name, known, data, owner=_OWNER, title=name))
        except ChatMemoryError:
            # Another thread may have written it, and knows the newest version.
            if self._states.get(session_id) is known:
                self._states.pop(session_id)
            raise
        self._states.keep(session_id, written)

    def _read_end(self, name: str) -> tuple[str, int]:
        page: History = self._call(_calls.load(name, last=1))
        position = page.position
        while True:
            messages = [message for record in page.records for message in _messages(record)]
            if messages or page.older is None:
                return position, messages[-1].message_id + 1 if messages else 0
            page = self._call(_calls.load(name, last=1, before=page.older))

    def _call(self, call: Call[T]) -> T:
        return self._connection.call(call)


class ChatMemorySessionManager(RepositorySessionManager):
    """Stores the conversation and the state of agents: `Agent(session_manager=ChatMemorySessionManager("user-42", "dynamodb://chats"))`."""

    def __init__(self, session_id: str, store: str | Store | AsyncStore, *, owner: str | None = None, **kwargs: Any) -> None:
        """Opens a session, or creates it.

        Args:
            session_id: The session.
            store: A store, or a store URL. Managers with the same URL share one open DynamoDB table.
            owner: The owner of new conversations.
        """
        super().__init__(session_id, ChatMemorySessionRepository(store, owner=owner), **kwargs)


class ChatMemoryStorage(Storage[str, str]):
    """Bytes under keys, for strands' `SnapshotSessionManager`, context managers and plugins: each write stores what has changed.

    Each value is a session of the store, whose id is the key. The messages of a snapshot are messages of that session.

    A write is refused if the value was modified since this object read or wrote it. So create one for each agent; it is cheap.
    """

    def __init__(self, store: str | Store | AsyncStore) -> None:
        """Opens the storage, without a request yet.

        Args:
            store: A store, or a store URL. Storages with the same URL share one open DynamoDB table.
        """
        self._connection = connection_of(store)
        self._prefix = ""
        self._known: _Versions[Value] = _Versions()
        self._locks: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Versions[asyncio.Lock]] = weakref.WeakKeyDictionary()

    async def write(self, key: str, data: bytes) -> None:
        """Stores a value.

        Raises:
            StaleWriteError: It was modified since this object read it.
        """
        key = self._prefix + _key(key)
        # Writes of one event loop follow one another, so that none is refused because of another one.
        async with self._locks.setdefault(asyncio.get_running_loop(), _Versions()).one(key, asyncio.Lock):
            for _ in range(ATTEMPTS):
                known = self._known.get(key)
                try:
                    base = await _values.arun(self._connection, _values.read(key)) if known is None else known
                    calls = _values.write(key, base, bytes(data), owner=_scope(key), title=key)
                    self._known.keep(key, await _values.arun(self._connection, calls))
                    return
                except ConflictError as error:
                    if known is not None:
                        message = f"cannot write {key!r}: it was modified since it was read; read it again, and retry"
                        raise StaleWriteError(message) from error
                except ChatMemoryError as error:
                    raise StorageError(f"cannot write {key!r}: {error}") from error
        raise StorageError(f"cannot write {key!r}: other writers were faster; retry")

    async def read(self, key: str) -> bytes | None:
        """Returns a value; `None` if there is none."""
        key = self._prefix + _key(key)
        try:
            return self._known.keep(key, await _values.arun(self._connection, _values.read(key))).data
        except ChatMemoryError as error:
            raise StorageError(f"cannot read {key!r}: {error}") from error

    async def delete(self, key: str) -> None:
        """Deletes a value with all its versions, if there is one."""
        key = self._prefix + _key(key)
        try:
            await self._connection.acall(_calls.delete(key))
        except ChatMemoryError as error:
            raise StorageError(f"cannot delete {key!r}: {error}") from error
        self._known.pop(key, None)

    async def list(self, query: str = "") -> builtins.list[str]:
        """Returns the keys with a prefix, sorted. On DynamoDB, one of less than two segments, such as `session/`, reads the whole table."""
        prefix = self._prefix + _prefix(query)
        try:
            keys = await self._keys(prefix)
        except ChatMemoryError as error:
            raise StorageError(f"cannot list {query!r}: {error}") from error
        return sorted(key[len(self._prefix) :] for key in keys if key.startswith(prefix))

    def namespace(self, prefix: str) -> ChatMemoryStorage:
        """Returns a view of the keys with a prefix, which shares the versions that this object knows."""
        scoped = copy.copy(self)
        scoped._prefix = f"{self._prefix}{_key(prefix)}/"
        # A session manager then adds no prefix of its own, as for strands' storages.
        scoped.__dict__["_namespaced"] = getattr(_strands_storage, "_NAMESPACED", None)
        return scoped

    async def _keys(self, prefix: str) -> builtins.list[str]:
        keys: builtins.list[str] = []
        after: str | None = None
        narrow = prefix.count("/") >= 2
        while True:
            if narrow:
                page = await self._connection.acall(_calls.session_page(_scope(prefix), limit=1000, after=after))
            else:
                page = await self._connection.acall(_calls.all_sessions_page(after=after))
            keys.extend(info.id for info in page.sessions if info.owner == _scope(info.id))
            after = page.next
            if after is None:
                return keys


def _key(key: str) -> str:
    normalized = _prefix(key).rstrip("/")
    if not normalized:
        raise StorageError("invalid key: it is empty; give a name such as 'notes/today'")
    return normalized


def _prefix(prefix: str) -> str:
    normalized = re.sub(r"/+", "/", prefix).lstrip("/")
    if "\\" in normalized or ".." in normalized.split("/"):
        raise StorageError(f"invalid key {prefix!r}: it contains a backslash or the segment '..'; leave these out")
    return normalized


def _scope(key: str) -> str:
    """Returns the owner of a key's session, by which it is listed: the key's first two segments."""
    return "/".join([_OWNER, *key.split("/")[:2]])


def _check(name: str, what: str) -> str:
    if not name or "/" in name or "\\" in name:
        # Strands' own stores raise a ValueError.
        raise ValueError(f"invalid {what} {name!r}: it must not be empty or contain a path separator")
    return name


def _conversation(session_id: str, agent_id: str) -> str:
    _check(session_id, "session_id")
    return session_id if _check(agent_id, "agent_id") == _DEFAULT_AGENT else f"{session_id}/{agent_id}"


def _state_of(session_id: str) -> str:
    # No agent has this id, since it has a slash.
    return f"{session_id}/strands/state"


def _state(known: Value) -> dict[str, Any]:
    assert known.data is not None
    state: dict[str, Any] = json.loads(known.data)
    return state


def _same(one: object, other: object) -> bool:
    # 1 == 1.0 == True, which are not the same state.
    return json.dumps(one) == json.dumps(other)


def _entries(messages: list[SessionMessage]) -> list[dict[str, Any]]:
    """Returns messages as they are stored: as a model is shown them, and then what else is known of them."""
    more: list[dict[str, Any]] = []
    shown: list[dict[str, Any]] = []
    for session_message in messages:
        fields = session_message.to_dict()
        message, redacted = fields.pop("message"), fields.pop("redact_message")
        shown.append(message if redacted is None else redacted)
        if redacted is not None:
            fields["redacted"] = None if message == redacted else message
        more.append(fields)
    return [*shown, {"type": _values.ENTRY, "messages": more}]


def _messages(record: Record) -> list[SessionMessage]:
    """Returns the messages of a record; none if something else wrote it."""
    found = _values.note(record)
    if found is None:
        return []
    messages: list[SessionMessage] = []
    for shown, more in zip(record.entries, found["messages"]):
        fields = dict(more)
        original = fields.pop("redacted", shown) or shown
        redacted = shown if "redacted" in more else None
        messages.append(SessionMessage.from_dict({**fields, "message": original, "redact_message": redacted}))
    return messages
