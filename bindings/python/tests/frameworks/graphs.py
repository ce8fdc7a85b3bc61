"""What the tests of checkpoints share: graphs, and how they are compared with LangGraph's own InMemorySaver."""

from __future__ import annotations

import operator
import random
import threading
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypedDict, cast

from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.base import CipherProtocol
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, Send, interrupt

DURABILITIES = ["sync", "async", "exit"]

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


class Xor(CipherProtocol):
    """Not for secrets."""

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        nonce = random.randbytes(8)
        return "xor", nonce + self._mixed(plaintext, nonce)

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        return self._mixed(ciphertext[8:], ciphertext[:8])

    def _mixed(self, data: bytes, nonce: bytes) -> bytes:
        return bytes(each ^ mask for each, mask in zip(data, random.Random(nonce).randbytes(len(data)), strict=True))


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


def at_once(calls: Sequence[Callable[[], Any]]) -> list[Any]:
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
