"""Threads that are pruned, copied, or have runs deleted."""

from __future__ import annotations

import uuid

import pytest
from graphs import chat, history, of, said

import chat_memory
from chat_memory.langgraph import ChatMemorySaver


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
