"""Copies threads from any of LangGraph's checkpointers, for the module `chat_memory.langgraph`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import copy
import hashlib
import importlib
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import ormsgpack
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import WRITES_IDX_MAP, BaseCheckpointSaver, CheckpointTuple, get_checkpoint_id
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from ._checkpoints import Operation
from ._errors import ChatMemoryError, ConflictError, InvalidError, TooLargeError

if TYPE_CHECKING:
    from .langgraph import ChatMemorySaver

_T = TypeVar("_T")
_S = TypeVar("_S", bound=BaseCheckpointSaver[Any])

_NOTHING = hashlib.sha256().digest()


@dataclass(frozen=True)
class CopiedThread:
    """What was copied of a thread."""

    thread_id: str
    checkpoints: int
    """The checkpoints of the source, in all namespaces."""
    copied: int
    """Those of them that this run stored, or would store; the others were in the target before."""
    writes: int
    """The tasks' writes that this run stored."""
    refused: str | None = None
    """Why the thread was left as it is: the target has other checkpoints than the source."""


@dataclass(frozen=True)
class CopyReport:
    """What was copied."""

    threads: Sequence[CopiedThread]

    @property
    def checkpoints(self) -> int:
        """The checkpoints of the source."""
        return sum(thread.checkpoints for thread in self.threads)

    @property
    def copied(self) -> int:
        """The checkpoints that this run stored, or would store."""
        return sum(thread.copied for thread in self.threads)

    @property
    def writes(self) -> int:
        """The tasks' writes that this run stored."""
        return sum(thread.writes for thread in self.threads)

    @property
    def refused(self) -> Sequence[CopiedThread]:
        """The threads that were left as they are."""
        return [thread for thread in self.threads if thread.refused is not None]


def copy_threads(
    source: BaseCheckpointSaver[Any],
    target: ChatMemorySaver,
    threads: Sequence[str] | None = None,
    *,
    dry_run: bool = False,
    progress: Callable[[CopiedThread], object] | None = None,
) -> CopyReport:
    """Copies threads from any checkpointer of LangGraph's, such as `DynamoDBSaver` or `SqliteSaver`, which is only read.

    All checkpoints of all namespaces are copied, with their ids, parents, metadata and versions of channels, and what tasks wrote. Each is
    read back from the target and compared. Repeat it after an interruption, or when the source has grown: only what is missing is stored.
    A thread that continued in both, or was pruned or deleted in the target, is reported (`refused`) and left as it is.

    With LangGraph's own serializer the values' bytes are copied: types of yours need not be importable, and none of their code runs.

    Args:
        source: The checkpointer to copy from.
        target: The saver to copy to. Nobody else should write to these threads of it meanwhile.
        threads: Ids of threads; by default all, for which the source is read as a whole.
        dry_run: Only counts what would be copied.
        progress: Called after each thread.
    """
    return _ended(_Copy(_Blocking(source, target)).run(threads, dry_run, progress))


async def acopy_threads(
    source: BaseCheckpointSaver[Any],
    target: ChatMemorySaver,
    threads: Sequence[str] | None = None,
    *,
    dry_run: bool = False,
    progress: Callable[[CopiedThread], object] | None = None,
) -> CopyReport:
    """Like `copy_threads`, for asynchronous checkpointers such as `AsyncSqliteSaver`, too."""
    return await _Copy(_Awaiting(source, target)).run(threads, dry_run, progress)


class _Blocking:
    """The calls of the two savers. The coroutines never wait, so that `_ended` can run them."""

    def __init__(self, source: BaseCheckpointSaver[Any], target: ChatMemorySaver) -> None:
        self.source, self.target = source, target
        self.plain = target.serde
        raw = _raw(source.serde), _raw(target.serde)
        if raw[0] is not None and raw[1] is not None:
            self.source, self.target, self.plain = _with(source, raw[0]), _with(target, raw[1]), _RAW

    async def get(self, saver: BaseCheckpointSaver[Any], config: RunnableConfig) -> CheckpointTuple | None:
        return saver.get_tuple(config)

    async def list(self, saver: BaseCheckpointSaver[Any], config: RunnableConfig | None) -> AsyncIterator[CheckpointTuple]:
        for found in saver.list(config):
            yield found

    async def call(self, operation: Operation) -> Any:
        return self.target._checkpoints.call(operation)

    async def run(self, function: Callable[[], _T]) -> _T:
        return function()


class _Awaiting(_Blocking):
    """The same on an event loop."""

    async def get(self, saver: BaseCheckpointSaver[Any], config: RunnableConfig) -> CheckpointTuple | None:
        return await saver.aget_tuple(config)

    async def list(self, saver: BaseCheckpointSaver[Any], config: RunnableConfig | None) -> AsyncIterator[CheckpointTuple]:
        async for found in saver.alist(config):
            yield found

    async def call(self, operation: Operation) -> Any:
        return await self.target._checkpoints.acall(operation)

    async def run(self, function: Callable[[], _T]) -> _T:
        return await asyncio.to_thread(function)


def _ended(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Runs a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        result: _T = ended.value
        return result
    raise AssertionError("a blocking call waited")


class _Write(NamedTuple):
    """What a task wrote, in the order in which LangGraph applies writes."""

    path: str
    task_id: str
    place: int
    channel: str
    value: Any


class _Digests(NamedTuple):
    """By what a checkpoint is compared."""

    checkpoint: bytes
    writes: bytes


@dataclass
class _Log:
    """A namespace of a thread."""

    namespace: str
    ids: Sequence[str]
    """The ids of the source's checkpoints, oldest first."""
    there: dict[str, _Digests]
    """The target's checkpoints."""

    @property
    def missing(self) -> Sequence[str]:
        return [id for id in self.ids if id not in self.there]

    @property
    def later(self) -> Sequence[str]:
        """The target's checkpoints after those that both have. The source may have lost older ones."""
        common = max((id for id in self.ids if id in self.there), default="")
        return sorted(id for id in self.there.keys() - {*self.ids} if id > common)


class _Refused(Exception):
    """Why a thread is left as it is."""


class _Copy:
    def __init__(self, savers: _Blocking) -> None:
        self._savers, self._source, self._target = savers, savers.source, savers.target

    async def run(self, threads: Sequence[str] | None, dry_run: bool, progress: Callable[[CopiedThread], object] | None) -> CopyReport:
        copied: list[CopiedThread] = []
        for thread, namespaces in (await self._found(threads)).items():
            copied.append(await self._thread(thread, namespaces, dry_run))
            if progress is not None:
                progress(copied[-1])
        return CopyReport(copied)

    async def _found(self, threads: Sequence[str] | None) -> dict[str, dict[str, list[str]]]:
        """The ids of the source's checkpoints, oldest first, by thread and namespace."""
        found: dict[str, dict[str, list[str]]] = {} if threads is None else {thread: {} for thread in threads}
        if _is_of_aws(self._source):
            # Its `list` needs a thread, and reads all values.
            places: Sequence[tuple[str, str, str]] = await self._savers.run(lambda: list(_places_of_aws(self._source, threads)))
        else:
            wanted: Sequence[RunnableConfig | None] = [None] if threads is None else [_config(thread) for thread in threads]
            places = [_place(one) for config in wanted async for one in self._savers.list(self._source, config)]
        for thread, namespace, id in sorted(places):
            found.setdefault(thread, {}).setdefault(namespace, []).append(id)
        return found

    async def _thread(self, thread: str, namespaces: dict[str, list[str]], dry_run: bool) -> CopiedThread:
        checkpoints = copied = writes = 0
        refused = None
        try:
            if not namespaces:
                raise _Refused("the source has no checkpoints of it; check the id")
            # The graph itself comes last, so that what its newest checkpoint refers to is there.
            logs = [_Log(name, ids, await self._there(thread, name)) for name, ids in sorted(namespaces.items(), reverse=True)]
            for log in logs:
                _check(thread, log)
            for log in logs:
                if dry_run:
                    checkpoints, copied = checkpoints + len(log.ids), copied + len(log.missing)
                    continue
                async for is_new, written in self._log(thread, log):
                    checkpoints, copied, writes = checkpoints + 1, copied + is_new, writes + written
        except _Refused as why:
            refused = f"thread {thread!r} not copied: {why}"
        except (InvalidError, TooLargeError) as error:
            refused = f"thread {thread!r} not copied: {error}"
        return CopiedThread(str(thread), checkpoints, copied, writes, refused)

    async def _there(self, thread: str, namespace: str) -> dict[str, _Digests]:
        there: dict[str, _Digests] = {}
        async for found in self._savers.list(self._target, _config(thread, namespace)):
            there[found.checkpoint["id"]] = self._digests(found, _parent(found), found.pending_writes or ())
        return there

    async def _log(self, thread: str, log: _Log) -> AsyncIterator[tuple[bool, int]]:
        """Copies what is missing of a namespace. Yields for each checkpoint whether it is new, and how many writes were stored."""
        expected: dict[str, _Digests] = {}
        later, last, is_changed = log.later, None, False
        for id in log.ids:
            found = await self._savers.get(self._source, _config(thread, log.namespace, id))
            if found is None:
                # It was deleted in the meantime, or its values are: then nobody can read it in the source either.
                continue
            # The source may have been pruned.
            parent = _parent(found)
            parent = parent if parent in expected or parent in log.there else None
            writes = await self._writes(found)
            expected[id] = self._digests(found, parent, [(write.task_id, write.channel, write.value) for write in writes])
            there = log.there.get(id)
            if there is None:
                place = (str(thread), log.namespace, id, parent, parent != last)
                await self._call(self._target._put_at(place, found.checkpoint, found.metadata, found.checkpoint["channel_versions"]))
            written = 0
            if there is None or (there.writes != expected[id].writes and not later):
                for (path, task_id), group in groupby(writes, lambda write: (write.path, write.task_id)):
                    values = [(write.place, write.channel, self._target._dumped(write.value)) for write in group]
                    await self._call(Operation("put_writes", (None, str(thread), log.namespace, id, task_id, path, values)))
                    written += len(values)
            last, is_changed = id, is_changed or there is None or written > 0
            yield there is None, written
        there_now = log.there
        if is_changed:
            await self._savers.call(Operation("flush", ()))
            there_now = await self._there(thread, log.namespace)
        for id, digests in expected.items():
            now = there_now.get(id)
            # A run that continued in the target may have written more at the last one.
            may_differ = later or digests.writes == _NOTHING
            if now is None or now.checkpoint != digests.checkpoint or (now.writes != digests.writes and not may_differ):
                raise _Refused(f"checkpoint {id} of the target differs from the source's; copy to a store that never had this thread")

    async def _call(self, operation: Operation) -> None:
        try:
            await self._savers.call(operation)
        except ConflictError as error:
            if "is not greater than" in str(error):
                raise _Refused("it was deleted in the target; copy to a store that never had this thread") from error
            raise _Refused("another run writes to it in the target; stop that, and copy again") from error

    def _digests(self, found: CheckpointTuple, parent: str | None, writes: Sequence[tuple[str, str, Any]]) -> _Digests:
        checkpoint = dict(found.checkpoint)
        values: Any = checkpoint.pop("channel_values")
        parts = [parent, dict(sorted(checkpoint.items())), found.metadata]
        return _Digests(
            self._digest([*parts, *(part for name in sorted(values) for part in (name, values[name]))]),
            self._digest([part for write in writes for part in write]),
        )

    def _digest(self, parts: Sequence[Any]) -> bytes:
        digest = hashlib.sha256()
        for part in parts:
            kind, data = self._savers.plain.dumps_typed(part)
            digest.update(f"{kind} {len(data)} ".encode())
            digest.update(data)
        return digest.digest()

    async def _writes(self, found: CheckpointTuple) -> list[_Write]:
        writes = found.pending_writes or []
        place = _place(found)
        if isinstance(self._source, InMemorySaver):
            stored = self._source.writes.get(place, {}).items()
            load = self._source.serde.loads_typed
            return sorted(
                (_Write(path, task_id, index, channel, load(value)) for (_, index), (task_id, channel, value, path) in stored), key=_order
            )
        if writes and _is_of_aws(self._source):
            rows = iter(await self._savers.run(lambda: _writes_of_aws(self._source, *place)))
            made: list[_Write] = []
            for n, (task_id, channel, value) in enumerate(writes):
                # Rows whose value is gone are not among the writes.
                row = next((row for row in rows if (row.task_id, row.channel) == (task_id, channel)), None)
                path, place_of_it = (row.path, row.place) if row is not None else ("", n)
                made.append(_Write(path, task_id, place_of_it, channel, value))
            return sorted(made, key=_order)
        # Other savers return them in order, but not the paths by which they were ordered.
        tasks = [*dict.fromkeys(task_id for task_id, _, _ in writes)]
        paths = {task_id: "" if tasks == sorted(tasks) else f"{n:08}" for n, task_id in enumerate(tasks)}
        counts = dict.fromkeys(tasks, 0)
        made = []
        for task_id, channel, value in writes:
            made.append(_Write(paths[task_id], task_id, WRITES_IDX_MAP.get(channel, counts[task_id]), channel, value))
            counts[task_id] += channel not in WRITES_IDX_MAP
        return sorted(made, key=_order)


def _order(write: _Write) -> tuple[str, str, int]:
    return write[:3]


def _check(thread: str, log: _Log) -> None:
    if not log.missing:
        return
    elsewhere = "continue with it there, or copy to a store that never had this thread"
    if log.later:
        raise _Refused(
            f"it continued in both: the target has the checkpoint {log.later[0]}, and the source has {log.missing[0]}; {elsewhere}"
        )
    if log.there and log.missing[0] < max(log.there):
        raise _Refused(f"the target has {max(log.there)}, but not {log.missing[0]} before it, as it was pruned; {elsewhere}")


def _parent(found: CheckpointTuple) -> str | None:
    return get_checkpoint_id(found.parent_config) if found.parent_config else None


def _place(found: CheckpointTuple) -> tuple[str, str, str]:
    configurable: dict[str, Any] = found.config.get("configurable", {})
    return configurable["thread_id"], configurable.get("checkpoint_ns", ""), found.checkpoint["id"]


def _config(thread: str, namespace: str | None = None, id: str | None = None) -> RunnableConfig:
    configurable = {"thread_id": thread, "checkpoint_ns": namespace, "checkpoint_id": id}
    return {"configurable": {name: value for name, value in configurable.items() if value is not None}}


# Values that are not built.

_RAW = JsonPlusSerializer(__unpack_ext_hook__=ormsgpack.Ext)
"""Leaves the bytes of objects as they are."""


def _raw(serde: SerializerProtocol) -> SerializerProtocol | None:
    """Returns LangGraph's own serializer, also inside of an encryption, such that it leaves the bytes of objects as they are."""
    if type(serde) is JsonPlusSerializer and not serde.pickle_fallback:
        return _RAW
    if type(serde) is EncryptedSerializer and (inner := _raw(serde.serde)) is not None:
        return EncryptedSerializer(serde.cipher, inner)
    return None


def _with(saver: _S, serde: SerializerProtocol) -> _S:
    """Returns the saver with another serializer, as LangGraph's own `with_allowlist` does."""
    clone: Any = copy.copy(saver)
    clone.serde = serde
    if _is_of_aws(saver):
        clone.repo = copy.copy(clone.repo)
        clone.repo.serializer = copy.copy(clone.repo.serializer)
        clone.repo.serializer.serde = serde
    return cast(_S, clone)


# AWS's saver: its keys are CHECKPOINT_THREAD and NAMESPACE#ID, and for writes WRITES_THREAD#NAMESPACE#ID and TASK#INDEX.


def _is_of_aws(saver: Any) -> bool:
    return any(base.__name__ == "DynamoDBSaver" and base.__module__.startswith("langgraph_checkpoint_aws") for base in type(saver).__mro__)


def _places_of_aws(saver: Any, threads: Sequence[str] | None) -> Iterator[tuple[str, str, str]]:
    """The threads, namespaces and ids of its checkpoints. Without threads it reads the whole table."""
    prefix = "CHECKPOINT_"
    if threads is None:
        request = {"FilterExpression": "begins_with(PK, :pk)", "ExpressionAttributeValues": {":pk": {"S": prefix}}}
        pages = saver.client.get_paginator("scan").paginate(TableName=saver.table_name, ProjectionExpression="PK, SK", **request)
        items = (item for page in pages for item in page["Items"])
    else:
        items = (item for thread in threads for item in _query_of_aws(saver, f"{prefix}{thread}", "PK, SK"))
    for item in items:
        namespace, id = item["SK"]["S"].rsplit("#", 1)
        yield item["PK"]["S"].removeprefix(prefix), namespace, id


def _writes_of_aws(saver: Any, thread: str, namespace: str, id: str) -> list[_Write]:
    """What tasks wrote, without the values: the saver returns these, in the same order, but neither paths nor indices."""
    items = _query_of_aws(saver, f"WRITES_{thread}#{namespace}#{id}", "task_id, channel, task_path, idx")
    return [
        _Write(item.get("task_path", {}).get("S", ""), item["task_id"]["S"], int(item["idx"]["N"]), item["channel"]["S"], None)
        for item in items
    ]


def _query_of_aws(saver: Any, partition: str, attributes: str) -> Iterator[dict[str, dict[str, str]]]:
    request = {"KeyConditionExpression": "PK = :pk", "ExpressionAttributeValues": {":pk": {"S": partition}}}
    pages = saver.client.get_paginator("query").paginate(TableName=saver.table_name, ProjectionExpression=attributes, **request)
    return (item for page in pages for item in page["Items"])


# The command.

_EXAMPLES = """
Examples:
  What would be copied, only reading:
  python -m chat_memory.langgraph copy --from 'dynamodb:TABLE?region=eu-west-1' --to 'dynamodb://chats?region=eu-west-1' --dry-run

  Checkpoints that AWS's saver stored in S3, too:
  python -m chat_memory.langgraph copy --from 'dynamodb:TABLE?region=eu-west-1&s3_bucket=BUCKET&s3_prefix=PREFIX' --to sqlite:chat.db

The source is only read. Each checkpoint is read back from the target and compared. Run it again after an interruption, or when the source
has grown: only what is missing is stored. A thread that continued in both is reported and left as it is (exit code 3).
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs `python -m chat_memory.langgraph`."""
    from chat_memory.langgraph import ChatMemorySaver

    parser = argparse.ArgumentParser("python -m chat_memory.langgraph")
    command = parser.add_subparsers(required=True, metavar="COMMAND").add_parser(
        "copy",
        help="copy threads of another LangGraph checkpointer",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "--from",
        dest="source",
        required=True,
        metavar="SAVER",
        help="dynamodb:TABLE of langgraph-checkpoint-aws (?region=, endpoint=, s3_bucket=, s3_prefix=, s3_endpoint=), "
        "or sqlite:PATH of langgraph-checkpoint-sqlite",
    )
    command.add_argument("--to", dest="target", required=True, metavar="URL", help="a store URL: dynamodb://TABLE?region=…, sqlite:PATH")
    command.add_argument("--thread", action="append", dest="threads", metavar="ID", help="only this thread (may be repeated)")
    command.add_argument("--dry-run", action="store_true", help="write nothing: count what would be copied")
    given = parser.parse_args(arguments)

    def show(thread: CopiedThread) -> None:
        if thread.refused is None:
            print(f"{thread.thread_id}: {thread.copied} of {thread.checkpoints} checkpoints {verb}", flush=True)
        else:
            print(f"{thread.thread_id}: left as it is", flush=True)
            print(thread.refused, file=sys.stderr)

    verb = "to copy" if given.dry_run else "copied"
    try:
        with _opened(given.source) as source, ChatMemorySaver.from_url(given.target) as target:
            report = copy_threads(source, target, given.threads, dry_run=given.dry_run, progress=show)
    except (ChatMemoryError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    writes = "" if given.dry_run else f", and {report.writes} writes of tasks"
    print(f"{len(report.threads)} threads: {report.copied} of {report.checkpoints} checkpoints {verb}{writes}")
    return 3 if report.refused else 0


@contextlib.contextmanager
def _opened(saver: str) -> Generator[BaseCheckpointSaver[Any]]:
    url = urlsplit(saver)
    place = unquote(url.netloc + url.path)
    given = dict(parse_qsl(url.query, keep_blank_values=True))
    allowed = {"dynamodb": {"region", "endpoint", "s3_bucket", "s3_prefix", "s3_endpoint"}, "sqlite": set[str]()}
    if not place or url.scheme not in allowed:
        raise InvalidError(f"invalid --from {saver!r}: expected dynamodb:TABLE or sqlite:PATH")
    if unknown := given.keys() - allowed[url.scheme]:
        raise InvalidError(f"invalid --from {saver!r}: unknown parameter {min(unknown)!r}; the known ones are {sorted(allowed[url.scheme])}")
    if url.scheme == "sqlite":
        with _installed("langgraph.checkpoint.sqlite", "langgraph-checkpoint-sqlite").SqliteSaver.from_conn_string(place) as opened:
            yield opened
        return
    s3 = {"bucket_name": given.get("s3_bucket"), "key_prefix": given.get("s3_prefix"), "endpoint_url": given.get("s3_endpoint")}
    yield _installed("langgraph_checkpoint_aws", "langgraph-checkpoint-aws").DynamoDBSaver(
        place, region_name=given.get("region"), endpoint_url=given.get("endpoint"), s3_offload_config=s3 if "s3_bucket" in given else None
    )


def _installed(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InvalidError(f"the saver of --from cannot be opened: {error}; install {package}") from error
