"""What calls take and return."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from ._errors import ChatMemoryError, InvalidError

Message = Mapping[str, object]
"""A message in OpenAI's form, with any other fields: `{"role": "user", "content": "Hello"}`. Messages in the forms of Anthropic, Bedrock,
Gemini, Ollama and the Responses API are stored unchanged."""

Entry = Mapping[str, object]
"""Any JSON object, such as a line of an agent's transcript. One that is a message in OpenAI's form is a message. Its `uuid` or `id`, if it has
one, is its id in the session."""

Format = Literal["openai", "langchain", "anthropic", "responses"]
"""The form in which messages are given and returned: OpenAI's chat messages, LangChain's stored messages, or the messages (items) of
Anthropic's Messages API and OpenAI's Responses API."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """An AWS access key."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None
    """When temporary credentials expire, with a time zone. A function that returns them is called again before that time."""

    def __post_init__(self) -> None:
        for name in ("access_key_id", "secret_access_key"):
            if not isinstance(getattr(self, name), str):
                raise InvalidError(f"invalid credentials: {name} is not a str; give the access key's")
        ends = self.expires_at
        if ends is not None and (not isinstance(ends, datetime) or ends.tzinfo is None):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidError("invalid credentials: expires_at is not a datetime with a time zone; give one such as datetime.now(timezone.utc)")


@dataclass(frozen=True, slots=True)
class Cost:
    """What a call cost, retries included: requests, capacity units as DynamoDB reports them, bytes as stored."""

    requests: int = 0
    read_units: float = 0.0
    write_units: float = 0.0
    bytes: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.requests + other.requests,
            self.read_units + other.read_units,
            self.write_units + other.write_units,
            self.bytes + other.bytes,
        )


@dataclass(frozen=True, slots=True)
class Appended:
    """The result of an append."""

    seq: int
    """The record's number in the session, from 0."""
    position: str
    """The position after the record."""
    created_at: datetime | None
    repeated: bool
    """Whether an earlier attempt with the same key or ticket had already written it."""
    started: bool
    """Whether it started the session."""
    cost: Cost


@dataclass(frozen=True, slots=True)
class AppendedNew:
    """The result of an append of new entries only."""

    new: list[bool]
    """For each entry of the append, whether it was new and is appended now."""
    seq: int | None
    """The number of the new entries' record; `None` if there were none."""
    position: str
    """The position after that record, or the session's."""
    cost: Cost


@dataclass(frozen=True, slots=True)
class Record:
    """What one append wrote."""

    seq: int
    created_at: datetime | None
    expires_at: datetime | None
    metadata: dict[str, Any] | None
    sent_at: list[datetime | None]
    """When each message was sent; `None` where that is unknown."""
    messages: list[dict[str, Any]]
    others: list[dict[str, Any]] | None
    """All entries in their order, if one of them is not a message; otherwise `None`."""

    @property
    def entries(self) -> list[dict[str, Any]]:
        """All entries, as they are stored. Messages are in the format of the load if there is nothing else in the record, otherwise in
        OpenAI's."""
        return self.messages if self.others is None else self.others


@dataclass(frozen=True, slots=True)
class History:
    """Records of a session, oldest first."""

    records: list[Record]
    complete: bool
    """Whether there are no older records."""
    position: str
    """The session's position: pass it as `expected` to an append that must be refused if the session was modified since."""
    older: str | None
    """Pass it as `before` to load what is older; `None` if there is nothing older."""
    cost: Cost

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages of all records, oldest first."""
        return [message for record in self.records for message in record.messages]

    @property
    def entries(self) -> list[dict[str, Any]]:
        """The entries of all records, oldest first: messages and others."""
        return [entry for record in self.records for entry in record.entries]


@dataclass(frozen=True, slots=True)
class Omitted:
    """What a window does not show."""

    older: int
    """Messages that were read, but did not fit."""
    broken: int
    """Tool calls and results without their counterpart."""
    unread: bool
    """Whether there is more that was not read."""
    text: str
    """The same in words."""


@dataclass(frozen=True, slots=True)
class Recall:
    """The newest part of a session, as a model should be shown it."""

    messages: list[dict[str, Any]]
    tokens: int | None
    """The number of their tokens, if the window counts them."""
    omitted: Omitted
    position: str
    cost: Cost


@dataclass(frozen=True, slots=True)
class Cleared:
    """The result of a clear."""

    position: str
    cost: Cost


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep erased."""

    records: int
    cost: Cost


@dataclass(frozen=True, slots=True)
class Deleted:
    """The result of a delete."""

    existed: bool
    """Whether the session existed: `False` if it never did, was deleted before or had expired."""
    records: int
    """How many records were erased."""
    cost: Cost


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a fork comes from."""

    session: str
    """The session that was forked. It may have been deleted since."""
    seq: int
    """The number, in that session, of the last record that was copied."""


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A session, as the directory lists it."""

    id: str
    owner: str | None
    title: str | None
    metadata: dict[str, Any] | None
    created_at: datetime | None
    last_at: datetime | None
    """When something was last appended; on DynamoDB at most an hour old, and `None` if it is unknown."""
    forked_from: Origin | None = None
    """Where it was forked from; `None` if it is no fork, or if its metadata was replaced since."""
    records: int | None = None
    """How many records it has since its last clear: those that were taken back count. `None` if it is unknown."""
    first_words: str | None = None
    """The beginning of its first user's message. `None` if there is none, and on DynamoDB unless a list was asked for `contents`."""
    records_exact: bool = False
    """Whether `records` is the number now. If not, it had at least as many at `last_at`, cleared ones included."""


@dataclass(frozen=True, slots=True)
class SessionPage:
    """A page of sessions."""

    sessions: list[SessionInfo]
    next: str | None
    """Pass it as `after` to get the next page; `None` after the last."""
    order: Literal["started", "recent"]
    """The actual order: on DynamoDB, an owner with over 1,000 sessions is listed by start."""
    warnings: list[str]
    """What the store holds but cannot list."""
    cost: Cost

    def __iter__(self) -> Iterator[SessionInfo]:
        return iter(self.sessions)


@dataclass(frozen=True, slots=True)
class ForkPlan:
    """What a fork would copy."""

    origin: str
    """The session that is forked."""
    seq: int
    """The number, in that session, of the last record that is copied."""
    records: int
    entries: int
    """How many messages and other entries the records have."""
    write_units: float | None
    """An estimate of the write units; `None` if the store has no units."""
    cost: Cost
    """What reading cost."""


@dataclass(frozen=True, slots=True)
class Forked:
    """The result of a fork."""

    session: str
    """The new session."""
    origin: str
    """The session that was forked."""
    seq: int
    """The number, in that session, of the last record that was copied."""
    records: int
    entries: int
    """How many messages and other entries the records have."""
    position: str
    """The position of the new session."""
    repeated: bool
    """Whether an earlier attempt with the same key had already created it."""
    cost: Cost


@dataclass(frozen=True, slots=True)
class Redacted:
    """The result of a redaction."""

    changed: bool
    """`False` if the record was redacted in this way before."""
    entries: int
    """How many messages and other entries changed."""
    cost: Cost


@dataclass(frozen=True, slots=True)
class DeletedSession:
    """A session of an owner whose sessions are deleted."""

    session: str
    records: int
    """How many records were erased."""
    error: ChatMemoryError | None
    """Why it could not be deleted; `None` if it was."""


@dataclass(frozen=True, slots=True)
class OwnerDeletion:
    """What a deletion of an owner's sessions did."""

    sessions: int
    """How many sessions were deleted."""
    records: int
    """How many records were erased."""
    failed: list[DeletedSession]
    """The sessions that could not be deleted, and are left. If there are none, nothing of the owner is listed any more."""
    cost: Cost


@dataclass(frozen=True, slots=True)
class FoundMessage:
    """Where a message was found."""

    seq: int
    """The number of its record."""
    index: int
    """Its place among the record's entries, from 0."""
    role: str | None
    """Its author; `None` for an entry that is not a message."""
    at: datetime | None
    """When it was sent, or else stored; `None` if unknown."""


@dataclass(frozen=True, slots=True)
class Snippet:
    """A part of a text on one line, where `…` marks what was left out."""

    text: str
    parts: list[tuple[str, bool]]
    """The same in parts, each with whether it is a match."""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A session, or a message, that was found."""

    session: SessionInfo
    """The session. In a store without a directory only its id is known."""
    message: FoundMessage | None
    """The message; `None` if the session's title, id or owner was found."""
    snippet: Snippet
    """A part of the text."""
