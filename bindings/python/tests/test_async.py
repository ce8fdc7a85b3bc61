"""Event loops: many calls at a time, cancellation, loops that end."""

from __future__ import annotations

import asyncio
import threading

import pytest
from conftest import script, user

import chat_memory


def test_ten_thousand_appends_at_a_time(url: str) -> None:
    async def run() -> None:
        store = await chat_memory.aopen(url)
        number = 2_000 if url.startswith("dynamodb") else 10_000
        done = await asyncio.gather(*(store.append(f"s{n % 50}", [user(str(n))]) for n in range(number)))
        assert sum(appended.started for appended in done) == 50
        stored = [int(str(message["content"])) for s in range(50) for message in (await store.load(f"s{s}")).messages]
        assert sorted(stored) == list(range(number))

    asyncio.run(run())


def test_a_cancelled_append_runs_to_its_end(durable_url: str) -> None:
    async def run() -> None:
        store = await chat_memory.aopen(durable_url)
        await store.append("s", [user("first")])
        tasks = [asyncio.create_task(store.append("s", [user(str(n))], key=str(n))) for n in range(20)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(error, asyncio.CancelledError) for error in ended)
        # Each is stored once: by the cancelled append, or by this one.
        await asyncio.gather(*(store.append("s", [user(str(n))], key=str(n)) for n in range(20)))
        contents = [str(message["content"]) for message in (await store.load("s")).messages]
        assert sorted(contents) == sorted(["first", *map(str, range(20))])

    asyncio.run(run())


def test_the_event_loop_continues_during_a_call(durable_url: str) -> None:
    async def run() -> None:
        store = await chat_memory.aopen(durable_url)
        order: list[str] = []

        async def append() -> None:
            await store.append("s", [user("x")])
            order.append("append")

        async def other() -> None:
            order.append("other")

        await asyncio.gather(append(), other())
        assert order == ["other", "append"]

    asyncio.run(run())


def test_one_store_serves_many_loops_at_a_time(sqlite_url: str) -> None:
    store = asyncio.run(chat_memory.aopen(sqlite_url))

    def work(who: int) -> None:
        async def run() -> None:
            await asyncio.gather(*(store.append("s", [user(f"{who}/{n}")]) for n in range(50)))

        asyncio.run(run())

    threads = [threading.Thread(target=work, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(chat_memory.open(sqlite_url).messages("s"))) == 200


def test_an_exception_in_the_caller_disturbs_no_other_call(sqlite_url: str) -> None:
    async def run() -> None:
        store = await chat_memory.aopen(sqlite_url)

        async def fail(n: int) -> None:
            await store.append("s", [user(str(n))])
            raise RuntimeError(str(n))

        ended = await asyncio.gather(*(fail(n) for n in range(50)), return_exceptions=True)
        assert [str(error) for error in ended] == [str(n) for n in range(50)]
        with pytest.raises(chat_memory.InvalidError):
            await store.append("s", [])
        assert len((await store.load("s")).messages) == 50
        async with store:
            pass
        with pytest.raises(chat_memory.InvalidError, match="closed"):
            await store.load("s")

    asyncio.run(run())


def test_a_loop_that_ends_with_calls_under_way_ends_quietly(durable_url: str) -> None:
    program = """
import asyncio, sys, chat_memory
async def main():
    store = await chat_memory.aopen(sys.argv[1])
    for n in range(50):
        asyncio.create_task(store.append("s", [{"role": "user", "content": str(n)}]))
    await asyncio.sleep(0)
asyncio.run(main())
asyncio.run(main())
"""
    ended = script(program, durable_url)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
