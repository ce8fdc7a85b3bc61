"""Long threads and random graphs, step by step like those of LangGraph's own InMemorySaver."""

from __future__ import annotations

import operator
import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Annotated, Any, TypedDict, cast

import pytest
from graphs import DURABILITIES, Trip, both, history, nested, of, shown
from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, RetryPolicy, interrupt

from chat_memory.langgraph import ChatMemorySaver


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
    """The result as it is compared: which of two tasks asks first is chance."""
    if not isinstance(result, dict):
        return result
    asked = {"__interrupt__": sorted(each.value for each in result["__interrupt__"])} if "__interrupt__" in result else {}
    return {**result, **asked}


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
