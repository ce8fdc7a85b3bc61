"""A user's file, which mypy --strict and pyright must accept. It is not run."""

from google.adk.agents import LlmAgent
from google.adk.events.event import Event
from google.adk.runners import Runner
from google.adk.sessions import BaseSessionService, Session
from google.adk.sessions.base_session_service import GetSessionConfig
from typing_extensions import assert_type

import chat_memory
from chat_memory.adk import ChatMemorySessionService

services: list[BaseSessionService] = [ChatMemorySessionService("sqlite:chat.db"), ChatMemorySessionService(chat_memory.open("memory:"))]
runner = Runner(app_name="weather", agent=LlmAgent(name="forecaster"), session_service=services[0])


async def main() -> None:
    service = ChatMemorySessionService(await chat_memory.aopen("dynamodb://chats?region=eu-central-1"))
    session = await service.create_session(app_name="weather", user_id="ada", state={"user:name": "Ada"})
    assert_type(session, Session)
    found = await service.get_session(
        app_name="weather", user_id="ada", session_id=session.id, config=GetSessionConfig(num_recent_events=20)
    )
    assert_type(found, Session | None)
    if found is not None:
        assert_type(await service.append_event(found, Event(author="user")), Event)
    for one in (await service.list_sessions(app_name="weather")).sessions:
        await service.delete_session(app_name=one.app_name, user_id=one.user_id, session_id=one.id)
    print(await service.get_user_state(app_name="weather", user_id="ada"))
