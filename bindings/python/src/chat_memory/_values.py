"""Byte values with versions: each value is a session, and each write appends what changed.

A record has the messages that a write added, and then one entry of the type `strands`, which describes the rest:

- `first`: the number of the first of these messages. Messages are numbered by their order in the session.
- `from`: the number of the record from which on everything is needed to read the value; `null` for this record.
- `full`, or `delta`: the rest of the value, or the changes since the record before. `{"json": …}` is a JSON value; in a snapshot, the list
  of its messages is a list of ranges of their numbers. Other values are `{"text": …}` or `{"base64": …}`.
- `crc`: the CRC-32 of the value.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Generator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar

from . import _calls
from ._calls import Call
from ._connection import Connection
from ._delta import Change, diff, patch
from ._errors import CorruptError, InvalidError
from ._types import Appended, History, Record

T = TypeVar("T")

Calls = Generator[Call[Any], Any, T]
"""A computation that yields calls and is sent their results, so that it runs blocking and in an event loop."""

ENTRY = "strands"
"""The type of the entries that are not messages."""

_FIRST_PAGE, _PAGE = 64, 512
"""How many messages the first page of a value has, and each further page."""

_MIN_PENDING = 8 * 1024
"""Up to this many bytes of changes, the rest of a value is never written as a whole again."""

_OVERHEAD = 200
"""How many bytes a record takes at least, beyond its changes."""


@dataclass(frozen=True)
class Stored:
    """A message in the session."""

    text: str
    """Its JSON."""
    seq: int
    """The number of its record."""


@dataclass(frozen=True)
class Renewal:
    """When everything is stored again, so that a value that is still written to does not expire."""

    at: datetime
    every: timedelta
    """Half of the retention."""
    assumed: bool = False
    """Whether that is the shortest one that there is, since no record was read yet that tells it."""


_SHORTEST = timedelta(minutes=30)


@dataclass(frozen=True)
class Value:
    """What a session contains: the value and its version."""

    position: str
    data: bytes | None = None
    """`None` if there is no value."""
    rest: Any = None
    """The value without its messages."""
    order: tuple[int, ...] = ()
    """The numbers of its messages, in their order."""
    messages: dict[int, Stored] | None = None
    next: int = 0
    """The number of the next new message."""
    full: int = 0
    """The number of the newest record with the whole rest."""
    pending: int = 0
    """The bytes of changes since."""
    renewal: Renewal | None = None
    """`None` if the records do not expire."""

    @property
    def is_due(self) -> bool:
        return self.renewal is not None and _now() >= self.renewal.at


def run(connection: Connection, calls: Calls[T]) -> T:
    """Runs calls, blocking."""
    found: Any = None
    failed: Exception | None = None
    while True:
        try:
            call = calls.send(found) if failed is None else calls.throw(failed)
        except StopIteration as end:
            result: T = end.value
            return result
        found, failed = None, None
        try:
            found = connection.call(call)
        except Exception as error:
            failed = error


async def arun(connection: Connection, calls: Calls[T]) -> T:
    """Runs calls in an event loop."""
    found: Any = None
    failed: Exception | None = None
    while True:
        try:
            call = calls.send(found) if failed is None else calls.throw(failed)
        except StopIteration as end:
            result: T = end.value
            return result
        found, failed = None, None
        try:
            found = await connection.acall(call)
        except Exception as error:
            failed = error


def note(record: Record) -> dict[str, Any] | None:
    """Returns the entry of the type `strands` of a record; `None` if something else wrote it."""
    entries = record.entries
    return entries[-1] if entries and entries[-1].get("type") == ENTRY else None


def read(session: str) -> Calls[Value]:
    """Reads a value: its newest records, and older ones while they are needed."""
    page: History = yield _calls.load(session, last=_FIRST_PAGE)
    position = page.position
    records = page.records
    while page.older is not None and not _suffices(records):
        page = yield _calls.load(session, last=_PAGE, before=page.older)
        records = [*page.records, *records]
    written = [(record, found) for record in records if (found := note(record)) is not None]
    if not written:
        if any(record.entries for record in records):
            raise CorruptError(f"session {session!r} contains no value: something else wrote it; use another key")
        return Value(position)
    newest, last = written[-1]
    next_message = last["first"] + len(newest.entries) - 1
    start = newest.seq if last["from"] is None else last["from"]
    if newest.expires_at is not None and records[0].seq > start:
        # What it needs has expired, so all of it has.
        return Value(position, next=next_message)
    written = [(record, found) for record, found in written if record.seq >= start]
    rest: Any = None
    messages: dict[int, Stored] = {}
    full = pending = 0
    for record, found in written:
        for at, message in enumerate(record.entries[:-1], found["first"]):
            messages[at] = Stored(_dumps(message), record.seq)
        if "full" in found:
            rest, full, pending = found["full"], record.seq, 0
        elif rest is not None:
            rest = patch(rest, found["delta"])
            pending += _size(found["delta"])
    try:
        order = tuple(_order(rest))
        data = _join(rest, [messages[at].text for at in order])
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptError(f"the value in session {session!r} is damaged: {error!r}; delete the session") from error
    if zlib.crc32(data) != last["crc"]:
        raise CorruptError(f"the value in session {session!r} is damaged: its checksum differs; delete the session")
    renewal = _renewal([record for record, _ in written])
    return Value(position, data, rest, order, {at: messages[at] for at in order}, next_message, full, pending, renewal)


def write(session: str, known: Value, data: bytes, *, owner: str, title: str) -> Calls[Value]:
    """Replaces a value. Raises a `ConflictError` if it was modified since it was read."""
    try:
        return (yield from _write(session, known, data, owner, title, structured=True))
    except InvalidError:
        # Too deep, for instance. As text it is stored as it is; what is wrong with the key is raised again.
        return (yield from _write(session, known, data, owner, title, structured=False))


def _write(session: str, known: Value, data: bytes, owner: str, title: str, *, structured: bool) -> Calls[Value]:
    if known.is_due and known.renewal is not None and known.renewal.assumed:
        found = yield from read(session)
        known = replace(known, renewal=found.renewal)
    rest, texts = _split(data) if structured else (_opaque(data), [])
    stored = dict(known.messages or {})
    order, new = _match(known.order, stored, known.next, texts)
    rewound = _rewound(known, order, new)
    if rewound is not None:
        # A message was replaced, as in a redaction: its record and what follows are taken back.
        stored = {at: message for at, message in stored.items() if message.seq < rewound}
        order, new = _match(tuple(at for at in known.order if at in stored), stored, known.next, texts)
    # Now and then, the whole rest is written again, so that reading ends there. A record without a new message then has to replace
    # everything, since a page of messages does not end at it: this is put off until there is a message, or that is no longer worth it.
    limit = max(_MIN_PENDING, _size(known.rest)) + (0 if new else _MIN_PENDING + sum(len(text) for text in texts))
    full = known.data is None or known.is_due or rewound is not None or known.pending > limit
    replaced = full and known.data is not None and (known.is_due or (rewound is None and not new))
    if replaced:
        rewound = None
        stored.clear()
        order, new = _match((), stored, known.next, texts)
    rest = _with_order(rest, order)
    delta: list[Change] = []
    if not full:
        delta = diff(known.rest, rest)
        # Also what `==` does not see, such as 1 in place of 1.0.
        full = _dumps(patch(known.rest, delta)) != _dumps(rest)
    needed = [stored[at].seq for at in order if at in stored] + ([] if full else [known.full])
    entry: dict[str, Any] = {"type": ENTRY, "first": known.next, "from": min(needed, default=None), "crc": zlib.crc32(data)}
    entry |= {"full": rest} if full else {"delta": delta}
    entries = [*(json.loads(text) for text in new), entry]
    appended: Appended
    if rewound is None:
        appended = yield _calls.append_entries(
            session, entries, expected=known.position, owner=owner, title=title, replace=replaced, retry=True
        )
    else:
        appended = yield _calls.rewind_to(session, rewound, entries=entries, expected=known.position)
    renewal = known.renewal
    if known.data is None:
        renewal = Renewal(_now() + _SHORTEST, _SHORTEST, assumed=True)
    elif replaced and renewal is not None:
        renewal = Renewal(_now() + renewal.every, renewal.every)
    added = {at: Stored(text, appended.seq) for at, text in enumerate(new, known.next)}
    live = {at: added[at] if at in added else stored[at] for at in order}
    return Value(
        appended.position,
        data,
        rest,
        tuple(order),
        live,
        known.next + len(new),
        appended.seq if full else known.full,
        0 if full else known.pending + _size(delta),
        renewal,
    )


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _renewal(records: list[Record]) -> Renewal | None:
    times = [(one.created_at, one.expires_at) for one in records]
    halves = [(created, (expires - created) / 2) for created, expires in times if created is not None and expires is not None]
    return min((Renewal(created + half, half) for created, half in halves), key=lambda renewal: renewal.at, default=None)


def _suffices(records: list[Record]) -> bool:
    """Returns whether everything that the newest record needs was read."""
    for record in reversed(records):
        found = note(record)
        if found is not None:
            start = found["from"]
            return start is None or records[0].seq <= start
    return False


def _match(old: tuple[int, ...], stored: dict[int, Stored], following: int, texts: list[str]) -> tuple[list[int], list[str]]:
    """Finds messages among the stored ones. Returns the number of each, and the new ones, which are numbered from `following` on."""
    free: dict[str, list[int]] = {}
    for at in reversed(old):
        free.setdefault(stored[at].text, []).append(at)
    order: list[int] = []
    new: list[str] = []
    for text in texts:
        found = free.get(text)
        if found:
            order.append(found.pop())
        else:
            order.append(following + len(new))
            new.append(text)
    return order, new


def _rewound(known: Value, order: list[int], new: list[str]) -> int | None:
    """Returns the number of the first record with a message that was replaced: by one with its id or, if it has none, at its place."""
    if not new or not known.messages:
        return None
    kept = set(order)
    ids = {json.loads(text).get("tracking_id") for text in new} - {None}
    seqs: list[int] = []
    for place, at in enumerate(known.order):
        if at in kept:
            continue
        old_id = json.loads(known.messages[at].text).get("tracking_id")
        if old_id in ids if old_id is not None else place < len(order) and order[place] >= known.next:
            seqs.append(known.messages[at].seq)
    return min(seqs, default=None)


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _size(value: Any) -> int:
    return len(_dumps(value)) + _OVERHEAD


def _exact(number: str) -> int:
    value = int(number)
    if not -(2**63) <= value < 2**64:
        raise ValueError(number)
    return value


def _refused(constant: str) -> Any:
    raise ValueError(constant)


def _split(data: bytes) -> tuple[Any, list[str]]:
    """Splits a value into its rest and its messages."""
    try:
        value: Any = json.loads(data, parse_int=_exact, parse_constant=_refused)
        if _dumps(value).encode() != data:
            return _opaque(data), []
    except (ValueError, RecursionError):
        return _opaque(data), []
    if _is(value, dict) and _is(value.get("data"), dict):
        messages: Any = value["data"].get("messages")
        if _is(messages, list) and all(_is_message(message) for message in messages):
            value["data"]["messages"] = []
            return {"json": value, "messages": True}, [_dumps(message) for message in messages]
    return {"json": value}, []


def _is(value: Any, kind: type) -> bool:
    return isinstance(value, kind)


def _is_message(message: Any) -> bool:
    """Returns whether a message comes back with its fields in the same order."""
    if not _is(message, dict) or list(message)[:2] != ["role", "content"]:
        return False
    if not _is(message["role"], str) or not _is(message["content"], list):
        return False
    return not message.keys() & {"name", "id", "tool_calls", "tool_call_id", "type"}


def _opaque(data: bytes) -> Any:
    try:
        return {"text": data.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def _with_order(rest: Any, order: list[int]) -> Any:
    if "messages" not in rest:
        return rest
    ranges: list[list[int]] = []
    for at in order:
        if ranges and ranges[-1][1] == at:
            ranges[-1][1] = at + 1
        else:
            ranges.append([at, at + 1])
    value = rest["json"]
    return rest | {"json": value | {"data": value["data"] | {"messages": ranges}}}


def _order(rest: Any) -> list[int]:
    return [at for start, end in rest["json"]["data"]["messages"] for at in range(start, end)] if "messages" in rest else []


def _join(rest: Any, texts: list[str]) -> bytes:
    """Returns the value of a rest and its messages."""
    if "text" in rest:
        return str(rest["text"]).encode()
    if "base64" in rest:
        return base64.b64decode(rest["base64"])
    value = rest["json"]
    if "messages" in rest:
        value = value | {"data": value["data"] | {"messages": [json.loads(text) for text in texts]}}
    return _dumps(value).encode()
