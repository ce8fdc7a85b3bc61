"""Checkpoints of real graphs, next to LangGraph's own InMemorySaver."""

from __future__ import annotations

import asyncio
import gc
import operator
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Annotated, Any, TypedDict, cast

import pytest
from conftest import script
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.base import CipherProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, RetryPolicy, Send, interrupt

import chat_memory
from chat_memory.langgraph import ChatMemorySaver

DURABILITIES = ["sync", "async", "exit"]


@pytest.fixture
def saver(url: str) -> Iterator[ChatMemorySaver]:
    with ChatMemorySaver.from_url(url) as saver:
        yield saver


GO_AND_ANSWER: list[Any] = [{"log": ["go"]}, Command(resume="yes"), Command(resume="sure")]


def of(thread: str, **more: Any) -> RunnableConfig:
    return {"configurable": {"thread_id": thread, **more}}


def history(graph: Any, config: RunnableConfig) -> list[Any]:
    """What a thread's history shows, but for ids and times."""
    return [shown(state) for state in graph.get_state_history(config)]


def shown(state: Any) -> Any:
    tasks = [
        (task.name, task.path, str(task.error), [each.value for each in task.interrupts], task.result) for task in state.tasks
    ]
    metadata = {name: state.metadata[name] for name in ("source", "step") if name in state.metadata}
    return state.values, state.next, metadata, tasks, state.parent_config is None


def both(build: Any, saver: BaseCheckpointSaver[str], scenario: Callable[[Any], Any]) -> Any:
    """Runs a scenario with a graph on LangGraph's own saver and on ours, and returns the result, which is the same."""
    expected = scenario(build().compile(checkpointer=InMemorySaver()))
    actual = scenario(build().compile(checkpointer=saver))
    assert actual == expected
    return actual


# Chats.


def reply(state: Any) -> Any:
    count = len(state["messages"])
    return {"messages": [AIMessage(f"Reply {count}", id=f"a{count}")]}


def chat() -> Any:
    builder: Any = StateGraph(cast(Any, MessagesState))
    builder.add_node("model", reply)
    builder.add_edge(START, "model")
    builder.add_edge("model", END)
    return builder


def said(turn: int, text: str = "") -> dict[str, Any]:
    return {"messages": [HumanMessage(text or f"Message {turn}", id=f"h{turn}")]}


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


class Xor(CipherProtocol):
    """Not for secrets."""

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        nonce = random.randbytes(8)
        return "xor", nonce + self._mixed(plaintext, nonce)

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        return self._mixed(ciphertext[8:], ciphertext[:8])

    def _mixed(self, data: bytes, nonce: bytes) -> bytes:
        return bytes(each ^ mask for each, mask in zip(data, random.Random(nonce).randbytes(len(data)), strict=True))


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


# Interrupts and time travel.


class Trip(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    city: str


def asking() -> Any:
    builder: Any = StateGraph(cast(Any, Trip))

    def plan(state: Trip) -> Any:
        return {"log": ["plan"], "city": "Lisbon"}

    def ask(state: Trip) -> Any:
        first = interrupt("Sure?")
        second = interrupt("Really?")
        return {"log": [f"{first} {second}"]}

    def book(state: Trip) -> Any:
        return {"log": [f"book {state.get('city')}"]}

    for name, node in (("plan", plan), ("ask", ask), ("book", book)):
        builder.add_node(name, node)
    builder.add_edge(START, "plan")
    builder.add_edge("plan", "ask")
    builder.add_edge("ask", "book")
    builder.add_edge("book", END)
    return builder


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


def nested(of_its_own: bool | None) -> Any:
    """A graph with a subgraph that asks."""
    inner: Any = StateGraph(cast(Any, Trip))

    def look(state: Trip) -> Any:
        return {"log": ["look"]}

    def confirm(state: Trip) -> Any:
        return {"log": [interrupt("Here?")]}

    inner.add_node("look", look)
    inner.add_node("confirm", confirm)
    inner.add_edge(START, "look")
    inner.add_edge("look", "confirm")
    outer: Any = StateGraph(cast(Any, Trip))
    outer.add_node("inner", inner.compile(checkpointer=of_its_own))
    outer.add_node("after", lambda state: {"log": ["after"]})
    outer.add_edge(START, "inner")
    outer.add_edge("inner", "after")
    return outer


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


# Parallel tasks.


def fanning() -> Any:
    builder: Any = StateGraph(cast(Any, Trip))

    def spread(state: Trip) -> Any:
        return [Send("visit", {"city": f"city {n}"}) for n in range(12)]

    def visit(state: Trip) -> Any:
        return {"log": [f"visit {state.get('city')}"]}

    builder.add_node("visit", visit)
    builder.add_node("join", lambda state: {"log": [f"join {len(state['log'])}"]})
    builder.add_conditional_edges(START, spread, ["visit"])
    builder.add_edge("visit", "join")
    return builder


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


# All of it in one script.


class Script:
    """The steps of a long thread: parallel failure and retry, interrupts, also in a subgraph, update_state, replay, forks, and new input on
    an old checkpoint. Each step gets a graph, perhaps on another saver."""

    def __init__(self, durability: str) -> None:
        self.durability = durability
        self.runs: list[str] = []

    def build(self) -> Any:
        builder: Any = StateGraph(cast(Any, Trip))

        def good(state: Trip) -> Any:
            self.runs.append("good")
            return {"log": ["good"]}

        def bad(state: Trip) -> Any:
            self.runs.append("bad")
            time.sleep(0.1)
            if self.runs.count("bad") <= 3:
                raise ConnectionError("not yet")
            return {"log": ["bad"]}

        def ask(state: Trip) -> Any:
            self.runs.append("ask")
            return {"log": [f"{interrupt('Sure?')} {state.get('city')}"]}

        builder.add_node("good", good)
        builder.add_node("bad", bad, retry_policy=RetryPolicy(max_attempts=2, initial_interval=0.01, jitter=False))
        builder.add_node("nested", nested(None).compile())
        builder.add_node("ask", ask)
        builder.add_edge(START, "good")
        builder.add_edge(START, "bad")
        builder.add_edge(["good", "bad"], "nested")
        builder.add_edge("nested", "ask")
        return builder

    def invoke(self, graph: Any, given: Any, config: RunnableConfig | None = None) -> Any:
        try:
            return graph.invoke(given, config or of("t"), durability=self.durability)
        except ConnectionError as error:
            return str(error)

    def answer(self, graph: Any, text: str) -> Any:
        asked = [each.id for task in graph.get_state(of("t")).tasks for each in task.interrupts]
        return self.invoke(graph, Command(resume=text if len(asked) == 1 else dict.fromkeys(asked, text)))

    def at(self, graph: Any, following: str, newest: bool = True) -> RunnableConfig:
        """A checkpoint after which a node runs."""
        found = [state.config for state in graph.get_state_history(of("t")) if state.next == (following,)]
        return cast(RunnableConfig, found[0 if newest else -1])

    def inside(self, graph: Any) -> RunnableConfig:
        """The subgraph that asks."""
        return cast(RunnableConfig, graph.get_state(of("t"), subgraphs=True).tasks[0].state.config)

    def branch(self, graph: Any, following: str, as_node: str | None = None) -> Any:
        return self.invoke(graph, None, graph.update_state(self.at(graph, following), {"log": ["fork"], "city": "Porto"}, as_node))

    def steps(self) -> list[Callable[[Any], Any]]:
        invoke = self.invoke
        return [
            lambda graph: invoke(graph, {"log": ["go"], "city": "Lisbon"}),  # fails
            lambda graph: invoke(graph, None),  # retries only what failed, and asks inside
            lambda graph: graph.update_state(self.inside(graph), {"log": ["inside"]}),
            lambda graph: invoke(graph, Command(resume="yes")),
            lambda graph: invoke(graph, Command(resume="sure", update={"city": "Faro"})),
            lambda graph: graph.update_state(of("t"), {"log": ["updated"]}, as_node="ask"),
            lambda graph: invoke(graph, None, self.at(graph, "ask")),  # a replay, which asks again
            lambda graph: invoke(graph, Command(resume="again")),
            lambda graph: self.branch(graph, "ask"),
            lambda graph: invoke(graph, Command(resume="forked")),
            lambda graph: self.branch(graph, "nested", as_node="nested"),  # asks in the graph and in the subgraph
            lambda graph: self.answer(graph, "both"),
            lambda graph: self.answer(graph, "the rest"),
            lambda graph: invoke(graph, {"log": ["new input"]}, self.at(graph, "nested", newest=False)),
            lambda graph: invoke(graph, Command(resume="yes")),
            lambda graph: invoke(graph, {"log": ["instead of an answer"]}),
            lambda graph: invoke(graph, Command(resume="yes")),
            lambda graph: invoke(graph, Command(resume="done")),
        ]

    def run(self, opened: Callable[[], AbstractContextManager[BaseCheckpointSaver[str]]]) -> list[Any]:
        seen: list[Any] = []
        for step in self.steps():
            with opened() as saver:
                graph = self.build().compile(checkpointer=saver)
                result = step(graph)
                # A configuration has ids, which differ.
                result = None if isinstance(result, dict) and "configurable" in result else without_ids(result)
                state = graph.get_state(of("t"), subgraphs=True)
                inside = [shown(task.state) for task in state.tasks if task.state is not None]
                seen.append((result, sorted(self.runs), shown(state)[:-1], inside, history(graph, of("t"))))
        return seen


def without_ids(result: Any) -> Any:
    if not isinstance(result, dict):
        return result
    return {name: [each.value for each in value] if name == "__interrupt__" else value for name, value in result.items()}


@pytest.mark.parametrize("durability", DURABILITIES)
@pytest.mark.parametrize("is_warm", [True, False], ids=["warm", "cold"])
def test_each_step_of_a_script_is_that_of_the_in_memory_saver(durable_url: str, durability: str, is_warm: bool) -> None:
    in_memory = InMemorySaver()
    expected = Script(durability).run(lambda: nullcontext(in_memory))
    with ChatMemorySaver.from_url(durable_url) as saver:
        seen = Script(durability).run(lambda: nullcontext(saver) if is_warm else ChatMemorySaver.from_url(durable_url))
    for n, (ours, theirs) in enumerate(zip(seen, expected, strict=True)):
        assert ours == theirs, f"step {n}"
    assert seen[0][0] == "not yet" and seen[1][1] == [*["bad"] * 4, "good"]


# Two runs at once.


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


def _at_once(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Runs calls in threads of their own, and returns their results or exceptions."""
    results: list[Any] = [None] * len(calls)

    def run(n: int) -> None:
        try:
            results[n] = calls[n]()
        except Exception as error:
            results[n] = error

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


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

    results = _at_once([run(0), run(1)])
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
        results = _at_once([run(10 * round + n) for n in range(6)])
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

        results = _at_once([run(0), run(1)])
        states = [state.values for state in graph.get_state_history(of("t"))]
        assert all(result in states for result in results)
        assert graph.get_state(of("t")).values == states[0]


def test_a_run_on_a_deleted_thread(saver: ChatMemorySaver) -> None:
    gate = Gate(2)
    graph = gate.build().compile(checkpointer=saver)
    graph.invoke({"messages": [("user", "Hello")]}, of("t"))

    def delete() -> None:
        gate._barrier.wait(30)
        saver.delete_thread("t")

    # The model's answer may be stored before the deletion or after it, but never alone.
    results = _at_once([lambda: graph.invoke({"messages": [("user", "Run 1")]}, of("t")), delete])
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


# Keeping house.


def test_a_pruned_thread_goes_on(saver: ChatMemorySaver) -> None:
    graph = chat().compile(checkpointer=saver)
    for turn in range(12):
        graph.invoke(said(turn), of("t"))
        if turn % 4 == 3:
            before = graph.get_state(of("t"))
            saver.prune(["t"])
            assert graph.get_state(of("t")).values == before.values
            assert len(list(graph.get_state_history(of("t")))) == 1
    assert len(graph.get_state(of("t")).values["messages"]) == 24
    saver.prune(["t", "none"], strategy="delete")
    assert not graph.get_state(of("t")).values
    with pytest.raises(chat_memory.InvalidError, match="expected 'keep_latest' or 'delete'"):
        saver.prune(["t"], strategy="all")


def test_deleted_runs_leave_what_later_ones_inherited(saver: ChatMemorySaver) -> None:
    graph = chat().compile(checkpointer=saver)
    runs = [str(uuid.uuid4()) for _ in range(4)]
    for turn, run in enumerate(runs):
        graph.invoke(said(turn), {**of("t"), "metadata": {"run_id": run}})
    saver.delete_for_runs(runs[1:3])
    found = {found.metadata["run_id"] for found in saver.list(of("t"))}
    assert found == {runs[0], runs[3]}
    assert len(graph.get_state(of("t")).values["messages"]) == 8
    # A checkpoint before them is still a branch's start, and the newest still the newest.
    oldest = list(graph.get_state_history(of("t")))[3]
    assert len(oldest.values["messages"]) == 2
    graph.invoke(said(4), of("t"))
    graph.invoke(said(5), oldest.config)
    assert len(graph.get_state(of("t")).values["messages"]) == 4


def test_a_copied_thread_is_apart(saver: ChatMemorySaver) -> None:
    graph = chat().compile(checkpointer=saver)
    for turn in range(5):
        graph.invoke(said(turn), of("t"))
    saver.copy_thread("t", "u")
    assert history(graph, of("u")) == history(graph, of("t"))
    graph.invoke(said(5), of("u"))
    graph.invoke(said(6), of("t"))
    assert graph.get_state(of("u")).values != graph.get_state(of("t")).values
    with pytest.raises(chat_memory.ConflictError, match="choose a thread that never had any"):
        saver.copy_thread("t", "u")
    threads = {found.config["configurable"]["thread_id"] for found in saver.list(None)}
    assert threads == {"t", "u"}


# Delta channels.


def _appended(state: list[str] | None, writes: Sequence[list[str]]) -> list[str]:
    return [*(state or []), *(each for write in writes for each in write)]


class Log(TypedDict, total=False):
    log: Annotated[list[str], DeltaChannel(_appended, snapshot_frequency=7)]
    plain: int


def delta() -> Any:
    builder: Any = StateGraph(cast(Any, Log))
    builder.add_node("one", lambda state: {"log": [f"one {len(state['log'])}"], "plain": len(state["log"])})
    builder.add_node("left", lambda state: {"log": [f"left {len(state['log'])}"]})
    builder.add_node("right", lambda state: {"log": [f"right {len(state['log'])}"]})
    builder.add_edge(START, "one")
    builder.add_edge("one", "left")
    builder.add_edge("one", "right")
    return builder


@pytest.mark.parametrize("durability", DURABILITIES)
def test_delta_channels(saver: ChatMemorySaver, durability: str) -> None:
    def scenario(graph: Any) -> Any:
        for turn in range(12):
            graph.invoke({"log": [f"turn {turn}"]}, of("t"), durability=durability)
        states = list(graph.get_state_history(of("t")))
        seen = [graph.invoke({"log": ["branch"]}, states[len(states) // 2].config, durability=durability)]
        graph.update_state(of("t"), {"log": ["updated"]}, as_node="left")
        seen.append(graph.invoke({"log": ["after"]}, of("t"), durability=durability))
        return seen, history(graph, of("t"))

    both(delta, saver, scenario)


@pytest.mark.parametrize("durability", DURABILITIES)
@pytest.mark.parametrize("savers", [1, 2])
def test_writes_of_a_refused_run_are_not_in_a_delta_channel(durable_url: str, savers: int, durability: str) -> None:
    opened = [ChatMemorySaver.from_url(durable_url, write_delay=0.01) for _ in range(savers)]
    graphs = [delta().compile(checkpointer=saver) for saver in opened]
    refused = n = 0
    # Until two runs met, whatever else the machine does.
    while n < 6 or not refused and n < 200:
        n += 1
        of_round = of(f"t{n}")
        graphs[0].invoke({"log": ["start"]}, of_round)

        def run(n: int, config: RunnableConfig = of_round) -> Callable[[], Any]:
            return lambda: graphs[n % savers].invoke({"log": [f"run {n}"]}, config, durability=durability)

        results = _at_once([run(0), run(1)])
        won = [result for result in results if isinstance(result, dict)]
        refused += 2 - len(won)
        for saver in opened:
            saver.flush()
        state = graphs[0].get_state(of_round).values
        # What the other put before this one began is in the state of both.
        assert state in won and len(state["log"]) >= 4 * (1 + len(won))
        saver.prune([f"t{n}"])
        assert graphs[-1].get_state(of_round).values == state
    assert refused > 0
    for saver in opened:
        saver.close()


@pytest.mark.parametrize("turns", [1, 3, 8])
def test_a_pruned_delta_channel_is_whole(saver: ChatMemorySaver, turns: int) -> None:
    graph = delta().compile(checkpointer=saver)
    for round in range(3):
        for turn in range(turns):
            graph.invoke({"log": [f"turn {round} {turn}"]}, of("t"))
        before = graph.get_state(of("t")).values
        saver.prune(["t"])
        assert graph.get_state(of("t")).values == before
    assert len(before["log"]) == 3 * turns * 4


def test_delta_histories_are_those_of_the_base_class(saver: ChatMemorySaver) -> None:
    graph = delta().compile(checkpointer=saver)
    for turn in range(9):
        graph.invoke({"log": [f"turn {turn}"]}, of("t"))
    for found in saver.list(of("t")):
        channels = ["log", "plain", "none"]
        expected = BaseCheckpointSaver.get_delta_channel_history(saver, config=found.config, channels=channels)
        assert saver.get_delta_channel_history(config=found.config, channels=channels) == expected
        assert asyncio.run(saver.aget_delta_channel_history(config=found.config, channels=channels)) == expected


# Anything.


class Any_(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    count: int
    notes: Annotated[list[AnyMessage], operator.add]
    blob: str


@pytest.mark.parametrize("seed", range(6))
def test_random_graphs(saver: ChatMemorySaver, seed: int) -> None:
    def build() -> Any:
        choose = random.Random(seed)
        builder: Any = StateGraph(cast(Any, Any_))
        names = [f"n{n}" for n in range(choose.randint(2, 5))]

        def node(name: str) -> Callable[[Any], Any]:
            kind = choose.choice(["log", "count", "notes", "blob", "ask"])

            def run(state: Any) -> Any:
                step = len(state.get("log", []))
                if kind == "ask":
                    return {"log": [f"{name} {interrupt(name)}"]}
                values: dict[str, Any] = {
                    "log": [f"{name} {step}"],
                    "count": step,
                    "notes": [AIMessage(f"{name} {step}", id=f"{name} {step}")],
                    "blob": random.Random(step).randbytes(3_000).hex(),
                }
                return {kind: values[kind], "log": [name]} if kind != "count" else {"log": [name]}

            return run

        for name in names:
            builder.add_node(name, node(name))
        builder.add_edge(START, names[0])
        for n, name in enumerate(names[1:], 1):
            builder.add_edge(choose.choice(names[:n]), name)
        return builder

    def scenario(graph: Any) -> Any:
        choose = random.Random(seed)
        seen = []
        for turn in range(14):
            state = graph.get_state(of("t"))
            config = of("t")
            durability = choose.choice(DURABILITIES)
            asked = [each.id for task in state.tasks for each in task.interrupts]
            what = choose.random()
            if asked and what < 0.6:
                given: Any = Command(resume={each: f"answer {turn}" for each in asked})
            elif what < 0.75 and turn > 3:
                states = list(graph.get_state_history(config))
                config = states[choose.randrange(len(states))].config
                given = {"log": [f"branch {turn}"]}
            elif what < 0.85 and state.values:
                graph.update_state(config, {"log": [f"update {turn}"]}, as_node="n0")
                continue
            else:
                given = {"log": [f"turn {turn}"], "blob": f"blob {turn}"}
            result = graph.invoke(given, config, durability=durability)
            seen.append({name: value for name, value in result.items() if name != "__interrupt__"})
        return seen, history(graph, of("t"))

    both(build, saver, scenario)


# The program's end.


def test_writes_are_stored_when_the_program_ends(durable_url: str) -> None:
    program = """
import sys
from chat_memory.langgraph import ChatMemorySaver
from langgraph.checkpoint.base import empty_checkpoint
saver = ChatMemorySaver.from_url(sys.argv[1], write_delay=30)
config = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
config = saver.put(config, empty_checkpoint(), {}, {})
saver.put_writes(config, [("a", 1), ("b", [2])], "task")
if sys.argv[2] == "collected":
    import gc
    del saver
    gc.collect()
"""
    for thread in ("left open", "collected"):
        with ChatMemorySaver.from_url(durable_url) as saver:
            saver.delete_thread("t")
        ended = script(program, durable_url, thread)
        assert (ended.returncode, ended.stderr) == (0, "")
        with ChatMemorySaver.from_url(durable_url) as saver:
            found = saver.get_tuple(of("t"))
            assert found is not None
            assert found.pending_writes == [("task", "a", 1), ("task", "b", [2])]


def test_a_fork_keeps_what_waits(url: str) -> None:
    program = """
import os, sys, warnings
warnings.simplefilter("ignore")
from chat_memory.langgraph import ChatMemorySaver
from langgraph.checkpoint.base import empty_checkpoint
saver = ChatMemorySaver.from_url(sys.argv[1], write_delay=30)
config = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
config = saver.put(config, empty_checkpoint(), {}, {})
saver.put_writes(config, [("a", 1)], "task")
child = os.fork()
found = saver.get_tuple(config)
# The other process perhaps was faster. In DynamoDB the child perhaps does not see the first one yet, like any other process.
of_task = [write for write in found.pending_writes if write[0] == "task"]
assert of_task == [("task", "a", 1)] or (child == 0 and sys.argv[1].startswith("dynamodb:")), found
saver.put_writes(config, [("b", 2)], "child" if child == 0 else "parent")
saver.close()
if child:
    assert os.waitpid(child, 0)[1] == 0
"""
    ended = script(program, url)
    assert (ended.returncode, ended.stderr) == (0, "")
    if url != "memory:":
        with ChatMemorySaver.from_url(url) as saver:
            found = saver.get_tuple(of("t"))
            assert found is not None and found.pending_writes is not None
            assert sorted(found.pending_writes) == [("child", "b", 2), ("parent", "b", 2), ("task", "a", 1)]


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
