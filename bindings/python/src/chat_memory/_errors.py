"""Exceptions, one class for each kind of error."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Literal

from ._native import NativeError

ErrorKind = Literal[
    "not_found",
    "conflict",
    "in_doubt",
    "key_reused",
    "too_large",
    "invalid",
    "access_denied",
    "throttled",
    "contended",
    "unavailable",
    "corrupt",
    "unsupported",
    "read_only",
    "other",
]


class ChatMemoryError(Exception):
    """Why a call failed. The message says what is wrong, where, and what to do."""

    kind: ClassVar[ErrorKind] = "other"

    ticket: str | None
    """For `in_doubt`: the ticket with which any process can retry the append."""

    actual: str | None
    """For `conflict`: the session's current position."""

    retryable: bool
    """Whether the same call may succeed later, unchanged."""

    def __init__(self, message: str, *, ticket: str | None = None, actual: str | None = None, retryable: bool = False) -> None:
        super().__init__(message)
        self.ticket = ticket
        self.actual = actual
        self.retryable = retryable

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), str(self), self.ticket, self.actual, self.retryable)


class NotFoundError(ChatMemoryError):
    """The table, the file or its folder does not exist."""

    kind = "not_found"


class ConflictError(ChatMemoryError):
    """The session was modified since the expected position was read. Nothing was written; `actual` is the current position."""

    kind = "conflict"


class InDoubtError(ChatMemoryError):
    """The outcome of an append is unknown. Retry it with `ticket`, from any process: it is never stored twice."""

    kind = "in_doubt"


class KeyReusedError(ChatMemoryError):
    """The idempotency key was used before, with other messages."""

    kind = "key_reused"


class TooLargeError(ChatMemoryError):
    """More bytes than the store accepts."""

    kind = "too_large"


class InvalidError(ChatMemoryError, ValueError):
    """The call itself is invalid, and repeating it cannot help."""

    kind = "invalid"


class AccessDeniedError(ChatMemoryError):
    """The credentials are missing, refused or expired, or lack a permission."""

    kind = "access_denied"


class ThrottledError(ChatMemoryError):
    """The service throttled the request. Nothing was written."""

    kind = "throttled"


class ContendedError(ChatMemoryError):
    """Conflicts with other writers to the session lasted until the deadline. Nothing was written."""

    kind = "contended"


class UnavailableError(ChatMemoryError):
    """The service or the disk could not be reached, or not in time. Nothing was written."""

    kind = "unavailable"


class CorruptError(ChatMemoryError):
    """Stored data cannot be read."""

    kind = "corrupt"


class UnsupportedError(ChatMemoryError):
    """The store does not support this, or its data was written by a newer version."""

    kind = "unsupported"


class ReadOnlyError(ChatMemoryError):
    """The store was opened read-only."""

    kind = "read_only"


_CLASSES: dict[str, type[ChatMemoryError]] = {
    of.kind: of
    for of in (
        NotFoundError,
        ConflictError,
        InDoubtError,
        KeyReusedError,
        TooLargeError,
        InvalidError,
        AccessDeniedError,
        ThrottledError,
        ContendedError,
        UnavailableError,
        CorruptError,
        UnsupportedError,
        ReadOnlyError,
    )
}


_NAMES = {"surely": "retry", "expect": "expected"}
"""What the engine calls otherwise than the parameters of the methods."""


def _in_words_of(operation: str, message: str) -> str:
    """Names the parameter that an error is about as it was given."""
    reads_records = operation == "records"
    names = {**_NAMES, "messages": "last"} if reads_records else _NAMES

    def given(found: re.Match[str]) -> str:
        name = names.get(found[1]) or re.sub(r"[A-Z]", lambda letter: "_" + letter[0].lower(), found[1])
        return f"invalid {name}{found[2]}"

    message = re.sub(r"^invalid ([a-z]+(?:[A-Z][a-z]+)*)(:|$)", given, message, count=1)
    if reads_records:
        message = message.replace("give only one of messages, turns", "give only one of last, turns")
    return message


def raised(error: NativeError, operation: str = "") -> ChatMemoryError:
    """Returns the exception for an error of the engine."""
    kind, message, ticket, actual, retryable = error.args
    message = _in_words_of(operation, message)
    return _CLASSES.get(kind, ChatMemoryError)(message, ticket=ticket, actual=actual, retryable=retryable)


def read(found: dict[str, Any]) -> ChatMemoryError:
    """Returns the exception for an error in a result."""
    of = _CLASSES.get(found["code"], ChatMemoryError)
    return of(found["message"], ticket=found["ticket"], actual=found["actual"], retryable=found["retryable"])


def _restored(of: type[ChatMemoryError], message: str, ticket: str | None, actual: str | None, retryable: bool) -> ChatMemoryError:
    return of(message, ticket=ticket, actual=actual, retryable=retryable)
