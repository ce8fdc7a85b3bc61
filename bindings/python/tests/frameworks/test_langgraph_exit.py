"""What waits to be stored when the program ends or forks."""

from __future__ import annotations

from conftest import script
from graphs import of

from chat_memory.langgraph import ChatMemorySaver


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
