#!/usr/bin/env python3
"""An agent of the OpenAI Agents SDK that remembers: run it twice.

    python openai_agent.py sqlite:agent.db "What is the weather in Lisbon?"
    python openai_agent.py sqlite:agent.db "And in Porto?"

Each run is a process of its own. `FakeModel` takes the place of a model, so the example needs no network.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

from agents import Agent, Model, ModelResponse, Runner, Usage, function_tool, set_tracing_disabled
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

from chat_memory.openai_agents import ChatMemorySession


@function_tool
def weather(question: str) -> str:
    """Returns the weather at the place that a question is about."""
    return f"21 °C {question.rstrip('?').rpartition(' ')[0].rpartition(' ')[2]} {question.rstrip('?').rpartition(' ')[2]}"


class FakeModel(Model):
    """Calls the tool for each question, then says what it returned, and what was asked before."""

    async def get_response(self, system_instructions: str | None, input: Any, *args: Any, **settings: Any) -> ModelResponse:
        questions = [item["content"] for item in input if item.get("role") == "user"]
        last = input[-1]
        if last.get("type") == "function_call_output":
            before = f" You asked before: {' '.join(questions[:-1])}" if questions[1:] else ""
            text = ResponseOutputText(type="output_text", text=f"It is {last['output']}.{before}", annotations=[])
            answer = ResponseOutputMessage(id=f"msg_{len(input)}", type="message", role="assistant", status="completed", content=[text])
            return ModelResponse(output=[answer], usage=Usage(), response_id=None)
        arguments = json.dumps({"question": questions[-1]})
        call = ResponseFunctionToolCall(type="function_call", name="weather", call_id=f"call_{len(input)}", arguments=arguments)
        return ModelResponse(output=[call], usage=Usage(), response_id=None)

    def stream_response(self, *args: Any, **settings: Any) -> AsyncIterator[Any]:
        raise NotImplementedError


async def main(url: str, question: str) -> None:
    set_tracing_disabled(True)
    session = ChatMemorySession("user-42", url)
    result = await Runner.run(Agent("Assistant", model=FakeModel(), tools=[weather]), question, session=session)
    print(result.final_output)
    print(f"{len(await session.get_items())} items are stored")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
