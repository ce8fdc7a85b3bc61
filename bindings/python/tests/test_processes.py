"""Processes: forks, exits, signals, threads that outlive the interpreter."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import script, turns_url, user

import chat_memory

KINDS = ["spawn", "fork", "forkserver"]

inherited: chat_memory.Store
"""A store that forked children inherit."""


def write_inherited(who: int) -> None:
    write(inherited, who)


def write_opened(url: str, who: int) -> None:
    write(chat_memory.open(url), who)


def write(store: chat_memory.Store, who: int) -> None:
    for n in range(5):
        store.append("s", [user(f"{who}/{n}")])


def run_all(start: Callable[[int], multiprocessing.process.BaseProcess]) -> None:
    children = [start(who) for who in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0] * 4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_children_that_open_a_store(durable_url: str, kind: str) -> None:
    # The parent has used the same store, and uses it while they work.
    store = chat_memory.open(durable_url)
    write(store, 9)
    context = multiprocessing.get_context(kind)
    run_all(lambda who: context.Process(target=write_opened, args=(durable_url, who)))  # type: ignore[attr-defined]
    write(store, 8)
    contents = [message["content"] for message in store.messages("s")]
    assert sorted(map(str, contents)) == sorted(f"{who}/{n}" for who in (0, 1, 2, 3, 8, 9) for n in range(5))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_children_that_inherit_a_store(durable_url: str) -> None:
    global inherited
    inherited = chat_memory.open(durable_url)
    write(inherited, 9)
    context = multiprocessing.get_context("fork")
    run_all(lambda who: context.Process(target=write_inherited, args=(who,)))
    write(inherited, 8)
    contents = [message["content"] for message in inherited.messages("s")]
    assert sorted(map(str, contents)) == sorted(f"{who}/{n}" for who in (0, 1, 2, 3, 8, 9) for n in range(5))


def test_a_fork_waits_for_operations_of_other_threads(sqlite_url: str) -> None:
    program = """
import asyncio, os, sys, threading, warnings, chat_memory
warnings.simplefilter("ignore", DeprecationWarning)
store = chat_memory.open(sys.argv[1])
async def leave(n):
    # Its store is gone before it is done.
    task = asyncio.create_task((await chat_memory.aopen(sys.argv[1])).append("s", [{"role": "user", "content": f"left/{n}"}], key=str(n)))
    await asyncio.sleep(0)
    task.cancel()
ends = threading.Event()
def write(who):
    n = 0
    while not ends.wait(0.01):
        store.append("s", [{"role": "user", "content": f"{who}/{n}"}])
        n += 1
    counts.append(n)
counts = []
threads = [threading.Thread(target=write, args=(who,), daemon=True) for who in range(4)]
for thread in threads: thread.start()
for child in range(10):
    asyncio.run(leave(child))
    pid = os.fork()
    if pid == 0:
        store.append("s", [{"role": "user", "content": f"child/{child}"}])
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
ends.set()
for thread in threads: thread.join()
for n in range(10): store.append("s", [{"role": "user", "content": f"left/{n}"}], key=str(n))
contents = [message["content"] for message in store.messages("s")]
assert len(contents) == len(set(contents)) == sum(counts) + 20, (len(contents), counts)
print("ok")
"""
    ended = script(program, sqlite_url)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "ok\n", "")


def test_a_store_in_memory_is_copied_by_a_fork() -> None:
    program = """
import os, warnings, chat_memory
warnings.simplefilter("ignore", DeprecationWarning)
store = chat_memory.open("memory:")
store.append("s", [{"role": "user", "content": "before"}])
pid = os.fork()
store.append("s", [{"role": "user", "content": "child" if pid == 0 else "parent"}])
if pid: os.waitpid(pid, 0)
print([message["content"] for message in store.messages("s")], flush=True)
"""
    ended = script(program)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "['before', 'child']\n['before', 'parent']\n", "")


def test_a_fork_that_python_does_not_know_of_gets_a_clear_error(sqlite_url: str) -> None:
    program = """
import ctypes, os, sys, chat_memory
store = chat_memory.open(sys.argv[1])
table = chat_memory.open(sys.argv[2])
store.append("s", [{"role": "user", "content": "x"}])
table.append("s", [{"role": "user", "content": "x"}])
pid = ctypes.PyDLL(None).fork()
if pid == 0:
    try:
        store.load("s")
    except chat_memory.UnsupportedError as error:
        print(error)
    print(len(table.load("s").messages), flush=True)
    os._exit(0)
os.waitpid(pid, 0)
print(len(store.load("s").messages))
"""
    ended = script(program, sqlite_url, turns_url())
    says = "the store was open when this process was forked, without os.fork: open it in the child only, or close it before the fork"
    assert (ended.returncode, ended.stdout.splitlines(), ended.stderr) == (0, [says, "1", "1"], "")


def test_a_process_that_ends_loses_nothing_acknowledged(durable_url: str) -> None:
    program = """
import os, sys, chat_memory
store = chat_memory.open(sys.argv[1])
for n in range(20):
    store.append("s", [{"role": "user", "content": str(n)}])
if sys.argv[2] == "abrupt": os._exit(7)
"""
    for how, code in (("orderly", 0), ("abrupt", 7)):
        ended = script(program, durable_url, how)
        assert (ended.returncode, ended.stderr) == (code, "")
    contents = [message["content"] for message in chat_memory.open(durable_url).messages("s")]
    assert contents == [str(n) for n in range(20)] * 2


def test_an_exit_leaves_one_file(tmp_path: Path) -> None:
    program = """
import sys, chat_memory
store = chat_memory.open(sys.argv[1])
store.append("s", [{"role": "user", "content": "x"}])
"""
    ended = script(program, f"sqlite:{tmp_path}/chat.db")
    assert (ended.returncode, ended.stderr, os.listdir(tmp_path)) == (0, "", ["chat.db"])


def test_daemon_threads_with_calls_under_way_do_not_hold_up_the_exit(durable_url: str) -> None:
    program = """
import sys, threading, time, chat_memory
store = chat_memory.open(sys.argv[1])
def write():
    while True:
        store.append("s", [{"role": "user", "content": "x"}])
for _ in range(4): threading.Thread(target=write, daemon=True).start()
store.append("s", [{"role": "user", "content": "x"}])
print("end")
"""
    for _ in range(3):
        ended = script(program, durable_url)
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "end\n", "")


def test_a_finalizer_that_runs_late_may_use_a_store(sqlite_url: str) -> None:
    program = """
import atexit
def last():
    store.append("s", [{"role": "user", "content": "last"}])
    print(len(store.load("s").messages))
atexit.register(last)
import sys, chat_memory
store = chat_memory.open(sys.argv[1])
store.append("s", [{"role": "user", "content": "first"}])
"""
    ended = script(program, sqlite_url)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "2\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent otherwise there")
def test_ctrl_c_ends_a_blocking_call() -> None:
    # Nothing answers there.
    program = """
import signal, socket, sys, chat_memory
# Also where the tests were started with Ctrl-C ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
listener = socket.create_server(("127.0.0.1", 0))
port = listener.getsockname()[1]
store = chat_memory.open(f"dynamodb://chats?region=us-east-1&endpoint=http://127.0.0.1:{port}&request_timeout=20s&deadline=60s")
print("waiting", flush=True)
try:
    store.load("s")
except KeyboardInterrupt:
    print("interrupted")
"""
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "waiting\n"
    time.sleep(0.3)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=15)
    assert (child.returncode, out, err) == (0, "interrupted\n", "")
