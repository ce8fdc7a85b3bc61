"""Chat message histories for LangChain.

`DynamoDBChatMessageHistory` has the name and the parameters of langchain-community's class, and works on the same tables, next to it:

```python
from chat_memory.langchain import DynamoDBChatMessageHistory  # was langchain_community.chat_message_histories
```
"""

from __future__ import annotations

import asyncio
import re
import time
import weakref
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, Protocol, TypeVar
from urllib.parse import quote, urlsplit

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage, messages_from_dict, messages_to_dict

from . import _calls
from ._calls import Call
from ._connection import Connection, CredentialSource
from ._errors import ChatMemoryError, ConflictError, InvalidError, UnsupportedError
from ._retry import ATTEMPTS, pause_s
from ._store import AsyncStore, Store, connection_of
from ._types import Appended, Credentials, History, Recall

T = TypeVar("T")

_DEFAULT_KEY = "SessionId"
_DEFAULT_LIST = "History"
_DEFAULT_TTL = "expireAt"

class Boto3Session(Protocol):
    """What is used of a `boto3.Session`."""

    @property
    def region_name(self) -> Any: ...
    @property
    def client(self) -> Any: ...
    @property
    def get_credentials(self) -> Any: ...


class StoreChatMessageHistory(BaseChatMessageHistory):
    """The history of one session of any store: `StoreChatMessageHistory("sqlite:chat.db", "user-42")`."""

    def __init__(
        self,
        store: str | Store | AsyncStore,
        session_id: str,
        *,
        turns: int | None = None,
        tokens: int | None = None,
        counter: str | None = None,
        owner: str | None = None,
        title: str | None = None,
    ) -> None:
        """Opens the history, without a request yet.

        Args:
            store: A store, or a store URL. Histories with the same URL share one open DynamoDB table.
            session_id: The session.
            turns: `messages` returns the newest n turns; by default everything.
            tokens: `messages` returns as many of the newest messages as fit into n tokens.
            counter: How to count tokens, as for `Store.recall`.
            owner: The owner of a new session.
            title: The title of a new session.
        """
        self._connection = connection_of(store)
        self.session_id = session_id
        self._session = session_id
        self._turns, self._tokens, self._counter = turns, tokens, counter
        self._owner, self._title = owner, title

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]
        """The messages, oldest first."""
        return self._call(self._shown())

    async def aget_messages(self) -> list[BaseMessage]:
        """Returns the messages, oldest first."""
        return await self._acall(self._shown())

    def add_messages(self, messages: Sequence[BaseMessage], *, key: str | None = None) -> None:
        """Adds messages in one write: all of them or none.

        Args:
            key: An idempotency key: messages added repeatedly with it within a day are stored once.
        """
        if messages:
            self._call(self._append(messages_to_dict(messages), key=key))

    async def aadd_messages(self, messages: Sequence[BaseMessage], *, key: str | None = None) -> None:
        """Adds messages in one write: all of them or none. `key` is as for `add_messages`."""
        if messages:
            await self._acall(self._append(messages_to_dict(messages), key=key))

    def clear(self) -> None:
        """Removes all messages."""
        self._call(_calls.clear(self._session))

    async def aclear(self) -> None:
        """Removes all messages."""
        await self._acall(_calls.clear(self._session))

    def _shown(self) -> Call[list[BaseMessage]]:
        call: Call[History] | Call[Recall]
        if self._turns is None and self._tokens is None and self._counter is None:
            call = _calls.load(self._session, format="langchain")
        else:
            call = _calls.recall(self._session, turns=self._turns, tokens=self._tokens, counter=self._counter, format="langchain")
        return Call(call.operation, call.request, lambda found: messages_from_dict(call.read(found).messages))

    def _append(
        self,
        messages: Sequence[dict[str, Any]],
        *,
        key: str | None = None,
        expected: str | None = None,
        replace: bool = False,
    ) -> Call[Appended]:
        return _calls.append(
            self._session,
            messages,
            key=key,
            expected=expected,
            replace=replace,
            owner=self._owner,
            title=self._title,
            format="langchain",
            retry=True,
        )

    def _call(self, call: Call[T]) -> T:
        return self._connection.call(call)

    async def _acall(self, call: Call[T]) -> T:
        return await self._connection.acall(call)


class DynamoDBChatMessageHistory(StoreChatMessageHistory):
    """The history of one session in a DynamoDB table of langchain-community's class of this name, which continues to work on it.

    A turn is stored once, also if its answer was lost; concurrent writers lose nothing; a session has no end: above 64 KB, older messages
    move to further items.
    """

    def __init__(
        self,
        table_name: str,
        session_id: str,
        endpoint_url: str | None = None,
        primary_key_name: str = _DEFAULT_KEY,
        key: dict[str, str] | None = None,
        boto3_session: Boto3Session | None = None,
        kms_key_id: str | None = None,
        ttl: int | None = None,
        ttl_key_name: str = _DEFAULT_TTL,
        history_size: int | None = None,
        history_messages_key: str | None = _DEFAULT_LIST,
        *,
        coerce_float_to_decimal: bool = False,
    ) -> None:
        """Opens the history, without a request yet. The parameters are langchain-community's.

        Args:
            table_name: The table's name or ARN.
            session_id: The session.
            endpoint_url: The service's URL, for DynamoDB Local.
            primary_key_name: The partition key's name.
            key: The whole key of the session's item, in place of `session_id`. Of two attributes, the first is the partition key, unless
                `primary_key_name` names the other.
            boto3_session: Its credentials, region and endpoint are used; by default AWS's usual chain.
            kms_key_id: Not supported: the messages would be encrypted by another library.
            ttl: How long the session is kept after its last write, in seconds; at least an hour.
            ttl_key_name: The attribute with the time at which the session expires.
            history_size: How many messages to store. Older ones are removed.
            history_messages_key: The attribute with the messages.
            coerce_float_to_decimal: Not needed: floats are always stored.
        """
        if kms_key_id is not None:
            raise UnsupportedError(
                "kms_key_id is not supported: it encrypts messages before they are stored; "
                "leave it out and let DynamoDB encrypt the table with the key, or keep langchain-community's class for this table"
            )
        if history_size is not None and history_size < 0:
            raise InvalidError(f"invalid history_size {history_size}: expected the number of messages to store, or None")
        self.key = key or {primary_key_name: session_id}
        self.ttl = ttl
        self.ttl_key_name = ttl_key_name
        self.history_size = history_size
        self.history_messages_key = history_messages_key
        self.coerce_float_to_decimal = coerce_float_to_decimal
        partition_key, sort_key, session = _session_of(self.key, primary_key_name)
        region, endpoint, credentials = (None, None, None) if boto3_session is None else _client_of(boto3_session)
        list_attribute = history_messages_key or _DEFAULT_LIST
        settings = {
            "layout": "list",
            "dialect": "python",
            "partition_key": partition_key,
            "sort_key": sort_key,
            "region": region,
            "endpoint": endpoint_url or endpoint,
            "list_attribute": None if list_attribute == _DEFAULT_LIST else list_attribute,
            "retention": f"{ttl}s" if ttl else None,
            "ttl_attribute": ttl_key_name if ttl and ttl_key_name != _DEFAULT_TTL else None,
        }
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in settings.items() if value is not None)
        with _Words():
            connection = Connection(f"dynamodb://{quote(table_name, safe='')}?{query}", credentials, share=True)
        super().__init__(Store(connection), session_id)
        self._session = session

    def add_messages(self, messages: Sequence[BaseMessage], *, key: str | None = None) -> None:
        """Adds messages in one write: all of them or none.

        Args:
            key: An idempotency key: messages added repeatedly with it within a day are stored once. Not with a `history_size`.
        """
        size = self._size(key)
        if size is None or not messages:
            return super().add_messages(messages, key=key)
        for attempt in range(ATTEMPTS):
            history = self._call(_calls.load(self._session, last=size, format="langchain"))
            try:
                self._call(self._sized(history, messages, size))
                return None
            except ConflictError:
                # Another writer was faster: what it wrote must not be lost.
                if attempt == ATTEMPTS - 1:
                    raise
                time.sleep(pause_s(attempt))

    async def aadd_messages(self, messages: Sequence[BaseMessage], *, key: str | None = None) -> None:
        """Adds messages in one write: all of them or none. `key` is as for `add_messages`."""
        size = self._size(key)
        if size is None or not messages:
            return await super().aadd_messages(messages, key=key)
        for attempt in range(ATTEMPTS):
            history = await self._acall(_calls.load(self._session, last=size, format="langchain"))
            try:
                await self._acall(self._sized(history, messages, size))
                return None
            except ConflictError:
                if attempt == ATTEMPTS - 1:
                    raise
                await asyncio.sleep(pause_s(attempt))

    def _size(self, key: str | None) -> int | None:
        if self.history_size and key is not None:
            raise InvalidError("a key and a history_size exclude each other: the write removes messages, too; leave one out")
        return self.history_size or None

    def _sized(self, history: History, messages: Sequence[BaseMessage], size: int) -> Call[Appended]:
        """Appends to what is stored or, if that would be too much, replaces it by the newest messages."""
        added = messages_to_dict(messages)
        stored = history.messages
        if history.complete and len(stored) + len(added) <= size:
            return self._append(added, expected=history.position)
        return self._append([*stored, *added][-size:], expected=history.position, replace=True)

    def _call(self, call: Call[T]) -> T:
        with _Words():
            return super()._call(call)

    async def _acall(self, call: Call[T]) -> T:
        with _Words():
            return await super()._acall(call)


def _session_of(key: Mapping[str, str], primary_key_name: str) -> tuple[str, str | None, str]:
    """Returns the names of the keys, and the session's id, as docs/migrating.md describes it."""
    names = list(key)
    values: list[object] = list(key.values())
    if not 1 <= len(names) <= 2 or not all(isinstance(value, str) and value for value in values):
        raise InvalidError("invalid key: expected one or two attributes that are strings, such as {'UserId': 'ada', 'SessionId': 's1'}")
    if len(names) == 1:
        return names[0], None, key[names[0]]
    partition = primary_key_name if primary_key_name != _DEFAULT_KEY and primary_key_name in key else names[0]
    sort = next(name for name in names if name != partition)
    return partition, sort, f"{key[partition].replace('~', '~0').replace('/', '~1')}/{key[sort]}"


_clients: weakref.WeakKeyDictionary[Boto3Session, tuple[str | None, str | None, CredentialSource | None]] = weakref.WeakKeyDictionary()


def _client_of(session: Boto3Session) -> tuple[str | None, str | None, CredentialSource | None]:
    """Returns the region, the endpoint (if it is not AWS's own) and the credentials of a boto3 session."""
    known = _clients.get(session)
    if known is not None:
        return known
    region: str | None = session.region_name
    # Only a client knows the endpoint, which may come from the environment or the profile.
    url: str = session.client("dynamodb", region_name=region or "us-east-1").meta.endpoint_url
    host = urlsplit(url).hostname or ""
    found = region, None if host.endswith((".amazonaws.com", ".amazonaws.com.cn", ".api.aws")) else url, _credentials_of(session)
    _clients[session] = found
    return found


def _credentials_of(session: Boto3Session) -> CredentialSource | None:
    provider: Any = session.get_credentials()
    if provider is None:
        return None

    def current() -> Credentials:
        frozen = provider.get_frozen_credentials()
        # boto3 renews these itself, so it is asked at every call.
        expires_at = datetime.now(timezone.utc) if hasattr(provider, "refresh_needed") else None
        return Credentials(frozen.access_key, frozen.secret_key, frozen.token, expires_at)

    return current


_NAMES: dict[str, str] = {
    "partition_key": "primary_key_name",
    "sort_key": "key",
    "list_attribute": "history_messages_key",
    "ttl_attribute": "ttl_key_name",
    "retention": "ttl",
}
"""The parameters by their names in a store URL, which the engine's errors use."""


_MISFIT = re.compile(
    r"""^.*has\ the\ (?:partition\ key\ (?P<partition>"[^"]*")\ \(S\)\ and\ no\ sort\ key
    |keys\ (?P<first>"[^"]*")\ and\ (?P<second>"[^"]*"))""",
    re.VERBOSE | re.DOTALL,
)
"""The beginning of an error about a table with other keys."""


class _Words:
    """Names parameters in errors as they were given: what is `list_attribute=` in a store URL is `history_messages_key` here."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        if not isinstance(error, ChatMemoryError):
            return
        # The engine's remedies for a table with other keys are settings that this class has not.
        misfit = _MISFIT.search(str(error))
        if misfit is not None:
            partition, sort = misfit["partition"] or misfit["first"], misfit["second"]
            remedy = f"primary_key_name={partition}" if sort is None else f"key={{{partition}: …, {sort}: …}} with a session's two keys"
            error.args = (f"{misfit[0]}; give {remedy}, or another table",)
            return
        # Quoted text is a value, and stays as it is.
        parts = re.split(r'("(?:[^"\\]|\\.)*")', str(error))
        parts[::2] = [re.sub(rf"\b({'|'.join(_NAMES)})\b", lambda found: _NAMES[found[1]], part) for part in parts[::2]]
        error.args = ("".join(parts),)
