"""Stores, blocking and for event loops."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar

from . import _calls, _owner, _search
from ._calls import Call
from ._connection import Connection, CredentialSource
from ._owner import Deletion
from ._search import AsyncSearch, Query, Search
from ._types import Format, OwnerDeletion, SessionInfo

P = ParamSpec("P")
T = TypeVar("T")


def _blocking(call: Callable[P, Call[T]]) -> Callable[Concatenate[Store, P], T]:
    def method(self: Store, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._connection.call(call(*args, **kwargs))

    functools.update_wrapper(method, call)
    return method


def _awaited(call: Callable[P, Call[T]]) -> Callable[Concatenate[AsyncStore, P], Coroutine[None, None, T]]:
    async def method(self: AsyncStore, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._connection.acall(call(*args, **kwargs))

    functools.update_wrapper(method, call)
    return method


def _blocking_search(search: Callable[P, Query]) -> Callable[Concatenate[Store, P], Search]:
    def method(self: Store, /, *args: P.args, **kwargs: P.kwargs) -> Search:
        return Search(self._connection, search(*args, **kwargs))

    functools.update_wrapper(method, search)
    return method


def _awaited_search(search: Callable[P, Query]) -> Callable[Concatenate[AsyncStore, P], AsyncSearch]:
    def method(self: AsyncStore, /, *args: P.args, **kwargs: P.kwargs) -> AsyncSearch:
        return AsyncSearch(self._connection, search(*args, **kwargs))

    functools.update_wrapper(method, search)
    return method


def _blocking_deletion(delete: Callable[P, Deletion]) -> Callable[Concatenate[Store, P], OwnerDeletion]:
    def method(self: Store, /, *args: P.args, **kwargs: P.kwargs) -> OwnerDeletion:
        deletion = delete(*args, **kwargs)
        while True:
            report = deletion.take(self._connection.call(deletion.step()))
            if report is not None:
                return report

    functools.update_wrapper(method, delete)
    return method


def _awaited_deletion(
    delete: Callable[P, Deletion],
) -> Callable[Concatenate[AsyncStore, P], Coroutine[None, None, OwnerDeletion]]:
    async def method(self: AsyncStore, /, *args: P.args, **kwargs: P.kwargs) -> OwnerDeletion:
        deletion = delete(*args, **kwargs)
        while True:
            report = deletion.take(await self._connection.acall(deletion.step()))
            if report is not None:
                return report

    functools.update_wrapper(method, delete)
    return method


class Store:
    """A store of sessions: a DynamoDB table, a SQLite file, or memory. `chat_memory.open` opens one.

    Any thread may use it. After a fork, both processes may use it: each opens the table or the file for itself, and a `memory:` store is
    copied.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    append = _blocking(_calls.append)
    append_entries = _blocking(_calls.append_entries)
    append_new = _blocking(_calls.append_new)
    load = _blocking(_calls.load)
    recall = _blocking(_calls.recall)
    rewind_turns = _blocking(_calls.rewind_turns)
    rewind_to = _blocking(_calls.rewind_to)
    clear = _blocking(_calls.clear)
    delete = _blocking(_calls.delete)
    sweep = _blocking(_calls.sweep)
    redact = _blocking(_calls.redact)
    fork = _blocking(_calls.fork)
    plan_fork = _blocking(_calls.plan_fork)
    delete_owner = _blocking_deletion(_owner.delete_owner)
    search = _blocking_search(_search.search)
    session = _blocking(_calls.session)
    session_page = _blocking(_calls.session_page)
    all_sessions_page = _blocking(_calls.all_sessions_page)
    update_session = _blocking(_calls.update_session)
    write_units = _blocking(_calls.write_units)

    def messages(self, session: str, *, newest_first: bool = False, format: Format = "openai") -> Iterator[dict[str, Any]]:
        """Iterates over a session's messages, oldest first, in pages, so that a session of any length takes little memory.

        A history can only be read from its end, as a later record may hide earlier ones. So with `newest_first` no more is read than is
        iterated over; oldest first, the first page reads the whole session, and what lies beyond the oldest 2,000 records or 8 MB is read
        again. What is appended after the first page was read does not come.
        """
        after: str | None = None
        while True:
            page = self._connection.call(_calls.messages(session, newest_first=newest_first, format=format, after=after))
            yield from page["messages"]
            after = page["next"]
            if after is None:
                return

    def sessions(self, owner: str | None = None, *, recent: bool = False) -> Iterator[SessionInfo]:
        """Iterates over an owner's sessions, or over those without an owner, newest first: by start, or with `recent` by last activity. That
        is exact in a file and in memory; on DynamoDB, the time of the last activity is at most an hour old."""
        page = self.session_page(owner, recent=recent)
        while True:
            yield from page.sessions
            if page.next is None:
                return
            page = self.session_page(owner, recent=recent, after=page.next)

    def all_sessions(self) -> Iterator[SessionInfo]:
        """Iterates over all sessions, in no order. On DynamoDB this reads the whole table."""
        page = self.all_sessions_page()
        while True:
            yield from page.sessions
            if page.next is None:
                return
            page = self.all_sessions_page(after=page.next)

    def close(self) -> None:
        """Closes the store. A SQLite file is then one file. Stores that are not closed are when they are collected, or at exit."""
        self._connection.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def __reduce__(self) -> str:
        raise TypeError(f"a store cannot be pickled; open it in the other process: {self!r}")

    def __repr__(self) -> str:
        return f"<chat_memory.Store {self._connection!r}>"


class AsyncStore:
    """A store of sessions with the calls of `Store`, awaited. `chat_memory.aopen` opens one.

    Calls run outside of the event loop. If the task that waits for one is cancelled, the call continues to its end: an append is then
    stored or not, but never in part.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    append = _awaited(_calls.append)
    append_entries = _awaited(_calls.append_entries)
    append_new = _awaited(_calls.append_new)
    load = _awaited(_calls.load)
    recall = _awaited(_calls.recall)
    rewind_turns = _awaited(_calls.rewind_turns)
    rewind_to = _awaited(_calls.rewind_to)
    clear = _awaited(_calls.clear)
    delete = _awaited(_calls.delete)
    sweep = _awaited(_calls.sweep)
    redact = _awaited(_calls.redact)
    fork = _awaited(_calls.fork)
    plan_fork = _awaited(_calls.plan_fork)
    delete_owner = _awaited_deletion(_owner.delete_owner)
    search = _awaited_search(_search.search)
    session = _awaited(_calls.session)
    session_page = _awaited(_calls.session_page)
    all_sessions_page = _awaited(_calls.all_sessions_page)
    update_session = _awaited(_calls.update_session)
    write_units = _awaited(_calls.write_units)

    async def messages(self, session: str, *, newest_first: bool = False, format: Format = "openai") -> AsyncIterator[dict[str, Any]]:
        """Iterates over a session's messages, oldest first, in pages, so that a session of any length takes little memory.

        A history can only be read from its end, as a later record may hide earlier ones. So with `newest_first` no more is read than is
        iterated over; oldest first, the first page reads the whole session, and what lies beyond the oldest 2,000 records or 8 MB is read
        again. What is appended after the first page was read does not come.
        """
        after: str | None = None
        while True:
            page = await self._connection.acall(_calls.messages(session, newest_first=newest_first, format=format, after=after))
            for message in page["messages"]:
                yield message
            after = page["next"]
            if after is None:
                return

    async def sessions(self, owner: str | None = None, *, recent: bool = False) -> AsyncIterator[SessionInfo]:
        """Iterates over an owner's sessions, or over those without an owner, newest first: by start, or with `recent` by last activity. That
        is exact in a file and in memory; on DynamoDB, the time of the last activity is at most an hour old."""
        page = await self.session_page(owner, recent=recent)
        while True:
            for info in page.sessions:
                yield info
            if page.next is None:
                return
            page = await self.session_page(owner, recent=recent, after=page.next)

    async def all_sessions(self) -> AsyncIterator[SessionInfo]:
        """Iterates over all sessions, in no order. On DynamoDB this reads the whole table."""
        page = await self.all_sessions_page()
        while True:
            for info in page.sessions:
                yield info
            if page.next is None:
                return
            page = await self.all_sessions_page(after=page.next)

    async def aclose(self) -> None:
        """Closes the store. A SQLite file is then one file. Stores that are not closed are when they are collected, or at exit."""
        import asyncio

        await asyncio.to_thread(self._connection.close)

    async def __aenter__(self) -> AsyncStore:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        await self.aclose()

    def __reduce__(self) -> str:
        raise TypeError(f"a store cannot be pickled; open it in the other process: {self!r}")

    def __repr__(self) -> str:
        return f"<chat_memory.AsyncStore {self._connection!r}>"


def connection_of(store: str | Store | AsyncStore) -> Connection:
    """Returns the connection of a store, or of a store URL, for the modules of frameworks. Those of one URL share an open DynamoDB table."""
    return Connection(store, share=True) if isinstance(store, str) else store._connection


def open(url: str, *, credentials: CredentialSource | None = None) -> Store:
    """Opens a store.

    Args:
        url: A store URL: `sqlite:PATH`, `dynamodb://TABLE?region=…` or `memory:`. It never contains credentials.
        credentials: An AWS access key, or a function that returns one; by default AWS's usual chain.
    """
    connection = Connection(url, credentials)
    connection.call(_calls.opened())
    return Store(connection)


async def aopen(url: str, *, credentials: CredentialSource | None = None) -> AsyncStore:
    """Opens a store for an event loop; otherwise like `open`."""
    connection = Connection(url, credentials)
    await connection.acall(_calls.opened())
    return AsyncStore(connection)
