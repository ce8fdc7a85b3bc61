"""Checkpoints of real graphs, next to LangGraph's own InMemorySaver: chats, interrupts, time travel, parallel tasks."""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections.abc import Callable
from typing import Any, cast

import pytest
from graphs import DURABILITIES, GO_AND_ANSWER, Trip, Xor, asking, both, chat, fanning, history, nested, of, said, shown
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.graph import START, StateGraph
from langgraph.types import Command

import chat_memory
from chat_memory.langgraph import ChatMemorySaver


@pytest.mark.parametrize("durability", DURABILITIES)
def test_a_chat_of_many_turns(saver: ChatMemorySaver, durability: str) -> None:
    def scenario(graph: Any) -> Any:
        for turn in range(25):
            result = graph.invoke(said(turn), of("t"), durability=durability)
            assert len(result["messages"]) == 2 * turn + 2
        return result, history(graph, of("t"))

    both(chat, saver, scenario)


@pytest.mark.parametrize("durability", DURABILITIES)
def test_a_chat_on_an_event_loop(saver: ChatMemorySaver, durability: str) -> None:
    def scenario(graph: Any) -> Any:
        async def run() -> Any:
            for turn in range(15):
                await graph.ainvoke(said(turn), of("t"), durability=durability)
            return [shown(state) async for state in graph.aget_state_history(of("t"))]

        return asyncio.run(run())

    both(chat, saver, scenario)


def test_many_threads_at_once(saver: ChatMemorySaver) -> None:
    graph = chat().compile(checkpointer=saver)

    async def run() -> None:
        for turn in range(4):
            await asyncio.gather(*(graph.ainvoke(said(turn), of(f"t{n}")) for n in range(20)))
        for n in range(20):
            assert len((await graph.aget_state(of(f"t{n}"))).values["messages"]) == 8

    asyncio.run(run())


def test_a_thread_is_whole_for_another_saver(durable_url: str) -> None:
    for turn in range(12):
        with ChatMemorySaver.from_url(durable_url) as saver:
            chat().compile(checkpointer=saver).invoke(said(turn), of("t"), durability="exit" if turn % 3 == 0 else "async")
    with ChatMemorySaver.from_url(durable_url) as saver:
        graph = chat().compile(checkpointer=saver)
        messages = graph.get_state(of("t")).values["messages"]
        assert [message.content for message in messages][-2:] == ["Message 11", "Reply 23"]
        assert len(messages) == 24
        assert len(list(graph.get_state_history(of("t")))) == 8 * 3 + 4


@pytest.mark.parametrize("size", [900_000, 1_500_000])
def test_large_messages(saver: ChatMemorySaver, size: int) -> None:
    text = random.Random(1).randbytes(size // 2).hex()

    def scenario(graph: Any) -> Any:
        for turn in range(4):
            graph.invoke(said(turn, text if turn in (0, 2) else ""), of("t"))
        return history(graph, of("t"))

    both(chat, saver, scenario)


def test_encrypted_values(url: str) -> None:
    with ChatMemorySaver.from_url(url, serde=EncryptedSerializer(Xor())) as saver:

        def scenario(graph: Any) -> Any:
            for turn in range(5):
                graph.invoke(said(turn, "Geheimnis"), of("t"))
            return history(graph, of("t"))

        both(chat, saver, scenario)
        [found] = saver._checkpoints.call(saver._load(of("t")))
        assert found.values
        assert all(kind.endswith("+xor") and b"Geheimnis" not in data for kind, data in [found.body, found.metadata, *found.values.values()])


@pytest.mark.parametrize("durability", DURABILITIES)
def test_interrupts(saver: ChatMemorySaver, durability: str) -> None:
    def scenario(graph: Any) -> Any:
        seen: list[Any] = []
        for _ in range(2):
            for given in GO_AND_ANSWER:
                graph.invoke(given, of("t"), durability=durability)
                seen.append(shown(graph.get_state(of("t"))))
        return seen, history(graph, of("t"))

    both(asking, saver, scenario)


def test_an_interrupt_is_answered_by_another_process(durable_url: str) -> None:
    for given in GO_AND_ANSWER:
        with ChatMemorySaver.from_url(durable_url) as saver:
            result = asking().compile(checkpointer=saver).invoke(given, of("t"))
    assert result["log"] == ["go", "plan", "yes sure", "book Lisbon"]


def test_time_travel(saver: ChatMemorySaver) -> None:
    def scenario(graph: Any) -> Any:
        for turn in range(4):
            graph.invoke(said(turn), of("t"))
        states = list(graph.get_state_history(of("t")))
        results = []
        # Replays an old checkpoint, continues from one with another input, changes one, copies one, and copies the first one.
        results.append(graph.invoke(None, states[4].config))
        results.append(graph.invoke(said(50), states[3].config))
        branch = graph.update_state(states[5].config, said(51))
        results.append(graph.invoke(None, branch))
        copied = graph.update_state(states[2].config, None, as_node="__copy__")
        results.append(shown(graph.get_state(copied)))
        copied = graph.update_state(states[-1].config, None, as_node="__copy__")
        results.append(shown(graph.get_state(copied)))
        copied = graph.update_state(graph.get_state(of("t")).config, None, as_node="__copy__")
        results.append(graph.invoke(None, copied))
        results.append(graph.invoke(said(52), of("t")))
        return results, history(graph, of("t"))

    both(chat, saver, scenario)


def test_time_travel_with_interrupts(saver: ChatMemorySaver) -> None:
    def scenario(graph: Any) -> Any:
        for given in GO_AND_ANSWER:
            graph.invoke(given, of("t"))
        asked = next(state for state in graph.get_state_history(of("t")) if state.next == ("ask",))
        results = [graph.invoke(None, asked.config)]
        for answer in ("no", "never"):
            results.append(graph.invoke(Command(resume=answer), of("t")))
        config = graph.update_state(asked.config, {"city": "Porto"})
        results.append(graph.invoke(None, config))
        for answer in ("maybe", "later"):
            results.append(graph.invoke(Command(resume=answer), of("t")))
        return [result.get("log") for result in results], history(graph, of("t"))

    both(asking, saver, scenario)


@pytest.mark.parametrize("of_its_own", [None, True])
def test_subgraphs(saver: ChatMemorySaver, of_its_own: bool | None) -> None:
    def scenario(graph: Any) -> Any:
        seen: list[Any] = []
        for turn in range(3):
            runs: list[Any] = [{"log": [f"go {turn}"]}, Command(resume=f"yes {turn}")]
            for given in runs:
                graph.invoke(given, of("t"))
                state = graph.get_state(of("t"), subgraphs=True)
                seen.append(shown(state))
                seen += [shown(task.state) for task in state.tasks if task.state is not None]
        states = list(graph.get_state_history(of("t")))
        asked = [state for state in states if state.next == ("inner",)]
        # The subgraph did not exist yet at the oldest of them.
        for state in (asked[1], asked[-1]):
            seen.append(graph.invoke(None, state.config).get("log"))
            seen.append(graph.invoke(Command(resume="again"), of("t"))["log"])
        return seen, history(graph, of("t"))

    both(lambda: nested(of_its_own), saver, scenario)


@pytest.mark.parametrize("durability", DURABILITIES)
def test_parallel_tasks(saver: ChatMemorySaver, durability: str) -> None:
    def scenario(graph: Any) -> Any:
        for _ in range(3):
            graph.invoke({"log": ["go"]}, of("t"), durability=durability)
        return graph.get_state(of("t")).values, history(graph, of("t"))

    both(fanning, saver, scenario)


def test_what_finished_before_a_failure_does_not_run_again(saver: ChatMemorySaver) -> None:
    runs: list[str] = []

    def build() -> Any:
        runs.clear()
        builder: Any = StateGraph(cast(Any, Trip))

        def good(state: Trip) -> Any:
            runs.append("good")
            return {"log": ["good"]}

        def bad(state: Trip) -> Any:
            runs.append("bad")
            # LangGraph drops a task that ends after the one that failed.
            if runs.count("bad") == 1:
                time.sleep(0.5)
            if runs.count("bad") < 3:
                raise RuntimeError("not yet")
            return {"log": ["bad"]}

        builder.add_node("good", good)
        builder.add_node("bad", bad)
        builder.add_edge(START, "good")
        builder.add_edge(START, "bad")
        return builder

    def scenario(graph: Any) -> Any:
        with pytest.raises(RuntimeError, match="not yet"):
            graph.invoke({"log": ["go"]}, of("t"))
        with pytest.raises(RuntimeError, match="not yet"):
            graph.invoke(None, of("t"))
        graph.invoke(None, of("t"))
        assert sorted(runs) == ["bad", "bad", "bad", "good"]
        return history(graph, of("t"))

    both(build, saver, scenario)


def test_an_invalid_thread_id_is_called_one() -> None:
    with ChatMemorySaver.from_url("memory:") as saver:
        with pytest.raises(chat_memory.InvalidError, match='^a thread id must not start with "ns#"'):
            saver.get_tuple(of("ns#t"))
        calls: list[Callable[[], None]] = [
            lambda: saver.delete_thread(""),
            lambda: saver.copy_thread("t", ""),
            lambda: saver.prune([""]),
        ]
        for call in calls:
            with pytest.raises(chat_memory.InvalidError, match="^a thread id must not be empty$"):
                call()


def test_a_closed_saver_says_so() -> None:
    saver = ChatMemorySaver.from_url("memory:")
    saver.close()
    saver.close()
    asyncio.run(saver.aclose())
    with pytest.raises(chat_memory.InvalidError, match="closed"):
        saver.get_tuple(of("t"))
    with pytest.raises(chat_memory.InvalidError, match="write_delay"):
        ChatMemorySaver.from_url("memory:", write_delay=-1)
    with pytest.raises(chat_memory.InvalidError, match="on_conflict"):
        ChatMemorySaver.from_url("memory:", on_conflict=cast(Any, "merge"))
    gc.collect()


def test_a_text_is_no_list_of_threads(saver: ChatMemorySaver) -> None:
    graph = chat().compile(checkpointer=saver)
    graph.invoke(said(0), of("t"))
    ids = [stored.checkpoint["id"] for stored in saver.list(of("t"))]
    for strategy in ("keep_latest", "delete"):
        with pytest.raises(chat_memory.InvalidError, match=r"invalid thread_ids: a str, not a list; give \['tram'\]"):
            saver.prune("tram", strategy=strategy)
    with pytest.raises(chat_memory.InvalidError, match="invalid run_ids"):
        saver.delete_for_runs("t")
    assert ids == [stored.checkpoint["id"] for stored in saver.list(of("t"))] != []
