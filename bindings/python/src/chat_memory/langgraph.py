"""A checkpointer for LangGraph.

```python
from chat_memory.langgraph import ChatMemorySaver

with ChatMemorySaver.from_url("dynamodb://chats?region=eu-central-1") as saver:
    graph = builder.compile(checkpointer=saver)
    graph.invoke({"messages": [("user", "Where to?")]}, {"configurable": {"thread_id": "trip"}})
```
"""

from __future__ import annotations

import random
import secrets
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from types import MappingProxyType, TracebackType
from typing import Any, Literal, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    PendingWrite,
    get_checkpoint_id,
    get_serializable_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from ._checkpoints import Checkpoints, Found, Operation, Typed
from ._connection import CredentialSource
from ._errors import ConflictError, InvalidError
from ._langgraph_copy import CopiedThread, CopyReport, acopy_threads, copy_threads, main
from ._types import Cost

__all__ = ["ChatMemorySaver", "CopiedThread", "CopyReport", "OnConflict", "acopy_threads", "copy_threads"]

OnConflict = Literal["fail", "fork"]

# In the class, `list` is the method.
_Writes = list[PendingWrite]

_FORK = "__chat_memory_fork"
"""In the configuration of a loaded checkpoint that is not the newest: its id. LangGraph hands it on to `put`, whose checkpoint then branches
off. Names that begin so are never stored with a checkpoint's metadata."""

_ATTEMPT = "__chat_memory_attempt"
"""In the configuration of a loaded checkpoint: an id of the run that loaded it, and the calls whose writes it has seen. LangGraph hands it
on to `put_writes` and `put`, so that writes of a run that is refused do not count."""

_REPLAY = "__pregel_replay_state"
"""In the configuration of a subgraph while its graph is replayed from an earlier checkpoint."""

_PAGE = 50
"""How many checkpoints a list reads at a time."""


class ChatMemorySaver(BaseCheckpointSaver[str]):
    """A LangGraph checkpointer in any store: `ChatMemorySaver.from_url("sqlite:chat.db")`.

    A checkpoint is stored as what it adds to the one before it, so a turn costs the same however long the thread is.

    Of two runs that start from the same checkpoint of a thread, the first to store one continues; the other raises a `ConflictError`, and
    nothing of it is in the thread. A run from an earlier checkpoint (time travel) is a branch and never conflicts.

    Any thread and any event loop may use it. Close it, or use it as a context manager, before the program ends.
    """

    def __init__(self, checkpoints: Checkpoints, *, serde: SerializerProtocol | None = None, on_conflict: OnConflict = "fail") -> None:
        """Creates a saver on open checkpoints; `from_url` opens them."""
        super().__init__(serde=serde)
        if on_conflict not in ("fail", "fork"):
            raise InvalidError(f"invalid on_conflict {on_conflict!r}: expected 'fail' or 'fork'")
        self._checkpoints = checkpoints
        self._on_conflict = on_conflict

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        serde: SerializerProtocol | None = None,
        credentials: CredentialSource | None = None,
        write_delay: float = 0.15,
        on_conflict: OnConflict = "fail",
    ) -> ChatMemorySaver:
        """Opens a store, without a request yet.

        Args:
            url: A store URL: `sqlite:PATH`, `dynamodb://TABLE?region=…` (a table with a partition key and a sort key) or `memory:`.
            serde: The serializer; by default LangGraph's own. An `EncryptedSerializer` encrypts all values, but not names of channels.
            credentials: An AWS access key, or a function that returns one; by default AWS's usual chain.
            write_delay: For how many seconds what a task wrote may wait for the next checkpoint, with which it costs nothing. A crash in
                that time runs the task again. 0 stores it at once. Interrupts, errors and answers to interrupts never wait.
            on_conflict: What becomes of a run if another one on its thread was faster: `fail` raises a `ConflictError`, `fork` stores it as
                a branch from where it started, and the thread continues from the branch that was stored last.

        Raises:
            InvalidError: The store URL or another parameter is invalid.
        """
        return cls(Checkpoints(url, credentials, write_delay=write_delay), serde=serde, on_conflict=on_conflict)

    @property
    def cost(self) -> Cost:
        """What all calls of this saver have cost so far."""
        return self._checkpoints.cost

    # Reading.

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Loads a checkpoint: the one that the configuration names, or the newest of the thread."""
        found: list[Found] = self._checkpoints.call(self._load(config))
        return self._tuple(config, found[0]) if found else None

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Like `get_tuple`."""
        found: list[Found] = await self._checkpoints.acall(self._load(config))
        return self._tuple(config, found[0]) if found else None

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Lists checkpoints of a thread, newest first in each namespace. Without a configuration it lists those of all threads, for which it
        reads the whole table.

        Args:
            config: The thread, and perhaps a namespace or one checkpoint.
            filter: Only checkpoints whose metadata has these values.
            before: Only checkpoints before this one.
            limit: The largest number to return.
        """
        wanted = _Wanted(filter, before, limit)
        for thread in self._threads() if config is None else [_thread(config)]:
            for namespace in self._namespaces(thread, config):
                page = wanted.page(config)
                while page:
                    found: list[Found] = self._checkpoints.call(page.of(thread, namespace))
                    for one in found:
                        if tuple_ := self._wanted(thread, namespace, one, wanted):
                            yield tuple_
                    page = page.after(found)
                if wanted.limit == 0:
                    return

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Like `list`."""
        wanted = _Wanted(filter, before, limit)
        for thread in await self._athreads() if config is None else [_thread(config)]:
            for namespace in await self._anamespaces(thread, config):
                page = wanted.page(config)
                while page:
                    found: list[Found] = await self._checkpoints.acall(page.of(thread, namespace))
                    for one in found:
                        if tuple_ := self._wanted(thread, namespace, one, wanted):
                            yield tuple_
                    page = page.after(found)
                if wanted.limit == 0:
                    return

    def get_delta_channel_history(self, *, config: RunnableConfig, channels: Sequence[str]) -> Mapping[str, DeltaChannelHistory]:
        """Returns what the ancestors of a checkpoint wrote to delta channels, in one pass over them."""
        if not channels:
            return {}
        return self._histories(channels, self._checkpoints.call(self._history(config, channels)))

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Like `get_delta_channel_history`."""
        if not channels:
            return {}
        return self._histories(channels, await self._checkpoints.acall(self._history(config, channels)))

    # Writing.

    def put(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata, new_versions: ChannelVersions
    ) -> RunnableConfig:
        """Stores a checkpoint after the one that the configuration names.

        Raises:
            ConflictError: Another run on the thread has stored a checkpoint since that one was loaded. Nothing was stored.
        """
        try:
            self._checkpoints.call(self._put(config, checkpoint, metadata, new_versions))
        except ConflictError as error:
            raise _in_words_of_langgraph(error) from None
        return _config(_thread(config), _namespace(config), checkpoint["id"])

    async def aput(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata, new_versions: ChannelVersions
    ) -> RunnableConfig:
        """Like `put`."""
        try:
            await self._checkpoints.acall(self._put(config, checkpoint, metadata, new_versions))
        except ConflictError as error:
            raise _in_words_of_langgraph(error) from None
        return _config(_thread(config), _namespace(config), checkpoint["id"])

    def put_writes(self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = "") -> None:
        """Stores what a task wrote; perhaps after `write_delay`. If that fails, the next call on the thread raises the error."""
        self._checkpoints.call(self._put_writes(config, writes, task_id, task_path))

    async def aput_writes(self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = "") -> None:
        """Like `put_writes`."""
        await self._checkpoints.acall(self._put_writes(config, writes, task_id, task_path))

    # Keeping house.

    def delete_thread(self, thread_id: str) -> None:
        """Deletes all checkpoints of a thread. A run that loaded it before raises a `ConflictError`; the next one starts from nothing."""
        self._checkpoints.call(Operation("delete_thread", (str(thread_id),)))

    async def adelete_thread(self, thread_id: str) -> None:
        """Like `delete_thread`."""
        await self._checkpoints.acall(Operation("delete_thread", (str(thread_id),)))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Deletes the checkpoints that these runs stored, on all threads. It reads the whole table, since a run does not name its thread.

        What later runs inherited from them stays, but for delta channels: those lose what the deleted checkpoints contributed.
        """
        runs = _ids("run_ids", run_ids)
        for thread in self._threads() if runs else ():
            self._checkpoints.call(Operation("delete_runs", (thread, runs)))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Like `delete_for_runs`."""
        runs = _ids("run_ids", run_ids)
        for thread in await self._athreads() if runs else ():
            await self._checkpoints.acall(Operation("delete_runs", (thread, runs)))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copies all checkpoints of a thread to one that has none.

        Raises:
            ConflictError: The target has checkpoints.
        """
        self._checkpoints.call(Operation("copy_thread", (str(source_thread_id), str(target_thread_id))))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Like `copy_thread`."""
        await self._checkpoints.acall(Operation("copy_thread", (str(source_thread_id), str(target_thread_id))))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Removes checkpoints of these threads.

        Args:
            thread_ids: The threads.
            strategy: `keep_latest` keeps the newest checkpoint of each namespace, and those that its delta channels are computed from;
                `delete` keeps none.
        """
        for prune in _pruned(thread_ids, strategy):
            self._checkpoints.call(prune)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Like `prune`."""
        for prune in _pruned(thread_ids, strategy):
            await self._checkpoints.acall(prune)

    def get_next_version(self, current: str | None, channel: None) -> str:
        """Returns the version after another one, as LangGraph's in-memory saver names them. Those of a thread that was copied from a saver
        with numbers stay numbers, as LangGraph compares them."""
        version: Any = current
        if isinstance(version, (int, float)):
            return cast(str, version + 1)
        number = 0 if current is None else int(str(current).split(".")[0])
        return f"{number + 1:032}.{random.random():016}"

    def flush(self) -> None:
        """Stores what tasks wrote and still waits. Closing and the program's end do so, too."""
        self._checkpoints.call(Operation("flush", ()))

    async def aflush(self) -> None:
        """Like `flush`."""
        await self._checkpoints.acall(Operation("flush", ()))

    def close(self) -> None:
        """Stores what waits, and closes the store."""
        if self._checkpoints.is_closed:
            return
        try:
            self.flush()
        finally:
            self._checkpoints.close()

    async def aclose(self) -> None:
        """Like `close`."""
        import asyncio

        if self._checkpoints.is_closed:
            return
        try:
            await self.aflush()
        finally:
            await asyncio.to_thread(self._checkpoints.close)

    def __enter__(self) -> ChatMemorySaver:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> ChatMemorySaver:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<chat_memory.langgraph.ChatMemorySaver {self._checkpoints!r}>"

    # The operations, and their results.

    def _load(self, config: RunnableConfig) -> Operation:
        return Operation("load", (_thread(config), _namespace(config), get_checkpoint_id(config) or None))

    def _history(self, config: RunnableConfig, channels: Sequence[str]) -> Operation:
        place = (_thread(config), _namespace(config), get_checkpoint_id(config) or None)
        return Operation("history", (*place, [*channels]))

    def _put(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata, new_versions: ChannelVersions
    ) -> Operation:
        configurable = _configurable(config)
        parent = configurable.get("checkpoint_id") or None
        stored = get_serializable_checkpoint_metadata(config, metadata)
        if parent is None:
            # The copy of a thread's first checkpoint, or a subgraph that the replayed checkpoint did not know yet.
            branches = metadata.get("source") == "fork" or _REPLAY in configurable
        else:
            branches = configurable.get(_FORK) == parent
        # A copy has the values of its original, and not those of the original's parent, which is its own.
        changed = {*new_versions, *(checkpoint["channel_values"] if branches else ())}
        place = (_thread(config), _namespace(config), checkpoint["id"], parent, branches or self._on_conflict == "fork")
        return self._put_at(place, checkpoint, stored, changed, _attempt(config))

    def _put_at(
        self,
        place: tuple[str, str, str, str | None, bool],
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        changed: Collection[str],
        attempt: tuple[str | None, Sequence[str]] = (None, ()),
    ) -> Operation:
        """Stores a checkpoint of a thread and a namespace, with its id, its parent and whether it may branch off."""
        values, versions = checkpoint["channel_values"], checkpoint["channel_versions"]
        body = {name: value for name, value in checkpoint.items() if name != "channel_values"}
        run_id = metadata.get("run_id")
        return Operation(
            "put",
            (
                place,
                (
                    self._dumped(body),
                    self._dumped(metadata),
                    {name: str(version) for name, version in versions.items()},
                    {name: self._dumped(values[name]) if name in values else None for name in versions if name in changed},
                ),
                (None if run_id is None else str(run_id), [*(metadata.get("counters_since_delta_snapshot") or ())], *attempt),
            ),
        )

    def _put_writes(self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str) -> Operation:
        checkpoint_id = _configurable(config).get("checkpoint_id")
        if not checkpoint_id:
            raise InvalidError("writes not stored: the configuration has no checkpoint_id; give that of the checkpoint they belong to")
        written = [(WRITES_IDX_MAP.get(name, index), name, self._dumped(value)) for index, (name, value) in enumerate(writes)]
        attempt, _ = _attempt(config)
        return Operation("put_writes", (attempt, _thread(config), _namespace(config), checkpoint_id, task_id, task_path, written))

    def _dumped(self, value: object) -> Typed:
        kind, data = self.serde.dumps_typed(value)
        return kind, bytes(data)

    def _tuple(self, config: RunnableConfig, found: Found) -> CheckpointTuple:
        return self._made(_thread(config), _namespace(config), found, clear=_FORK in _configurable(config))

    def _wanted(self, thread: str, namespace: str, found: Found, wanted: _Wanted) -> CheckpointTuple | None:
        if wanted.limit == 0:
            return None
        metadata: dict[str, Any] = self.serde.loads_typed(found.metadata) if wanted.filter else {}
        if any(metadata.get(name) != value for name, value in (wanted.filter or {}).items()):
            return None
        wanted.limit -= 1
        return self._made(thread, namespace, found)

    def _made(self, thread: str, namespace: str, found: Found, clear: bool = False) -> CheckpointTuple:
        load = self.serde.loads_typed
        checkpoint = load(found.body)
        checkpoint["channel_values"] = {name: load(value) for name, value in found.values.items()}
        private: dict[str, Any] = {_ATTEMPT: (secrets.token_hex(4), found.calls)}
        if not found.is_newest or clear:
            private[_FORK] = None if found.is_newest else found.id
        config = _config(thread, namespace, found.id, private)
        parent = None
        if found.parent is not None:
            # Something follows it, so that what is put after it, too, is a branch.
            parent = _config(thread, namespace, found.parent, {_FORK: found.parent})
        return CheckpointTuple(
            config=config,
            checkpoint=cast(Checkpoint, checkpoint),
            metadata=cast(CheckpointMetadata, load(found.metadata)),
            parent_config=parent,
            pending_writes=self._loaded(found.writes),
        )

    def _loaded(self, writes: Sequence[tuple[str, str, Typed]]) -> _Writes:
        return [(task_id, channel, self.serde.loads_typed(value)) for task_id, channel, value in writes]

    def _histories(
        self, channels: Sequence[str], found: Sequence[tuple[Sequence[tuple[str, str, Typed]], Typed | None]]
    ) -> dict[str, DeltaChannelHistory]:
        histories: dict[str, DeltaChannelHistory] = {}
        for channel, (writes, seed) in zip(channels, found, strict=True):
            histories[channel] = {"writes": self._loaded(writes)}
            if seed is not None:
                histories[channel]["seed"] = self.serde.loads_typed(seed)
        return histories

    def _threads(self) -> Sequence[str]:
        threads, after = self._checkpoints.call(Operation("threads", (None,)))
        while after is not None:
            more, after = self._checkpoints.call(Operation("threads", (after,)))
            threads += more
        return [*dict.fromkeys(threads)]

    async def _athreads(self) -> Sequence[str]:
        threads, after = await self._checkpoints.acall(Operation("threads", (None,)))
        while after is not None:
            more, after = await self._checkpoints.acall(Operation("threads", (after,)))
            threads += more
        return [*dict.fromkeys(threads)]

    def _namespaces(self, thread: str, config: RunnableConfig | None) -> Sequence[str]:
        if config is not None and (namespace := _configurable(config).get("checkpoint_ns")) is not None:
            return [namespace]
        return cast(Sequence[str], self._checkpoints.call(Operation("namespaces", (thread,))))

    async def _anamespaces(self, thread: str, config: RunnableConfig | None) -> Sequence[str]:
        if config is not None and (namespace := _configurable(config).get("checkpoint_ns")) is not None:
            return [namespace]
        return cast(Sequence[str], await self._checkpoints.acall(Operation("namespaces", (thread,))))


class _Wanted:
    """What a list returns."""

    def __init__(self, filter: dict[str, Any] | None, before: RunnableConfig | None, limit: int | None) -> None:
        self.filter = filter
        self.before = (get_checkpoint_id(before) if before else None) or None
        self.limit = -1 if limit is None else max(limit, 0)
        """How many are still wanted; negative: any number."""

    def page(self, config: RunnableConfig | None) -> _Page | None:
        """Returns the first page of a namespace."""
        only = get_checkpoint_id(config) if config is not None else None
        if self.limit == 0 or (only and self.before is not None and only >= self.before):
            return None
        return _Page(self, self.before, only or None)


class _Page:
    """A page of a namespace."""

    def __init__(self, wanted: _Wanted, before: str | None, only: str | None) -> None:
        self._wanted, self._before, self._only = wanted, before, only
        self._size = _PAGE if wanted.limit < 0 or wanted.filter else min(_PAGE, wanted.limit)

    def of(self, thread: str, namespace: str) -> Operation:
        if self._only is not None:
            return Operation("load", (thread, namespace, self._only))
        return Operation("list", (thread, namespace, self._before, self._size))

    def after(self, found: Sequence[Found]) -> _Page | None:
        """Returns the next page, if more is wanted and there may be more."""
        if self._only is not None or self._wanted.limit == 0 or len(found) < self._size:
            return None
        return _Page(self._wanted, found[-1].id, None)


def _configurable(config: RunnableConfig) -> dict[str, Any]:
    return config.get("configurable") or {}


def _attempt(config: RunnableConfig) -> tuple[str | None, Sequence[str]]:
    attempt: tuple[str | None, Sequence[str]] = _configurable(config).get(_ATTEMPT) or (None, ())
    return attempt[0], [*attempt[1]]


def _thread(config: RunnableConfig) -> str:
    thread = _configurable(config).get("thread_id")
    if thread is None:
        raise InvalidError('no thread_id in the configuration: give {"configurable": {"thread_id": …}}')
    return str(thread)


def _namespace(config: RunnableConfig) -> str:
    return str(_configurable(config).get("checkpoint_ns") or "")


def _config(thread: str, namespace: str, checkpoint_id: str, private: Mapping[str, Any] = MappingProxyType({})) -> RunnableConfig:
    return {"configurable": {"thread_id": thread, "checkpoint_ns": namespace, "checkpoint_id": checkpoint_id, **private}}


def _ids(name: str, ids: Sequence[str]) -> Sequence[str]:
    # A text is a sequence of its characters, each of which could be the id of another thread.
    if isinstance(ids, (str, bytes)):
        raise InvalidError(f"invalid {name}: a {type(ids).__name__}, not a list; give [{ids!r}]")
    return [str(one) for one in ids]


def _pruned(thread_ids: Sequence[str], strategy: str) -> Sequence[Operation]:
    operations = {"keep_latest": "prune", "delete": "delete_thread"}
    if strategy not in operations:
        raise InvalidError(f"invalid strategy {strategy!r}: expected 'keep_latest' or 'delete'")
    return [Operation(operations[strategy], (thread_id,)) for thread_id in _ids("thread_ids", thread_ids)]


def _in_words_of_langgraph(error: ConflictError) -> ConflictError:
    message = str(error)
    if "another run has put" in message:
        message = message.split("; ", 1)[0] + (
            "; invoke the graph again with the same input, which then starts from the newest checkpoint, let one run at a time use a "
            'thread, or open the saver with on_conflict="fork"'
        )
    elif "was deleted" in message:
        message = message.split("; ", 1)[0] + "; invoke the graph again with the same input, which then starts from nothing"
    return ConflictError(message, ticket=error.ticket, actual=error.actual, retryable=error.retryable)


if __name__ == "__main__":
    raise SystemExit(main())
