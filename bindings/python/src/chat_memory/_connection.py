"""The connection to the engine: an open store, and credentials that are renewed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import TypeVar

from ._calls import Call
from ._errors import AccessDeniedError, InvalidError, raised
from ._native import NativeError, NativeStore
from ._types import Credentials

T = TypeVar("T")

CredentialSource = Credentials | Callable[[], Credentials]
"""An access key, or a function that returns one and is called again before it expires."""

_RENEW_BEFORE = timedelta(minutes=5)

_MAX_SHARED = 256
"""How many shared stores a process keeps open. Beyond that, the least recently used one is closed once nobody uses it."""

_shared: OrderedDict[tuple[str, Credentials | None], NativeStore] = OrderedDict()


class Connection:
    """A store URL and its credentials."""

    def __init__(self, url: str, credentials: CredentialSource | None = None, *, share: bool = False) -> None:
        """Checks the URL and the credentials. With `share`, connections with the same ones have one open store."""
        if not isinstance(url, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidError(f"invalid store URL: a value of the type {type(url).__name__}; give a string such as 'sqlite:chat.db'")
        self.url = url
        self._share = share
        self._source = None if credentials is None or isinstance(credentials, Credentials) else credentials
        self._current: NativeStore | None = None
        self._used: Credentials | None = None
        self._renew_at: datetime | None = None
        if self._source is None:
            self._use(credentials if isinstance(credentials, Credentials) else None)
        else:
            _make(url, None)

    def __repr__(self) -> str:
        return self.url

    def call(self, call: Call[T]) -> T:
        """Runs an operation."""
        try:
            return call.read(self._store().call(call.operation, call.request))
        except NativeError as error:
            raise raised(error) from None

    async def acall(self, call: Call[T]) -> T:
        """Runs an operation without blocking the event loop."""
        # Imported here, since it takes longer than everything else, and blocking stores do not need it.
        import asyncio

        store = await asyncio.to_thread(self._store) if self._is_due() else self._store()
        event_loop = asyncio.get_running_loop()
        future = event_loop.create_future()
        try:
            store.call_soon(call.operation, call.request, event_loop, future)
            return call.read(await future)
        except NativeError as error:
            raise raised(error) from None

    def close(self) -> None:
        """Closes the store, unless it is shared."""
        if self._current is not None and not self._share:
            self._current.close()

    def _is_due(self) -> bool:
        if self._source is None:
            return False
        return self._current is None or (self._renew_at is not None and datetime.now(timezone.utc) >= self._renew_at)

    def _store(self) -> NativeStore:
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

    def _use(self, credentials: Credentials | None) -> NativeStore:
        expires_at = None if credentials is None else credentials.expires_at
        self._renew_at = None if expires_at is None else expires_at - _RENEW_BEFORE
        if self._current is None or credentials != self._used:
            # The store of earlier credentials is closed once no call uses it.
            self._current = _shared_store(self.url, credentials) if self._share else _make(self.url, credentials)
            self._used = credentials
        return self._current


def _make(url: str, credentials: Credentials | None) -> NativeStore:
    key = None
    if credentials is not None:
        key = credentials.access_key_id, credentials.secret_access_key, credentials.session_token
    try:
        return NativeStore(url, key)
    except NativeError as error:
        raise raised(error) from None


def _shared_store(url: str, credentials: Credentials | None) -> NativeStore:
    # A relative path is resolved when the store is made, so another folder would need another store; a `memory:` store is its owner's.
    if not url.startswith("dynamodb:"):
        return _make(url, credentials)
    store = _shared.pop((url, credentials), None) or _make(url, credentials)
    _shared[url, credentials] = store
    while len(_shared) > _MAX_SHARED:
        _shared.popitem(last=False)
    return store
