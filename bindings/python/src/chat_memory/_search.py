"""Search, page by page."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from . import _calls, _read
from ._calls import Call
from ._connection import Connection
from ._types import Cost, SearchHit


@dataclass(frozen=True)
class Query:
    """What is searched for, and how many hits are wanted."""

    words: str
    request: dict[str, Any]
    limit: int | None


def search(
    words: str,
    *,
    owner: str | None = None,
    session: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    titles: bool = False,
    limit: int | None = None,
) -> Query:
    """Searches titles, ids, owners and the text of messages. A hit has all the words, or words that begin with them, in any order and case.
    What was rewound, cleared or deleted is not found.

    The hits come in pages, as they are iterated over; the iterator also has what the search cost so far. From a search index (a SQLite file
    of `chat-memory search --index`) the best come first. Otherwise the sessions are read: on DynamoDB, without `owner` or `session`, the whole
    table.

    Args:
        words: Letters and digits. May be empty if a time is given, which then finds the sessions that were active.
        owner: Only this owner's sessions.
        session: Only this session; not with `owner`.
        since: Only messages sent at this time or later, and sessions active since; with a time zone.
        until: Only messages sent before this time, and sessions that began before it.
        titles: Whether to search titles, ids and owners only, and read no messages.
        limit: Up to n hits; by default all.
    """
    times = {"since": _read.epoch_ms("since", since), "until": _read.epoch_ms("until", until)}
    return Query(words, {"owner": owner, "session": session, "titles": titles, **times}, limit)


class Found:
    """What a search found so far, and what it took."""

    cost: Cost
    """What it cost so far."""
    indexed: bool | None
    """Whether an index was used, so that no session was read; `None` before the first page."""
    sessions: int
    """How many sessions were read so far."""
    warnings: list[str]
    """What could not be searched so far: one sentence each, with the remedy."""

    def __init__(self, connection: Connection, query: Query) -> None:
        self.cost, self.indexed, self.sessions, self.warnings = Cost(), None, 0, []
        self._connection = connection
        self._query = query
        self._left = query.limit
        self._after: str | None = None
        self._ended = False
        self._hits: deque[SearchHit] = deque()

    def _next_page(self) -> Call[dict[str, Any]] | None:
        """The call of the next page; `None` after the last."""
        if self._ended:
            return None
        return _calls.search(self._query.words, self._query.request, limit=self._left, after=self._after)

    def _take(self, page: dict[str, Any]) -> None:
        self.cost += _read.cost(page["cost"])
        self.indexed = page["indexed"]
        self.sessions += page["sessions"]
        self.warnings += page["warnings"]
        self._hits.extend(_read.search_hit(hit) for hit in page["hits"])
        if self._left is not None:
            self._left -= len(page["hits"])
        self._after = page["next"]
        self._ended = self._after is None or self._left == 0


class Search(Found, Iterator[SearchHit]):
    """An iterator over the hits of a search, which has what the search took so far."""

    def __next__(self) -> SearchHit:
        while not self._hits:
            call = self._next_page()
            if call is None:
                raise StopIteration
            self._take(self._connection.call(call))
        return self._hits.popleft()


class AsyncSearch(Found, AsyncIterator[SearchHit]):
    """An iterator over the hits of a search, awaited, which has what the search took so far."""

    async def __anext__(self) -> SearchHit:
        while not self._hits:
            call = self._next_page()
            if call is None:
                raise StopAsyncIteration
            self._take(await self._connection.acall(call))
        return self._hits.popleft()
