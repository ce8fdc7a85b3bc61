"""An agent of Google's ADK with a tool, whose session outlives the program. Run it twice on the same store:

    python examples/adk.py sqlite:chat.db "How is the weather in Paris?"

The model is a fake, so that it runs anywhere; replace it with the name of a real one, such as `model="gemini-flash-latest"`.
The example of the Rust crate (integrations/adk/examples/adk_agent.rs) continues the same session.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator

from google.adk.agents import LlmAgent
from google.adk.models import BaseLlm
from google.adk.models.llm_request import LlmRequest
from google.adk.models.llm_response import LlmResponse
from google.adk.runners import Runner
from google.genai import types

from chat_memory.adk import ChatMemorySessionService


class FakeModel(BaseLlm):
    """Calls the tool once, then answers with its result and the number of questions that it saw."""

    async def generate_content_async(self, llm_request: LlmRequest, stream: bool = False) -> AsyncGenerator[LlmResponse, None]:
        parts = [part for content in llm_request.contents for part in content.parts or []]
        result = parts[-1].function_response
        if result is None:
            part = types.Part.from_function_call(name="weather", args={"city": "Paris"})
        else:
            questions = sum(1 for part in parts if part.text and part.text.endswith("?"))
            part = types.Part(text=f"It is {(result.response or {})['result']} (question {questions})")
        yield LlmResponse(content=types.Content(role="model", parts=[part]))


def weather(city: str) -> str:
    """Returns the weather in a city."""
    return f"21 °C in {city}"


async def main(store: str, question: str) -> None:
    app, user, session = "weather", "user-42", "session-1"
    sessions = ChatMemorySessionService(store)
    if await sessions.get_session(app_name=app, user_id=user, session_id=session) is None:
        await sessions.create_session(app_name=app, user_id=user, session_id=session)
    agent = LlmAgent(name="forecaster", model=FakeModel(model="fake"), tools=[weather])
    runner = Runner(app_name=app, agent=agent, session_service=sessions)
    message = types.Content(role="user", parts=[types.Part(text=question)])
    async for event in runner.run_async(user_id=user, session_id=session, new_message=message):
        if event.is_final_response() and event.content and event.content.parts:
            print(event.content.parts[0].text)


asyncio.run(main(*sys.argv[1:]))
