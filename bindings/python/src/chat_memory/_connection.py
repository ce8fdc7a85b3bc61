"""The connection to the engine: an open store, and credentials that are renewed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any, Generic, TypeVar

from ._calls import Call
from ._errors import AccessDeniedError, InvalidError, raised
from ._native import NativeCheckpoints, NativeError, NativeStore
from ._types import Credentials

T = TypeVar("T")
Native = TypeVar("Native", bound=NativeStore | NativeCheckpoints)

Key = tuple[str, str, str | None]
"""An access key: its id, its secret, and the token of its session."""

CredentialSource = Credentials | Callable[[], Credentials]
"""An access key, or a function that returns one and is called again before it expires."""

_RENEW_BEFORE = timedelta(minutes=5)

_MAX_SHARED = 256
"""How many shared stores a process keeps open. Beyond that, the least recently used one is closed once nobody uses it."""

_shared: OrderedDict[tuple[str, Key | None], NativeStore] = OrderedDict()


class AnyConnection(Generic[Native]):
    """A store URL and its credentials, for what the engine opens there."""

    def __init__(
        self, url: str, credentials: CredentialSource | None, make: Callable[[str, Key | None], Native], *, share: bool = False
    ) -> None:
        """Checks the URL and the credentials."""
        if not isinstance(url, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidError(f"invalid store URL: a value of the type {type(url).__name__}; give a string such as 'sqlite:chat.db'")
        if credentials is not None and not isinstance(credentials, Credentials) and not callable(credentials):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidError(
                f"invalid credentials: a value of the type {type(credentials).__name__}; "
                "give a chat_memory.Credentials, or a function that returns one"
            )
        self.url = url
        self._make: Callable[[str, Key | None], Native] = make
        self._share = share
        self._source = None if credentials is None or isinstance(credentials, Credentials) else credentials
        self._current: Native | None = None
        self._used: Credentials | None = None
        self._renew_at: datetime | None = None
        if self._source is None:
            self._use(credentials if isinstance(credentials, Credentials) else None)
        else:
            self._made(None)

    def __repr__(self) -> str:
        return self.url

    def run(self, operation: str, request: Any) -> Any:
        """Runs an operation."""
        try:
            return self._store().call(operation, request)
        except NativeError as error:
            raise raised(error, operation) from None

    async def arun(self, operation: str, request: Any) -> Any:
        """Runs an operation without blocking the event loop."""
        # Imported here, since it takes longer than everything else, and blocking stores do not need it.
        import asyncio

        store = await asyncio.to_thread(self._store) if self._is_due() else self._store()
        event_loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = event_loop.create_future()
        try:
            store.call_soon(operation, request, event_loop, future)
            return await future
        except NativeError as error:
            raise raised(error, operation) from None

    def close(self) -> None:
        """Closes the store, unless it is shared."""
        if self._current is not None and not self._share:
            self._current.close()

    def _is_due(self) -> bool:
        if self._source is None:
            return False
        return self._current is None or (self._renew_at is not None and datetime.now(timezone.utc) >= self._renew_at)

    def _store(self) -> Native:
        current = self._current
        if current is not None and not self._is_due():
            return current
        assert self._source is not None
        try:
            found = self._source()
        except Exception as error:
            raise AccessDeniedError(f"the function given as credentials failed: {error}; see to what it needs") from error
        if not isinstance(found, Credentials):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidError(f"invalid credentials: the function returned a {type(found).__name__}; return chat_memory.Credentials")
        return self._use(found)

    def _use(self, credentials: Credentials | None) -> Native:
        expires_at = None if credentials is None else credentials.expires_at
        self._renew_at = None if expires_at is None else expires_at - _RENEW_BEFORE
        if self._current is None or credentials != self._used:
            # The store of earlier credentials is closed once no call uses it.
            self._current = self._made(credentials)
            self._used = credentials
        return self._current

    def _made(self, credentials: Credentials | None) -> Native:
        key = None
        if credentials is not None:
            key = credentials.access_key_id, credentials.secret_access_key, credentials.session_token
        try:
            return self._make(self.url, key)
        except NativeError as error:
            raise raised(error) from None


class Connection(AnyConnection[NativeStore]):
    """A store of sessions: its URL and its credentials."""

    def __init__(self, url: str, credentials: CredentialSource | None = None, *, share: bool = False) -> None:
        """Checks the URL and the credentials. With `share`, connections with the same ones have one open store."""
        super().__init__(url, credentials, _shared_store if share else NativeStore, share=share)

    def call(self, call: Call[T]) -> T:
        """Runs an operation."""
        return call.read(self.run(call.operation, call.request))

    async def acall(self, call: Call[T]) -> T:
        """Runs an operation without blocking the event loop."""
        return call.read(await self.arun(call.operation, call.request))


def _shared_store(url: str, key: Key | None) -> NativeStore:
    # A relative path is resolved when the store is made, so another folder would need another store; a `memory:` store is its owner's.
    if not url.startswith("dynamodb:"):
        return NativeStore(url, key)
    store = _shared.pop((url, key), None) or NativeStore(url, key)
    _shared[url, key] = store
    while len(_shared) > _MAX_SHARED:
        _shared.popitem(last=False)
    return store
