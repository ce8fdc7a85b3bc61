"""Several runs on a thread, and runs on a thread that is deleted."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any, cast

import pytest
from graphs import at_once, chat, of, said
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph

import chat_memory
from chat_memory.langgraph import ChatMemorySaver


class Gate:
    """A chat whose model waits for the other run."""

    def __init__(self, runs: int) -> None:
        self._barrier = threading.Barrier(runs)

    def build(self) -> Any:
        builder: Any = StateGraph(cast(Any, MessagesState))

        def model(state: Any) -> Any:
            last = state["messages"][-1].content
            if last.startswith("Run"):
                self._barrier.wait(30)
            return {"messages": [AIMessage(f"To {last}")]}

        builder.add_node("model", model)
        builder.add_edge(START, "model")
        return builder


@pytest.mark.parametrize("processes", ["one saver", "two savers"])
@pytest.mark.parametrize("first", [True, False], ids=["empty thread", "later turn"])
def test_of_two_runs_one_is_refused(durable_url: str, processes: str, first: bool) -> None:
    # With "exit" both runs have loaded the thread when the first of them stores anything.
    savers = [ChatMemorySaver.from_url(durable_url)]
    savers += savers if processes == "one saver" else [ChatMemorySaver.from_url(durable_url)]
    gate = Gate(2)
    graphs = [gate.build().compile(checkpointer=saver) for saver in savers]
    if not first:
        graphs[0].invoke({"messages": [("user", "Hello")]}, of("t"))

    def run(n: int) -> Callable[[], Any]:
        return lambda: graphs[n].invoke({"messages": [("user", f"Run {n}")]}, of("t"), durability="exit")

    results = at_once([run(0), run(1)])
    refused = [result for result in results if isinstance(result, chat_memory.ConflictError)]
    assert len(refused) == 1, results
    assert "invoke the graph again with the same input" in str(refused[0])
    won = next(result for result in results if not isinstance(result, Exception))
    for graph in graphs:
        assert graph.get_state(of("t")).values == won
    assert len(won["messages"]) == (2 if first else 4)
    # The refused one, repeated, continues after the other.
    lost = results.index(refused[0])
    gate._barrier = threading.Barrier(1)
    again = graphs[lost].invoke({"messages": [("user", f"Run {lost}")]}, of("t"))
    assert again["messages"][:-2] == won["messages"]
    for saver in savers:
        saver.close()


@pytest.mark.parametrize("durability", ["sync", "async"])
def test_many_runs_never_lose_an_answered_turn(saver: ChatMemorySaver, durability: str) -> None:
    graph = chat().compile(checkpointer=saver)

    def run(n: int) -> Callable[[], Any]:
        return lambda: graph.invoke({"messages": [HumanMessage(f"Run {n}", id=f"r{n}")]}, of("t"), durability=durability)

    for round in range(3):
        results = at_once([run(10 * round + n) for n in range(6)])
        assert all(isinstance(result, (dict, chat_memory.ConflictError)) for result in results), results
        stored = [message.id for message in graph.get_state(of("t")).values["messages"]]
        for n, result in enumerate(results):
            if isinstance(result, dict):
                assert f"r{10 * round + n}" in stored
    assert len(stored) == len(set(stored))


def test_with_fork_both_are_stored(url: str) -> None:
    gate = Gate(2)
    with ChatMemorySaver.from_url(url, on_conflict="fork") as saver:
        graph = gate.build().compile(checkpointer=saver)

        def run(n: int) -> Callable[[], Any]:
            return lambda: graph.invoke({"messages": [("user", f"Run {n}")]}, of("t"), durability="exit")

        results = at_once([run(0), run(1)])
        states = [state.values for state in graph.get_state_history(of("t"))]
        # Ids are times, and a thread's only grow: of two runs in one millisecond the later to be stored may have the lesser id.
        refused = [result for result in results if isinstance(result, chat_memory.ConflictError)]
        assert len(refused) < 2 and all("is not greater than" in str(error) for error in refused), results
        assert all(result in states for result in results if result not in refused)
        assert graph.get_state(of("t")).values == states[0]


def test_a_run_on_a_deleted_thread(saver: ChatMemorySaver) -> None:
    gate = Gate(2)
    graph = gate.build().compile(checkpointer=saver)
    graph.invoke({"messages": [("user", "Hello")]}, of("t"))

    def delete() -> None:
        gate._barrier.wait(30)
        saver.delete_thread("t")

    # The model's answer may be stored before the deletion or after it, but never alone.
    results = at_once([lambda: graph.invoke({"messages": [("user", "Run 1")]}, of("t")), delete])
    assert results[0] is None or isinstance(results[0], (dict, chat_memory.ConflictError))
    state = graph.get_state(of("t")).values
    assert not state or isinstance(results[0], dict)
    saver.delete_thread("t")
    config = graph.invoke({"messages": [("user", "Hello again")]}, of("t"))
    assert [message.content for message in config["messages"]] == ["Hello again", "To Hello again"]


def test_an_unfinished_run_on_a_deleted_thread_is_refused(saver: ChatMemorySaver) -> None:
    graph = chat().compile(checkpointer=saver)
    graph.invoke(said(0), of("t"))
    loaded = saver.get_tuple(of("t"))
    assert loaded is not None
    saver.delete_thread("t")
    assert saver.get_tuple(of("t")) is None
    checkpoint = {**loaded.checkpoint, "id": str(uuid.UUID("ffffffff-0000-6000-8000-000000000000"))}
    with pytest.raises(chat_memory.ConflictError, match="deleted since this run read it; invoke the graph again"):
        saver.put(loaded.config, cast(Any, checkpoint), loaded.metadata, {})


def test_an_old_clock_is_refused(saver: ChatMemorySaver) -> None:
    graph = chat().compile(checkpointer=saver)
    graph.invoke(said(0), of("t"))
    loaded = saver.get_tuple(of("t"))
    assert loaded is not None
    checkpoint = {**loaded.checkpoint, "id": "00000000-0000-6000-8000-000000000000"}
    with pytest.raises(chat_memory.ConflictError, match="set the clock of this machine"):
        saver.put(loaded.config, cast(Any, checkpoint), loaded.metadata, {})
