"""The calls of a store, each defined once for `Store` and `AsyncStore`: parameters, documentation, and how the result is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final, Generic, Literal, TypeVar

from . import _read
from ._errors import InvalidError
from ._types import (
    Appended,
    AppendedNew,
    Cleared,
    Deleted,
    Entry,
    Forked,
    ForkPlan,
    Format,
    History,
    Message,
    Recall,
    Redacted,
    SessionInfo,
    SessionPage,
    Swept,
)

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Keep(Enum):
    """The type of `KEEP`."""

    KEEP = "KEEP"

    def __repr__(self) -> str:
        return self.name


KEEP: Final = Keep.KEEP
"""Leaves a field of a session as it is."""


@dataclass(frozen=True)
class Call(Generic[T_co]):
    """An operation of the engine, its request, and how its result is read."""

    operation: str
    request: dict[str, Any]
    read: Callable[[Any], T_co]


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _listed(messages: Iterable[Message], what: str = "messages") -> list[Message]:
    given: object = messages
    if isinstance(given, (str, bytes, dict)):
        raise InvalidError(f"invalid {what}: a {type(messages).__name__}, not a list; give a list of messages")
    return list(messages)


def _optional(read: Callable[[Any], T]) -> Callable[[Any], T | None]:
    def read_found(found: Any) -> T | None:
        return None if found is None else read(found)

    return read_found


def append(
    session: str,
    messages: Iterable[Message],
    *,
    key: str | None = None,
    ticket: str | None = None,
    expected: str | None = None,
    owner: str | None = None,
    title: str | None = None,
    metadata: Mapping[str, object] | None = None,
    sent_at: Iterable[datetime | None] | None = None,
    replace: bool = False,
    retry: bool = False,
    format: Format = "openai",
) -> Call[Appended]:
    """Adds messages at the end of a session as one record: all of them or none. A session starts with its first record.

    Args:
        key: An idempotency key: an append repeated with it within a day is stored once.
        ticket: The ticket of an append that ended in doubt: it is stored once, whether or not the first attempt was.
        expected: A position: the append is refused with a `ConflictError` if the session was modified since.
        owner: The owner, if this append starts the session.
        title: The title, if this append starts the session.
        metadata: A small object of your own, stored with the messages.
        sent_at: When each message was sent, with a time zone; `None` where that is unknown.
        replace: Whether the messages replace everything in the session.
        retry: Whether an append whose outcome is unknown is retried with its ticket a few times.
    """
    return Call(
        "append",
        _given(
            session=session,
            messages=_listed(messages),
            key=key,
            ticket=ticket,
            expect=expected,
            owner=owner,
            title=title,
            metadata=metadata,
            sent_at=None if sent_at is None else [_read.epoch_ms("sent_at", time) for time in sent_at],
            replace=replace,
            surely=retry,
            format=format,
        ),
        _read.appended,
    )


def append_entries(
    session: str,
    entries: Iterable[Entry],
    *,
    key: str | None = None,
    ticket: str | None = None,
    expected: str | None = None,
    owner: str | None = None,
    title: str | None = None,
    metadata: Mapping[str, object] | None = None,
    replace: bool = False,
    retry: bool = False,
) -> Call[Appended]:
    """Adds entries at the end of a session as one record: JSON objects, stored as they are. The parameters are those of `append`."""
    return Call(
        "append",
        _given(
            session=session,
            entries=_listed(entries, "entries"),
            key=key,
            ticket=ticket,
            expect=expected,
            owner=owner,
            title=title,
            metadata=metadata,
            replace=replace,
            surely=retry,
            format="openai",
        ),
        _read.appended,
    )


def append_new(
    session: str,
    entries: Iterable[Entry],
    *,
    expected: str | None = None,
    owner: str | None = None,
    title: str | None = None,
    metadata: Mapping[str, object] | None = None,
) -> Call[AppendedNew]:
    """Adds the entries whose ids the session does not contain from the last 24 hours, and those without an id, as one record. Repeating
    it is safe: after an error, give it the same entries again.

    Args:
        expected: A position: refused with a `ConflictError` if there is something new and the session was modified since.
        owner: The owner, if this append starts the session.
        title: The title, if this append starts the session.
        metadata: A small object of your own, stored with the entries.
    """
    return Call(
        "append",
        _given(
            session=session,
            entries=_listed(entries, "entries"),
            onlyNew=True,
            expect=expected,
            owner=owner,
            title=title,
            metadata=metadata,
            format="openai",
        ),
        _read.appended_new,
    )


def load(
    session: str,
    *,
    last: int | None = None,
    turns: int | None = None,
    records: int | None = None,
    since: int | None = None,
    before: str | None = None,
    format: Format = "openai",
) -> Call[History]:
    """Loads records as they were written, by default all of them. A session that was never written to is empty.

    Args:
        last: At least the newest n messages.
        turns: At least the newest n turns.
        records: The newest n records.
        since: Only the records numbered so and higher: what they cost, and the record before them.
        before: Only what is older than another load returned: its `older`.
    """
    request = _given(session=session, messages=last, turns=turns, records=records, since=since, before=before, format=format)
    return Call("records", request, _read.history)


def recall(
    session: str,
    *,
    messages: int | None = None,
    turns: int | None = None,
    tokens: int | None = None,
    counter: str | None = None,
    keep_system: bool = False,
    start_at_user: bool = False,
    format: Format = "openai",
) -> Call[Recall]:
    """Loads the newest part of a session, as a model should be shown it: never a tool call without its result, nor a result without its
    call. No more is read than the window needs.

    Args:
        messages: Up to n messages.
        turns: n turns, each from a user message to the next. A user message with a tool result does not start a turn.
        tokens: As many messages as fit into n tokens.
        counter: How to count tokens: `estimate` (the default), `o200k_base`, `cl100k_base`, or the name of an OpenAI model.
        keep_system: Whether to include the system messages at the very start. The whole history is then read.
        start_at_user: Whether to start at a user message, as some providers demand.
    """
    return Call(
        "load",
        _given(
            session=session,
            messages=messages,
            turns=turns,
            tokens=tokens,
            counter=counter,
            keep_system=keep_system,
            start_at_user=start_at_user,
            format=format,
        ),
        _read.recall,
    )


def messages(session: str, *, newest_first: bool, format: Format, after: str | None) -> Call[dict[str, Any]]:
    """Returns a page of a session's messages, and the `after` of the next page."""
    return Call("messages", _given(session=session, newestFirst=newest_first, format=format, after=after), lambda found: found)


def rewind_turns(session: str, turns: int) -> Call[Appended | None]:
    """Removes the last `turns` turns; all of them if there are fewer. `None` if there were none."""
    return Call("rewind", {"session": session, "turns": turns, "format": "openai"}, _optional(_read.appended))


def rewind_to(
    session: str,
    seq: int,
    messages: Iterable[Message] = (),
    *,
    entries: Iterable[Entry] | None = None,
    expected: str | None = None,
    format: Format = "openai",
) -> Call[Appended]:
    """Removes the records from number `seq` on, and puts `messages` in their place.

    Args:
        entries: In place of messages: JSON objects, stored as they are.
        expected: The position of the load that returned the records.
    """
    request = _given(
        session=session,
        seq=seq,
        messages=_listed(messages),
        entries=None if entries is None else _listed(entries, "entries"),
        expect=expected,
        format=format,
    )
    return Call("rewind", request, _read.appended)


def clear(session: str) -> Call[Cleared]:
    """Clears a session's messages at once, and erases them."""
    return Call("clear", {"session": session}, _read.cleared)


def delete(session: str) -> Call[Deleted]:
    """Deletes a session: clears it, and removes it from the directory."""
    return Call("delete", {"session": session}, _read.deleted)


def sweep(session: str) -> Call[Swept]:
    """Erases what earlier clears have hidden, if one was interrupted."""
    return Call("sweep", {"session": session}, _read.swept)


def redact(session: str, seq: int, *, message: int | None = None, replacement: str | None = None) -> Call[Redacted]:
    """Redacts a record: what its messages say is replaced where it is stored, also if the record was rewound or cleared and is not erased yet.
    Text, images, the arguments of calls and their results go; the record keeps its number, and messages their roles and ids. Repeating it
    changes nothing. Not covered: the title and the metadata of the session, forks of it, and the threads of a checkpointer.

    Args:
        seq: The record's number, as `append` and `records` return it.
        message: The index of the message in its record, from 0; by default all of them are redacted.
        replacement: Up to 1,024 bytes; by default `[redacted]`.
    """
    return Call("redact", _given(session=session, seq=seq, message=message, replacement=replacement), _read.redacted)


def fork(
    session: str,
    to: str | None = None,
    *,
    at: int | None = None,
    owner: str | None = None,
    title: str | None = None,
    key: str | None = None,
) -> Call[Forked]:
    """Forks a session: creates `to` with a copy of its records. It appears in one step, with the owner, the title and the metadata of the
    session unless others are given; its `forked_from` names the session. What happens to one of them later does not change the other. If
    `to` exists, it is refused with a `ConflictError`.

    Args:
        to: The new session; by default a new id: from the key, if there is one, otherwise random.
        at: The number of the last record to copy; by default all is copied.
        owner: The owner of the new session; by default that of the other.
        title: The title of the new session; by default that of the other.
        key: An idempotency key: a fork repeated with it within a day finds the session that the first attempt created.
    """
    request = _given(session=session, to=to, at=at, owner=owner, title=title, key=key)
    return Call("fork", request, _read.forked)


def plan_fork(
    session: str, to: str | None = None, *, at: int | None = None, owner: str | None = None, title: str | None = None
) -> Call[ForkPlan]:
    """Reads what `fork` with these parameters would copy, and estimates what writing that would cost. Writes nothing."""
    return Call("planFork", _given(session=session, to=to, at=at, owner=owner, title=title), _read.fork_plan)


def delete_owner(owner: str, *, failed: int) -> Call[dict[str, Any]]:
    """Deletes some of the sessions of an owner.

    Args:
        failed: How many sessions earlier steps could not delete.
    """
    return Call("deleteOwner", {"owner": owner, "failed": failed}, lambda found: found)


def search(words: str, request: Mapping[str, Any], *, limit: int | None, after: str | None) -> Call[dict[str, Any]]:
    """Returns a page of hits, and the `after` of the next page."""
    return Call("search", _given(words=words, limit=limit, after=after, **request), lambda found: found)


def session_page(
    owner: str | None = None,
    *,
    limit: int | None = None,
    after: str | None = None,
    recent: bool = False,
    any_owner: bool = False,
    contents: bool = False,
) -> Call[SessionPage]:
    """Returns a page of an owner's sessions, or of those without an owner, newest first: by start, or with `recent` by last activity.

    Args:
        limit: Up to n sessions; by default 100.
        after: Continues after another page: its `next`.
        any_owner: Lists the sessions of all owners and those without one in one order; not on DynamoDB, where `all_sessions_page`
            lists them in none.
        contents: Also reads the first words and the number of records where the list does not have them: on DynamoDB from each
            session, for about one read unit if it is short, and ten at most. Of a session of over some 40 KB it gives the number only.
    """
    given = _given(owner=owner, limit=limit, after=after, recent=recent, anyOwner=any_owner, contents=contents)
    return Call("sessions", given, _read.session_page)


def all_sessions_page(*, after: str | None = None, contents: bool = False) -> Call[SessionPage]:
    """Returns a page of all sessions, in no order. On DynamoDB this reads the whole table.

    Args:
        after: Continues after another page: its `next`.
        contents: As in `session_page`.
    """
    return Call("listAllSessions", _given(after=after, contents=contents), _read.session_page)


def session(session: str) -> Call[SessionInfo | None]:
    """Returns a session's directory entry; `None` if it is not listed."""
    return Call("session", {"session": session}, _optional(_read.session_info))


def update_session(
    session: str,
    *,
    title: str | None | Literal[Keep.KEEP] = KEEP,
    metadata: Mapping[str, object] | None | Literal[Keep.KEEP] = KEEP,
) -> Call[SessionInfo | None]:
    """Changes a session's title and metadata, and returns its entry; `None` if it is not listed. `None` removes a field."""
    update = {name: value for name, value in (("title", title), ("metadata", metadata)) if value is not KEEP}
    return Call("updateSession", {"session": session, **update}, _optional(_read.session_info))


def write_units(session: str, appends: Iterable[Iterable[Message]], *, format: Format = "openai") -> Call[float | None]:
    """Estimates the write units that these appends to a new session would take, without a request; `None` if the store has no units."""
    listed = [_listed(messages, f"appends[{n}]") for n, messages in enumerate(appends)]
    return Call("writeUnits", {"session": session, "appends": listed, "format": format}, lambda found: found)


def opened() -> Call[None]:
    """Opens the store."""
    return Call("open", {}, lambda _: None)
