"""Threads of other checkpointers are copied whole: their graphs continue as they would have."""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import REGION, endpoint, new_table
from graphs import GO_AND_ANSWER, Xor, asking, chat, delta, fanning, history, nested, of, said, shown
from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command
from langgraph_checkpoint_aws.checkpoint.dynamodb import DynamoDBSaver

from chat_memory.langgraph import ChatMemorySaver, CopiedThread, acopy_threads, copy_threads


class Bucket:
    """What AWS's saver needs of S3."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def put_object(self, *, Key: str, Body: bytes, **_: Any) -> None:
        self.objects[Key] = Body

    def get_object(self, *, Key: str, **_: Any) -> Any:
        return {"Body": io.BytesIO(self.objects[Key])}


def of_aws(bucket: Bucket | None = None, **more: Any) -> DynamoDBSaver:
    saver = DynamoDBSaver(new_table("PK", "SK"), region_name=REGION, endpoint_url=endpoint(), **more)
    if bucket is not None:
        saver.storage.s3_client, saver.storage.s3_bucket, saver.storage.s3_enabled = bucket, "bucket", True
    return saver


@pytest.fixture(params=["aws", "aws, compressed", "memory", "sqlite"])
def source(request: pytest.FixtureRequest) -> Iterator[BaseCheckpointSaver[Any]]:
    if request.param == "memory":
        yield InMemorySaver()
    elif request.param == "sqlite":
        with SqliteSaver.from_conn_string(":memory:") as saver:
            yield saver
    else:
        yield of_aws(enable_checkpoint_compression="compressed" in request.param)


@pytest.fixture
def target(sqlite_url: str) -> Iterator[ChatMemorySaver]:
    with ChatMemorySaver.from_url(sqlite_url) as saver:
        yield saver


def answer(graph: Any) -> Any:
    return [graph.invoke(given, of("t")) for given in GO_AND_ANSWER[1:]]


def travel(graph: Any) -> Any:
    """Continues, replays, forks and copies."""
    states = list(graph.get_state_history(of("t")))
    results = [graph.invoke(said(60), of("t")), graph.invoke(None, states[2].config), graph.invoke(said(61), states[4].config)]
    results.append(graph.invoke(None, graph.update_state(states[1].config, said(62), as_node="model")))
    results.append(graph.invoke(None, graph.update_state(states[-1].config, None, as_node="__copy__")))
    return [result["messages"] for result in results]


def chat_with_forks(graph: Any) -> None:
    for turn in range(6):
        graph.invoke(said(turn), of("t"))
    states = list(graph.get_state_history(of("t")))
    graph.invoke(said(50), states[7].config)
    graph.update_state(states[4].config, said(51))
    graph.invoke(said(52), states[-1].config)


def paused(graph: Any) -> None:
    graph.invoke(GO_AND_ANSWER[0], of("t"))


def paused_twice(graph: Any) -> None:
    for given in [*GO_AND_ANSWER, *GO_AND_ANSWER[:2]]:
        graph.invoke(given, of("t"))


def answered_inside(graph: Any) -> Any:
    result = graph.invoke(Command(resume="yes"), of("t"))
    state = graph.get_state(of("t"), subgraphs=True)
    return result, shown(state)


def fanned(graph: Any) -> Any:
    return graph.invoke({"log": ["go"]}, of("t"))


def log_of(graph: Any) -> Any:
    states = list(graph.get_state_history(of("t")))
    return [graph.invoke({"log": ["more"]}, config) for config in (of("t"), states[len(states) // 2].config)]


def logged(graph: Any) -> None:
    for turn in range(9):
        graph.invoke({"log": [f"turn {turn}"]}, of("t"))


@dataclass
class Scenario:
    build: Callable[[], Any]
    before: Callable[[Any], Any]
    after: Callable[[Any], Any]


SCENARIOS = {
    "forks": Scenario(chat, chat_with_forks, travel),
    "interrupt": Scenario(asking, paused, answer),
    "answered interrupts": Scenario(asking, paused_twice, lambda graph: graph.invoke(Command(resume="sure"), of("t"))),
    "subgraph": Scenario(lambda: nested(None), paused, answered_inside),
    "subgraph with a memory": Scenario(lambda: nested(True), paused, answered_inside),
    "parallel tasks": Scenario(fanning, fanned, fanned),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_copied_thread_continues_equally(source: BaseCheckpointSaver[Any], target: ChatMemorySaver, name: str) -> None:
    scenario = SCENARIOS[name]
    old, new = (scenario.build().compile(checkpointer=saver) for saver in (source, target))
    scenario.before(old)
    seen: list[CopiedThread] = []
    report = copy_threads(source, target, progress=seen.append)
    assert (report.threads, report.refused) == (seen, [])
    assert report.copied == report.checkpoints == len(list(source.list(of("t")))) and report.writes > 0
    assert history(new, of("t")) == history(old, of("t"))
    assert ids(target) == ids(source)
    assert copy_threads(source, target).copied == 0
    assert scenario.after(new) == scenario.after(old)
    assert history(new, of("t")) == history(old, of("t"))


def ids(saver: BaseCheckpointSaver[Any], thread: str = "t") -> Any:
    """The ids, parents, versions, metadata and writes of a thread's checkpoints."""
    found = sorted(saver.list(of(thread)), key=lambda found: found.checkpoint["id"])
    return [
        (
            one.config["configurable"]["checkpoint_ns"],
            one.checkpoint["id"],
            one.parent_config and one.parent_config["configurable"]["checkpoint_id"],
            one.checkpoint["channel_versions"],
            one.metadata,
            sorted(repr(write) for write in one.pending_writes or ()),
        )
        for one in found
    ]


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_copied_delta_channel_is_whole(target: ChatMemorySaver, kind: str) -> None:
    with SqliteSaver.from_conn_string(":memory:") as sqlite:
        source = InMemorySaver() if kind == "memory" else sqlite
        old, new = (delta().compile(checkpointer=saver) for saver in (source, target))
        logged(old)
        assert copy_threads(source, target).refused == []
        assert history(new, of("t")) == history(old, of("t"))
        assert log_of(new) == log_of(old)


def test_on_an_event_loop(target: ChatMemorySaver) -> None:
    async def run() -> None:
        async with AsyncSqliteSaver.from_conn_string(":memory:") as source:
            old, new = (chat().compile(checkpointer=saver) for saver in (source, target))
            for turn in range(3):
                await old.ainvoke(said(turn), of("t"))
            report = await acopy_threads(source, target)
            assert (report.copied, report.refused) == (9, [])
            assert await new.ainvoke(said(3), of("t")) == await old.ainvoke(said(3), of("t"))
        report = await acopy_threads(of_aws(), target)
        assert report.threads == []

    asyncio.run(run())


def test_what_is_in_s3_is_copied(target: ChatMemorySaver) -> None:
    bucket = Bucket()
    source = of_aws(bucket)
    old, new = (chat().compile(checkpointer=saver) for saver in (source, target))
    old.invoke(said(0, "x" * 400_000), of("t"))
    old.invoke(said(1), of("t"))
    assert len(bucket.objects) > 4
    report = copy_threads(source, target)
    assert (report.copied, report.refused) == (6, [])
    assert history(new, of("t")) == history(old, of("t"))
    source.storage.s3_enabled = False
    with pytest.raises(ValueError, match="S3 is not configured"):
        copy_threads(source, target)


def test_the_paths_and_the_order_of_writes_are_copied(target: ChatMemorySaver) -> None:
    written = {("b", "~1"): [("x", n) for n in range(12)], ("a", "~2"): [("x", n) for n in range(3)], ("c", ""): [("y", 0)]}
    for source in (of_aws(), InMemorySaver()):
        thread = type(source).__name__
        checkpoint = empty_checkpoint()
        config = source.put(of(thread, checkpoint_ns=""), checkpoint, {}, {})
        for (task_id, path), writes in written.items():
            source.put_writes(config, writes, task_id, path)
        assert copy_threads(source, target, [thread]).writes == 16
        found = target.get_tuple(config)
        assert found is not None
        assert found.pending_writes == [("c", "y", 0), *(("b", "x", n) for n in range(12)), *(("a", "x", n) for n in range(3))]
        # What a task that runs again writes is in the place that its path gives it, and what it wrote before is not there twice.
        target.put_writes(config, [("x", n) for n in range(13)], "b", "~1")
        target.put_writes(config, [("x", 1)], "d", "~1~")
        found = target.get_tuple(config)
        assert found is not None and found.pending_writes is not None
        assert [task_id for task_id, _, _ in found.pending_writes] == ["c", *["b"] * 13, "d", *["a"] * 3]


def test_only_what_is_missing_is_copied(source: BaseCheckpointSaver[Any], target: ChatMemorySaver) -> None:
    old = asking().compile(checkpointer=source)
    for thread in ("t", "u"):
        old.invoke(GO_AND_ANSWER[0], of(thread))
    report = copy_threads(source, target, ["t"])
    assert [thread.thread_id for thread in report.threads] == ["t"]
    planned = copy_threads(source, target, dry_run=True)
    assert [(thread.thread_id, thread.copied, thread.checkpoints) for thread in planned.threads] == [("t", 0, 3), ("u", 3, 3)]
    assert ids(target, "u") == []
    old.invoke(GO_AND_ANSWER[1], of("t"))
    report = copy_threads(source, target)
    # The answer is a write at a checkpoint that is there.
    assert [(thread.copied, thread.checkpoints) for thread in report.threads] == [(0, 3), (3, 3)]
    assert report.writes > 0 and report.refused == []
    old.invoke(GO_AND_ANSWER[2], of("t"))
    assert copy_threads(source, target).copied == 2
    assert (ids(target, "t"), ids(target, "u")) == (ids(source, "t"), ids(source, "u"))
    assert copy_threads(source, target).threads == [CopiedThread("t", 5, 0, 0), CopiedThread("u", 3, 0, 0)]


def test_a_thread_that_continued_is_left_as_it_is(target: ChatMemorySaver) -> None:
    source = InMemorySaver()
    old, new = (chat().compile(checkpointer=saver) for saver in (source, target))
    for thread in ("t", "u", "v", "w"):
        old.invoke(said(0), of(thread))
    assert copy_threads(source, target).refused == []
    new.invoke(said(1), of("t"))
    # Nothing is missing.
    assert copy_threads(source, target, ["t"]).threads == [CopiedThread("t", 3, 0, 0)]
    old.invoke(said(1), of("t"))
    target.prune(["u"])
    target.delete_thread("v")
    old.invoke(said(2), of("w"))
    before = ids(target)
    report = copy_threads(source, target)
    why = {thread.thread_id: thread.refused for thread in report.threads}
    assert "continued in both" in str(why["t"]) and "pruned" in str(why["u"]) and "deleted in the target" in str(why["v"])
    assert why["w"] is None and report.copied == 3
    assert ids(target) == before
    assert "check the id" in str(copy_threads(source, target, ["none"]).refused[0].refused)


def test_a_source_that_lost_its_oldest_checkpoints(target: ChatMemorySaver) -> None:
    source = InMemorySaver()
    old, new = (chat().compile(checkpointer=saver) for saver in (source, target))
    old.invoke(said(0), of("t"))
    old.invoke(said(0), of("u"))
    copy_threads(source, target, ["t"])
    for thread in ("t", "u"):
        old.invoke(said(1), of(thread))
        for id in sorted(source.storage[thread][""])[:2]:
            del source.storage[thread][""][id]
    report = copy_threads(source, target)
    assert [(thread.copied, thread.checkpoints, thread.refused) for thread in report.threads] == [(3, 4, None), (4, 4, None)]
    assert len(ids(target, "t")) == 6
    for thread in ("t", "u"):
        assert new.invoke(said(2), of(thread)) == old.invoke(said(2), of(thread))


def test_objects_are_copied_without_their_classes(target: ChatMemorySaver, tmp_path: Path) -> None:
    (tmp_path / "users_own.py").write_text("""
from dataclasses import dataclass
@dataclass
class Place:
    name: str
    seen: set
""")
    sys.path.insert(0, str(tmp_path))
    from users_own import Place  # type: ignore[import-not-found]

    source, value = of_aws(), Place("Lisbon", {"a", "b", "c"})
    builder: Any = StateGraph(dict)
    builder.add_node("go", lambda state: {"place": value, "blob": b"\x00"})
    builder.add_edge(START, "go")
    builder.compile(checkpointer=source).invoke({}, of("t"))
    sys.path.remove(str(tmp_path))
    del sys.modules["users_own"]
    assert copy_threads(source, target).refused == []
    sys.path.insert(0, str(tmp_path))
    try:
        from users_own import Place

        found = target.get_tuple(of("t"))
        assert found is not None
        assert found.checkpoint["channel_values"]["__root__"] == {"place": Place(**vars(value)), "blob": b"\x00"}
    finally:
        sys.path.remove(str(tmp_path))


def test_serializers(sqlite_url: str) -> None:
    for serde in (EncryptedSerializer(Xor()), Repr()):
        source = InMemorySaver(serde=EncryptedSerializer(Xor()))
        with ChatMemorySaver.from_url(sqlite_url, serde=serde) as target:
            target.delete_thread("t")
            old, new = (asking().compile(checkpointer=saver) for saver in (source, target))
            paused(old)
            assert copy_threads(source, target).refused == []
            assert answer(new) == answer(old)


class Repr:
    """A serializer of a user's own, which can only do what this graph needs."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        return "repr", repr(obj).encode()

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        from langgraph.types import Interrupt

        return eval(data[1], {"Interrupt": Interrupt})


# The command.


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    return subprocess.run([sys.executable, "-m", "chat_memory.langgraph", *arguments], capture_output=True, text=True, timeout=60, env=env)


def test_the_command(sqlite_url: str, tmp_path: Path) -> None:
    source = of_aws()
    old = chat().compile(checkpointer=source)
    for thread in ("ada", "bob"):
        old.invoke(said(0), of(thread))
    given = ["copy", "--from", f"dynamodb:{source.table_name}?region={REGION}&endpoint={endpoint()}", "--to", sqlite_url]
    ended = command(*given, "--dry-run")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[-1] == "2 threads: 6 of 6 checkpoints to copy"
    ended = command(*given, "--thread", "ada")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[0] == "ada: 3 of 3 checkpoints copied"
    with ChatMemorySaver.from_url(sqlite_url) as target:
        chat().compile(checkpointer=target).invoke(said(1), of("ada"))
    old.invoke(said(1), of("ada"))
    ended = command(*given)
    assert (ended.returncode, ended.stdout.splitlines()[:2]) == (3, ["ada: left as it is", "bob: 3 of 3 checkpoints copied"])
    assert "thread 'ada' not copied: it continued in both" in ended.stderr
    with SqliteSaver.from_conn_string(str(tmp_path / "old.db")) as other:
        chat().compile(checkpointer=other).invoke(said(0), of("cleo"))
    ended = command("copy", "--from", f"sqlite:{tmp_path / 'old.db'}", "--to", sqlite_url)
    assert (ended.returncode, ended.stdout.splitlines()[0], ended.stderr) == (0, "cleo: 3 of 3 checkpoints copied", "")
    for wrong, why in (("mongo:x", "expected dynamodb:TABLE or sqlite:PATH"), ("dynamodb:t?regoin=x", "unknown parameter 'regoin'")):
        ended = command("copy", "--from", wrong, "--to", sqlite_url)
        assert ended.returncode == 1 and why in ended.stderr
