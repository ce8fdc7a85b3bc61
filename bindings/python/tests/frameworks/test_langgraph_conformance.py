"""LangGraph's own suite for checkpointers: all of its tests pass in every store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.report import ProgressCallbacks

from chat_memory.langgraph import ChatMemorySaver

TESTS = 81


def test_conformance(url: str) -> None:
    @checkpointer_test(name="ChatMemorySaver")
    async def saver() -> AsyncGenerator[BaseCheckpointSaver[str], None]:
        async with ChatMemorySaver.from_url(url) as saver:
            yield saver

    failures: list[str] = []

    def note(capability: str, test: str, passed: bool, error: str | None) -> None:
        if not passed:
            failures.append(f"{capability} {test}: {error}")

    report = asyncio.run(validate(saver, progress=ProgressCallbacks(on_test_result=note)))
    assert not failures, "\n".join(failures)
    results = report.results.values()
    assert all(result.passed for result in results)
    assert (sum(result.tests_passed for result in results), len(results)) == (TESTS, 8)
