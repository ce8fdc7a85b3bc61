"""The connection to the engine's checkpoints."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, NamedTuple

from ._connection import AnyConnection, CredentialSource, Key
from ._native import NativeCheckpoints
from ._types import Cost

Typed = tuple[str, bytes]
"""A serialized value: the name of its encoding, and its bytes."""


class Found(NamedTuple):
    """A stored checkpoint."""

    id: str
    parent: str | None
    body: Typed
    metadata: Typed
    values: dict[str, Typed]
    writes: list[tuple[str, str, Typed]]
    """What tasks wrote: the task, the channel and the value."""
    calls: list[str]
    """The ids of the calls that stored those."""
    is_newest: bool


@dataclass(frozen=True)
class Operation:
    """An operation of the engine, and its parameters."""

    operation: str
    request: tuple[Any, ...]


class Checkpoints:
    """The checkpoints in a store, opened at the first use."""

    def __init__(self, url: str, credentials: CredentialSource | None = None, *, write_delay: float) -> None:
        def make(url: str, key: Key | None) -> NativeCheckpoints:
            return NativeCheckpoints(url, key, write_delay)

        self._connection = AnyConnection(url, credentials, make)
        self.is_closed = False
        self._cost = Cost()
        self._counting = threading.Lock()

    def __repr__(self) -> str:
        return repr(self._connection)

    @property
    def cost(self) -> Cost:
        """What all calls have cost."""
        return self._cost

    def call(self, operation: Operation) -> Any:
        """Runs an operation."""
        return self._read(operation, self._connection.run(operation.operation, operation.request))

    async def acall(self, operation: Operation) -> Any:
        """Runs an operation without blocking the event loop."""
        return self._read(operation, await self._connection.arun(operation.operation, operation.request))

    def close(self) -> None:
        """Closes the store."""
        self.is_closed = True
        self._connection.close()

    def _read(self, operation: Operation, answer: tuple[Any, tuple[int, float, float, int]]) -> Any:
        value, cost = answer
        with self._counting:
            self._cost += Cost(*cost)
        if operation.operation in ("load", "list"):
            return [Found(*found) for found in value]
        return value
