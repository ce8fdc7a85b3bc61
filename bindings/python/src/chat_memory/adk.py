"""Sessions of Google's Agent Development Kit (ADK).

```python
from chat_memory.adk import ChatMemorySessionService

runner = Runner(app_name="weather", agent=agent, session_service=ChatMemorySessionService("dynamodb://chats?region=eu-central-1"))
```

The Rust crate chat-memory-adk reads and writes the same sessions.
"""

from __future__ import annotations

import asyncio
import copy
import math
import time
import weakref
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast
from urllib.parse import quote, unquote

from google.adk.errors import StaleSessionError
from google.adk.errors.already_exists_error import AlreadyExistsError
from google.adk.errors.session_not_found_error import SessionNotFoundError
from google.adk.events.event import Event
from google.adk.sessions.base_session_service import BaseSessionService, GetSessionConfig, ListSessionsResponse
from google.adk.sessions.session import Session
from google.adk.sessions.state import State
from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, to_jsonable_python
from typing_extensions import override

from . import _calls
from ._adk_events import Json, from_messages, to_messages
from ._errors import ChatMemoryError, ConflictError, CorruptError, InvalidError
from ._native import random_session_id
from ._store import AsyncStore, Store, connection_of
from ._types import History, Message, Record, SessionInfo

T = TypeVar("T")

_SNAPSHOT_EVERY = 16
"""After how many records the session's state is written out again. A reader reads at least this many messages."""

_COMPACT_AT = 32
"""The number of changes from which a reader writes the state of an app or a user out completely."""

_MAX_KNOWN = 4096
"""The number of session ends that a service caches, so that an event takes one request."""

_KNOWN_FOR = 60 * 60
"""For how many seconds a cached end is used. Positions are valid for a day."""

_AT_ONCE = 8
"""How many sessions a list reads concurrently."""

_OWNER = "adk-rust"
"""The owner of everything that is not a session, as the Rust crate names it."""

# The names of the stored fields.
_STATE = "adk_state"
_ID = "adk_id"

_IN_NAME = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) not in "/%")
"""The characters that names contain unchanged."""


@dataclass(frozen=True)
class _End:
    """The end of a session, as it was last read or written."""

    seq: int
    position: str
    state: Json
    """The session's own state, without those of its app and its user."""
    since: int
    """How many records follow the last one that has the state."""
    seen: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class _View:
    """The part of a session that was read."""

    end: _End
    events: list[Event]
    updated_at: float


class ChatMemorySessionService(BaseSessionService):
    """ADK's sessions in a store. An event is one record, stored once, together with its change of the state.

    A session that was modified since it was loaded is refused with a `StaleSessionError`, as by ADK's `DatabaseSessionService`. Where the
    store fails, a `chat_memory.ChatMemoryError` is raised.
    """

    def __init__(self, store: str | Store | AsyncStore) -> None:
        """Opens the service, without a request yet.

        Args:
            store: A store, or a store URL. It must support rewinds and lists of sessions: DynamoDB's `list` layout does not.
        """
        self._connection = connection_of(store)
        self._known: dict[str, _End] = {}
        self._locks: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, weakref.WeakValueDictionary[str, asyncio.Lock]]
        self._locks = weakref.WeakKeyDictionary()

    @override
    async def create_session(
        self,
        *,
        app_name: str,
        user_id: str,
        state: dict[str, Any] | None = None,
        session_id: str | None = None,
    ) -> Session:
        """Creates a session.

        Args:
            app_name: The app.
            user_id: The user.
            state: The initial state. Keys that start with `app:` and `user:` change the states of the app and the user; those that start
                with `temp:` are not stored.
            session_id: The session's id; by default a new one.

        Raises:
            AlreadyExistsError: There is such a session.
        """
        id = session_id if session_id and session_id.strip() else random_session_id()
        name = _session_name(app_name, user_id, id)
        end = await self._connection.acall(_calls.load(name, last=1))
        if any(record.entries or _state_in(record) is not None for record in end.records):
            raise AlreadyExistsError(_exists(id))
        app, user, own = _split(_json_safe(state or {}))
        await self._change_states(app_name, user_id, app, user)
        await self._change_log(f"adk-id/{_encoded(id)}", _entry(_ID, {"app": app_name, "user": user_id}))
        append = _calls.append(
            name,
            (),
            metadata={_STATE: own},
            owner=_owner(app_name, user_id),
            expected=end.position,
            replace=True,
            retry=True,
        )
        try:
            appended = await self._connection.acall(append)
        except ConflictError:
            raise AlreadyExistsError(_exists(id)) from None
        updated_at = time.time() if appended.created_at is None else appended.created_at.timestamp()
        view = _View(_End(appended.seq, appended.position, own, 0), [], updated_at)
        self._remember(name, view.end)
        return _session(app_name, user_id, id, view, await self._states(app_name, user_id), [])

    @override
    async def get_session(
        self,
        *,
        app_name: str,
        user_id: str,
        session_id: str,
        config: GetSessionConfig | None = None,
    ) -> Session | None:
        """Returns a session; `None` if there is none.

        Args:
            app_name: The app.
            user_id: The user.
            session_id: The session's id.
            config: Which events: the newest n, and of these the ones that are not older than a time. With a number, no more is read.
        """
        newest = config.num_recent_events if config else None
        after = config.after_timestamp if config else None
        name = _session_name(app_name, user_id, session_id)
        view, shared = await asyncio.gather(self._view(name, newest), self._states(app_name, user_id))
        if view is None:
            return None
        self._remember(name, view.end)
        events = view.events if newest is None else view.events[max(0, len(view.events) - newest) :]
        if after is not None:
            events = [event for event in events if event.timestamp >= after]
        return _session(app_name, user_id, session_id, view, shared, events)

    @override
    async def list_sessions(self, *, app_name: str, user_id: str | None = None) -> ListSessionsResponse:
        """Lists sessions with their states and without their events, the last updated last. Reads the end of each.

        Args:
            app_name: The app.
            user_id: The user. Without one, all users' sessions are listed, which on DynamoDB reads the whole table.
        """
        infos = await self._sessions(None if user_id is None else _owner(app_name, user_id))
        found = [names for names in (_names_in(info.id, app_name) for info in infos) if names is not None]
        users = sorted({user for user, _ in found})
        app_state, *user_states = await _at_once([
            self._state(_app_log(app_name)),
            *(self._state(_user_log(app_name, user)) for user in users),
        ])
        shared = dict(zip(users, user_states))
        views = await _at_once([self._view(_session_name(app_name, user, id), 1) for user, id in found])
        sessions = [
            _session(app_name, user, id, view, (app_state, shared[user]), []) for (user, id), view in zip(found, views) if view is not None
        ]
        return ListSessionsResponse(sessions=sorted(sessions, key=lambda one: (one.last_update_time, one.user_id, one.id)))

    @override
    async def delete_session(self, *, app_name: str, user_id: str, session_id: str) -> None:
        """Deletes a session. A missing one is not an error."""
        name = _session_name(app_name, user_id, session_id)
        self._known.pop(name, None)
        await self._connection.acall(_calls.delete(name))
        await self._forget(app_name, user_id, session_id)

    @override
    async def get_user_state(self, *, app_name: str, user_id: str) -> dict[str, Any]:
        """Returns a user's state, its keys without `user:`."""
        return await self._state(_user_log(app_name, user_id))

    @override
    async def append_event(self, session: Session, event: Event) -> Event:
        """Appends an event to a session and applies it to `session`. A partial event is not stored.

        A change of the app's or the user's state is written before the event, after the session was read once more.

        Raises:
            SessionNotFoundError: There is no such session, or it was deleted.
            StaleSessionError: The session was modified since it was loaded. The event was not written. Its changes of the app's and the user's
                state were only if the modification came between the two writes.
            chat_memory.InDoubtError: The outcome is still unknown after retries. Reload the session: its events show whether this one was
                stored. The session object cannot store it twice: if it was, appending it again raises a `StaleSessionError`.
        """
        if event.partial:
            return event
        stored = _dumped(event)
        app, user, own = _split(stored["actions"]["state_delta"])
        messages = to_messages(stored)
        name = _session_name(session.app_name, session.user_id, session.id)
        # Branches of one run append to one session object concurrently.
        async with self._lock(name):
            end = await self._end(name, session, read=bool(app or user))
            await self._change_states(session.app_name, session.user_id, app, user)
            while True:
                state, since = {**end.state, **own}, end.since + 1
                snapshot = since >= _SNAPSHOT_EVERY
                append = _calls.append(
                    name, messages, metadata={_STATE: state} if snapshot else None, expected=end.position, retry=True
                )
                try:
                    appended = await self._connection.acall(append)
                    break
                except ConflictError:
                    # Continues only if the session is where it was: positions expire.
                    end = await self._end(name, session, read=True)
                except ChatMemoryError:
                    self._known.pop(name, None)
                    raise
            self._remember(name, _End(appended.seq, appended.position, state, 0 if snapshot else since))
            session._storage_update_marker = str(appended.seq)
            await super().append_event(session, event)
            session.last_update_time = event.timestamp
        return event

    async def _end(self, name: str, session: Session, *, read: bool) -> _End:
        """Returns the end of a session, cached or read, if it is the one that the session object has."""
        end = self._known.get(name)
        marker = session._storage_update_marker
        if not read and end is not None and time.monotonic() - end.seen < _KNOWN_FOR and marker == str(end.seq):
            return end
        view = await self._view(name, 1)
        if view is None:
            self._known.pop(name, None)
            raise SessionNotFoundError(f"session {session.id!r} not found: it was never created, or was deleted; create it")
        self._remember(name, view.end)
        if marker is not None:
            same = marker == str(view.end.seq)
        else:
            # A session object that was not loaded from here.
            newest = [event.id for event in view.events[-1:]]
            same = view.updated_at <= session.last_update_time or newest == [event.id for event in session.events[-1:]]
        if not same:
            raise StaleSessionError(f"session {session.id!r} was modified in storage since it was loaded: reload it and retry")
        return view.end

    async def _view(self, name: str, events: int | None) -> _View | None:
        """Reads at least the newest n events of a session, or all; `None` if there is no session."""
        reach = None if events is None else max(events, _SNAPSHOT_EVERY)
        while True:
            history = await self._connection.acall(_calls.load(name, last=reach))
            view = _view_of(name, history)
            if history.complete or (view is not None and events is not None and len(view.events) >= events):
                return view
            # Some events have several messages, and more records may follow the last one that has the state.
            reach = reach * 4 if reach is not None and reach < 4096 else None

    async def _states(self, app_name: str, user_id: str) -> tuple[Json, Json]:
        return await asyncio.gather(self._state(_app_log(app_name)), self._state(_user_log(app_name, user_id)))

    async def _state(self, log: str) -> Json:
        """Reads the state of an app or a user: a log of changes."""
        history = await self._connection.acall(_calls.load(log))
        state: Json = {}
        for message in history.messages:
            state.update(message.get(_STATE, {}))
        if len(history.records) >= _COMPACT_AT:
            whole = _calls.append(log, [_entry(_STATE, state)], owner=_OWNER, expected=history.position, replace=True)
            try:
                await self._connection.acall(whole)
                await self._connection.acall(_calls.sweep(log))
            except ChatMemoryError:
                # This only speeds up later readers; the changes are still there.
                pass
        return state

    async def _change_states(self, app_name: str, user_id: str, app: Json, user: Json) -> None:
        changes = ((_app_log(app_name), app), (_user_log(app_name, user_id), user))
        await asyncio.gather(*(self._change_log(log, _entry(_STATE, change)) for log, change in changes if change))

    async def _change_log(self, log: str, entry: Message) -> None:
        await self._connection.acall(_calls.append(log, [entry], owner=_OWNER, retry=True))

    async def _forget(self, app_name: str, user_id: str, session_id: str) -> None:
        """Removes a user from the list of those who have a session with this id. The Rust crate finds sessions by it."""
        log = f"adk-id/{_encoded(session_id)}"
        who = {"app": app_name, "user": user_id}
        while True:
            history = await self._connection.acall(_calls.load(log))
            entries = [message for message in history.messages if _ID in message]
            rest = [entry for entry in entries if entry[_ID] != who]
            if len(rest) == len(entries):
                return
            try:
                await self._connection.acall(_calls.append(log, rest, owner=_OWNER, expected=history.position, replace=True, retry=True))
            except ConflictError:
                # The list was changed in the meantime.
                continue
            await self._connection.acall(_calls.sweep(log))
            return

    async def _sessions(self, owner: str | None) -> list[SessionInfo]:
        """Lists an owner's sessions, or everything."""
        found: list[SessionInfo] = []
        after: str | None = None
        while True:
            page = await self._connection.acall(_calls.all_sessions_page(after=after) if owner is None else _calls.session_page(owner, after=after))
            found.extend(page.sessions)
            if page.next is None:
                return found
            after = page.next

    def _lock(self, name: str) -> asyncio.Lock:
        # A runner that is called without an event loop has one of its own for each run.
        locks = self._locks.setdefault(asyncio.get_running_loop(), weakref.WeakValueDictionary())
        return locks.setdefault(name, asyncio.Lock())

    def _remember(self, name: str, end: _End) -> None:
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        self._known[name] = end

def _view_of(name: str, history: History) -> _View | None:
    """Returns what was read; `None` if it is too little to determine the state."""
    # A session without any state was written by another program.
    state: Json | None = {} if history.complete and history.entries else None
    events: list[Event] = []
    since, updated_at = 0, 0.0
    for record in history.records:
        created_at = 0.0 if record.created_at is None else record.created_at.timestamp()
        own = [_loaded(name, record, event) for event in from_messages(record.messages, record.seq, created_at)]
        since += 1
        snapshot = _state_in(record)
        if snapshot is not None:
            state, since = snapshot, 0
        elif state is not None:
            for event in own:
                state.update(_split(event.actions.state_delta)[2])
        events.extend(own)
        updated_at = own[-1].timestamp if own else created_at
    if state is None or not history.records:
        return None
    return _View(_End(history.records[-1].seq, history.position, state, since), events, updated_at)


def _state_in(record: Record) -> Json | None:
    found = (record.metadata or {}).get(_STATE)
    return {**cast(Json, found)} if isinstance(found, dict) else None


def _loaded(name: str, record: Record, event: Json) -> Event:
    try:
        return Event.model_validate(event)
    except ValidationError as error:
        cause = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise CorruptError(
            f"record {record.seq} of {name!r} is no event of this google-adk ({cause}): update google-adk, if a newer one wrote it"
        ) from None


def _session(app_name: str, user_id: str, session_id: str, view: _View, shared: tuple[Json, Json], events: list[Event]) -> Session:
    # What a caller changes in a state must not change the cached one.
    state = copy.deepcopy(view.end.state)
    for prefix, values in zip((State.APP_PREFIX, State.USER_PREFIX), shared):
        state.update({prefix + key: copy.deepcopy(value) for key, value in values.items()})
    session = Session(
        app_name=app_name, user_id=user_id, id=session_id, state=state, events=events, last_update_time=view.updated_at
    )
    session._storage_update_marker = str(view.end.seq)
    return session


def _dumped(event: Event) -> Json:
    """Returns an event as it is stored: as JSON, without temporary state."""
    _check_finite(event.model_dump(exclude_none=True), "event")
    try:
        stored: Json = event.model_dump(mode="json", exclude_none=True)
    except PydanticSerializationError as error:
        raise InvalidError(f"the event cannot be stored: {error}; give only values that JSON can hold") from error
    delta: Json = stored["actions"]["state_delta"]
    stored["actions"]["state_delta"] = {key: value for key, value in delta.items() if not key.startswith(State.TEMP_PREFIX)}
    return stored


def _check_finite(value: object, path: str) -> None:
    """Refuses what would silently become null."""
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidError(f"invalid value in {path}: {value}, which JSON cannot hold; send null or a string")
    if isinstance(value, Mapping):
        for name, item in cast("Mapping[object, object]", value).items():
            _check_finite(item, f"{path}.{name}")
    elif isinstance(value, (list, tuple, set)):
        for place, item in enumerate(cast("Iterable[object]", value)):
            _check_finite(item, f"{path}[{place}]")


def _json_safe(state: Json) -> Json:
    """Returns a state as JSON. As in ADK's own services, what JSON cannot hold is replaced by a text."""
    safe: Json = to_jsonable_python(state, serialize_unknown=True)
    return safe


def _split(state: Json) -> tuple[Json, Json, Json]:
    """Splits a state, or a change of it, into those of the app, the user and the session."""
    app: Json = {}
    user: Json = {}
    own: Json = {}
    for key, value in state.items():
        if key.startswith(State.APP_PREFIX):
            app[key.removeprefix(State.APP_PREFIX)] = value
        elif key.startswith(State.USER_PREFIX):
            user[key.removeprefix(State.USER_PREFIX)] = value
        elif not key.startswith(State.TEMP_PREFIX):
            own[key] = value
    return app, user, own


async def _at_once(calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Awaits calls, a few of them concurrently."""
    turn = asyncio.Semaphore(_AT_ONCE)

    async def one(call: Coroutine[Any, Any, T]) -> T:
        async with turn:
            return await call

    return await asyncio.gather(*map(one, calls))


def _entry(field: str, value: Json) -> Json:
    return {"role": "system", "content": "", field: value}


def _encoded(name: str) -> str:
    return quote(name, safe=_IN_NAME)


def _session_name(app_name: str, user_id: str, session_id: str) -> str:
    name = f"{_owner(app_name, user_id)}/{_encoded(session_id)}"
    return _short(name, 1000, "app_name, user_id and session_id")


def _owner(app_name: str, user_id: str) -> str:
    return _short(f"adk/{_encoded(app_name)}/{_encoded(user_id)}", 512, "app_name and user_id")


def _short(name: str, limit: int, what: str) -> str:
    if len(name) > limit:
        raise InvalidError(f"invalid {what}: together {len(name)} bytes, as they are stored, of at most {limit}; use shorter ones")
    return name


def _names_in(name: str, app_name: str) -> tuple[str, str] | None:
    """Returns the user and the id of a session of this app; `None` if it is not one."""
    parts = name.split("/")
    if len(parts) != 4 or parts[0] != "adk" or parts[1] != _encoded(app_name):
        return None
    return unquote(parts[2]), unquote(parts[3])


def _app_log(app_name: str) -> str:
    return f"adk-state/{_encoded(app_name)}"


def _user_log(app_name: str, user_id: str) -> str:
    return f"adk-state/{_encoded(app_name)}/{_encoded(user_id)}"


def _exists(session_id: str) -> str:
    return f"session {session_id!r} already exists: use another id, or get it"
