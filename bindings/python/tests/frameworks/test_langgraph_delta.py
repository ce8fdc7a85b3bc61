"""Delta channels, whose values are computed from writes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from graphs import DURABILITIES, at_once, both, delta, history, of
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver

from chat_memory.langgraph import ChatMemorySaver


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

        results = at_once([run(0), run(1)])
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
