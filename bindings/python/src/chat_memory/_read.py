"""Reads the engine's results."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from . import _errors
from ._errors import InvalidError
from ._types import (
    Appended,
    AppendedNew,
    Cleared,
    Cost,
    Deleted,
    DeletedSession,
    Forked,
    ForkPlan,
    FoundMessage,
    History,
    Omitted,
    Origin,
    Recall,
    Record,
    Redacted,
    SearchHit,
    SessionInfo,
    SessionPage,
    Snippet,
    Swept,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def time(epoch_ms: int | None) -> datetime | None:
    """Reads a time; `None` if it is unknown."""
    return _EPOCH + timedelta(milliseconds=epoch_ms) if epoch_ms else None


def epoch_ms(name: str, time: datetime | None) -> int | None:
    """Returns a time of the parameter `name` as the engine takes it."""
    if time is None:
        return None
    if not isinstance(time, datetime):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidError(f"invalid {name}: a {type(time).__name__}, not a datetime; give one, as datetime.now(timezone.utc) returns")
    if time.tzinfo is None:
        raise InvalidError(f"invalid time {time.isoformat()} in {name}: no time zone; give one, as datetime.now(timezone.utc) has")
    return (time - _EPOCH) // timedelta(milliseconds=1)


def cost(found: dict[str, Any]) -> Cost:
    return Cost(found["requests"], found["readUnits"], found["writeUnits"], found["bytes"])


def appended(found: dict[str, Any]) -> Appended:
    return Appended(
        seq=found["seq"],
        position=found["position"],
        created_at=time(found["createdAt"]),
        repeated=found["repeated"],
        started=found["started"],
        cost=cost(found["cost"]),
    )


def appended_new(found: dict[str, Any]) -> AppendedNew:
    return AppendedNew(new=found["new"], seq=found["seq"], position=found["position"], cost=cost(found["cost"]))


def record(found: dict[str, Any]) -> Record:
    expires_at = found["expiresAt"]
    return Record(
        seq=found["seq"],
        created_at=time(found["createdAt"]),
        expires_at=time(expires_at and expires_at * 1000),
        metadata=found["metadata"],
        sent_at=[time(sent_at) for sent_at in found["sentAt"]],
        messages=found["messages"],
        others=found.get("entries"),
    )


def history(found: dict[str, Any]) -> History:
    return History(
        records=[record(one) for one in found["records"]],
        complete=found["complete"],
        position=found["position"],
        older=found["older"],
        cost=cost(found["cost"]),
    )


def recall(found: dict[str, Any]) -> Recall:
    omitted = found["leftOut"]
    return Recall(
        messages=found["messages"],
        tokens=found["tokens"],
        omitted=Omitted(omitted["older"], omitted["broken"], omitted["unread"], omitted["text"]),
        position=found["position"],
        cost=cost(found["cost"]),
    )


def cleared(found: dict[str, Any]) -> Cleared:
    return Cleared(found["position"], cost(found["cost"]))


def swept(found: dict[str, Any]) -> Swept:
    return Swept(found["records"], cost(found["cost"]))


def deleted(found: dict[str, Any]) -> Deleted:
    return Deleted(found["existed"], found["records"], cost(found["cost"]))


def session_info(found: dict[str, Any]) -> SessionInfo:
    return SessionInfo(
        id=found["id"],
        owner=found["owner"],
        title=found["title"],
        metadata=found["metadata"],
        created_at=time(found["createdAt"]),
        last_at=time(found["lastAt"]),
        forked_from=None if found["forkedFrom"] is None else Origin(**found["forkedFrom"]),
        records=found["records"],
        first_words=found["firstWords"],
        records_exact=found["recordsExact"],
    )


def session_page(found: dict[str, Any]) -> SessionPage:
    return SessionPage(
        sessions=[session_info(info) for info in found["sessions"]],
        next=found["next"],
        order=found["order"],
        warnings=found["warnings"],
        cost=cost(found["cost"]),
    )


def fork_plan(found: dict[str, Any]) -> ForkPlan:
    return ForkPlan(
        origin=found["from"],
        seq=found["seq"],
        records=found["records"],
        entries=found["entries"],
        write_units=found["writeUnits"],
        cost=cost(found["cost"]),
    )


def forked(found: dict[str, Any]) -> Forked:
    return Forked(
        session=found["session"],
        origin=found["from"],
        seq=found["seq"],
        records=found["records"],
        entries=found["entries"],
        position=found["position"],
        repeated=found["repeated"],
        cost=cost(found["cost"]),
    )


def redacted(found: dict[str, Any]) -> Redacted:
    return Redacted(found["changed"], found["entries"], cost(found["cost"]))


def deleted_session(found: dict[str, Any]) -> DeletedSession:
    error = found["error"]
    return DeletedSession(found["session"], found["records"], None if error is None else _errors.read(error))


def search_hit(found: dict[str, Any]) -> SearchHit:
    message, snippet = found["message"], found["snippet"]
    return SearchHit(
        session=session_info(found["session"]),
        message=None if message is None else FoundMessage(message["seq"], message["index"], message["role"], time(message["at"])),
        snippet=Snippet(snippet["text"], [(part["text"], part["match"]) for part in snippet["parts"]]),
    )
