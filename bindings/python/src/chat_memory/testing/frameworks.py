"""Subjects for the interfaces of frameworks: wrap your implementation in one, and examine it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from ._subject import Said, Subject

if TYPE_CHECKING:
    from agents.memory import Session
    from claude_agent_sdk import SessionStore
    from google.adk.sessions import BaseSessionService
    from langchain_core.chat_history import BaseChatMessageHistory
    from pydantic_ai.conversation_store import ConversationStore
    from strands.session import SessionManager

_STALE_ATTEMPTS = 200
"""How often an event is tried while other writers come first: more than all of their events."""

Prepare = Callable[[], None]
"""Creates what a memory needs, such as its table."""


class _Prepared(Subject):
    def __init__(self, prepare: Prepare | None) -> None:
        self._prepare = prepare

    async def prepare(self) -> None:
        if self._prepare:
            self._prepare()


class LangChainHistory(_Prepared):
    """A `BaseChatMessageHistory` of LangChain."""

    def __init__(self, history: Callable[[str], BaseChatMessageHistory], prepare: Prepare | None = None) -> None:
        """Takes a function that opens the history of a session."""
        super().__init__(prepare)
        self._history = history

    async def add(self, session: str, question: str, answer: str, arguments: Any = None) -> None:
        from langchain_core.messages import AIMessage, HumanMessage

        calls = [] if arguments is None else [{"name": "tool", "args": arguments, "id": "call_1"}]
        self._history(session).add_messages([HumanMessage(question), AIMessage(answer, tool_calls=calls)])

    async def read(self, session: str) -> list[Said]:
        messages = self._history(session).messages
        calls = [getattr(message, "tool_calls", None) for message in messages]
        return [Said(str(message.content), call[0]["args"] if call else None) for message, call in zip(messages, calls)]


class OpenAIAgentsSession(_Prepared):
    """A `Session` of the OpenAI Agents SDK."""

    def __init__(self, session: Callable[[str], Session], prepare: Prepare | None = None) -> None:
        """Takes a function that opens a session by its id. A session is opened once in a process."""
        super().__init__(prepare)
        self._open = session
        self._opened: dict[str, Session] = {}

    def _session(self, session: str) -> Session:
        if session not in self._opened:
            self._opened[session] = self._open(session)
        return self._opened[session]

    async def add(self, session: str, question: str, answer: str, arguments: Any = None) -> None:
        content: list[Any] = [{"type": "output_text", "text": answer, "annotations": []}]
        items: list[Any] = [
            {"role": "user", "content": question},
            {"id": f"msg_{uuid4().hex}", "type": "message", "role": "assistant", "status": "completed", "content": content},
        ]
        if arguments is not None:
            items[1] = {"type": "function_call", "call_id": "call_1", "name": "tool", "arguments": json.dumps(arguments)}
        await self._session(session).add_items(items)

    async def read(self, session: str) -> list[Said]:
        items: list[Any] = await self._session(session).get_items()
        return [
            Said("", json.loads(item["arguments"]))
            if item.get("type") == "function_call"
            else Said(item["content"] if isinstance(item["content"], str) else item["content"][0]["text"])
            for item in items
        ]


class AdkSessionService(_Prepared):
    """A `BaseSessionService` of Google's ADK. A writer reads the session before each event, and again if the session was modified since."""

    def __init__(self, service: BaseSessionService, prepare: Prepare | None = None) -> None:
        super().__init__(prepare)
        self._service = service

    async def _session(self, session: str) -> Any:
        found = await self._service.get_session(app_name="app", user_id="user", session_id=session)
        if found is None:
            return await self._service.create_session(app_name="app", user_id="user", session_id=session)
        return found

    async def add(self, session: str, question: str, answer: str, arguments: Any = None) -> None:
        from google.adk.events import Event
        from google.genai import types

        parts = [types.Part(text=answer)]
        if arguments is not None:
            parts.append(types.Part(function_call=types.FunctionCall(name="tool", id="call_1", args=arguments)))
        asked = types.Content(role="user", parts=[types.Part(text=question)])
        await self._append(session, Event(author="user", invocation_id="i", content=asked))
        await self._append(session, Event(author="agent", invocation_id="i", content=types.Content(role="model", parts=parts)))

    async def _append(self, session: str, event: Any) -> None:
        from google.adk.errors import StaleSessionError

        for attempt in range(_STALE_ATTEMPTS):
            opened = await self._session(session)
            try:
                await self._service.append_event(opened, event)
                return
            except StaleSessionError:
                if attempt + 1 == _STALE_ATTEMPTS:
                    raise

    async def read(self, session: str) -> list[Said]:
        found: list[Said] = []
        for event in (await self._session(session)).events:
            parts = event.content.parts
            call = parts[1].function_call.args if len(parts) > 1 else None
            found.append(Said(parts[0].text or "", call))
        return found


class PydanticAIStore(_Prepared):
    """A `ConversationStore` of Pydantic AI. A writer loads the conversation before each turn, and again after a conflict."""

    def __init__(self, store: ConversationStore, prepare: Prepare | None = None) -> None:
        super().__init__(prepare)
        self._store = store

    async def add(self, session: str, question: str, answer: str, arguments: Any = None) -> None:
        from pydantic_ai.conversation import Conversation
        from pydantic_ai.conversation_store import ConversationConflict
        from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, ToolCallPart, UserPromptPart

        parts: list[Any] = [TextPart(answer)]
        if arguments is not None:
            parts.append(ToolCallPart("tool", arguments, tool_call_id="call_1"))
        turn: list[ModelMessage] = [ModelRequest([UserPromptPart(question)]), ModelResponse(parts)]
        while True:
            conversation = await self._store.load(session) or Conversation(conversation_id=session)
            conversation.messages = [*conversation.messages, *turn]
            try:
                await self._store.save(conversation)
            except ConversationConflict:
                continue
            return

    async def read(self, session: str) -> list[Said]:
        conversation = await self._store.load(session)
        found: list[Said] = []
        for message in conversation.messages if conversation else []:
            parts: list[Any] = list(message.parts)
            found.append(Said(parts[0].content, parts[1].args if len(parts) > 1 else None))
        return found


class ClaudeSessionStore(_Prepared):
    """A `SessionStore` of the Claude Agent SDK."""

    def __init__(self, store: SessionStore, prepare: Prepare | None = None) -> None:
        super().__init__(prepare)
        self._store = store

    async def add(self, session: str, question: str, answer: str, arguments: Any = None) -> None:
        content: list[Any] = [{"type": "text", "text": answer}]
        if arguments is not None:
            content.append({"type": "tool_use", "id": "call_1", "name": "tool", "input": arguments})
        # As the SDK does, a repeated turn has the same uuids.
        lines: list[Any] = [
            {"type": "user", "uuid": f"q {question}", "message": {"role": "user", "content": question}},
            {"type": "assistant", "uuid": f"a {question}", "message": {"role": "assistant", "content": content}},
        ]
        await self._store.append({"project_key": "project", "session_id": session}, lines)

    async def read(self, session: str) -> list[Said]:
        found: list[Said] = []
        for line in await self._store.load({"project_key": "project", "session_id": session}) or []:
            written: Any = line
            content: str | list[Any] = written["message"]["content"]
            if isinstance(content, str):
                found.append(Said(content))
            else:
                found.append(Said(content[0]["text"], content[1]["input"] if len(content) > 1 else None))
        return found


class StrandsAgent(_Prepared):
    """A session manager of Strands Agents. A real agent runs with a model that answers what it was told to."""

    def __init__(self, manager: Callable[[str], SessionManager], prepare: Prepare | None = None) -> None:
        """Takes a function that opens the session manager of a session. An agent is made once for each session and process."""
        super().__init__(prepare)
        self._manager, self._agents = manager, dict[str, Any]()

    def _agent(self, session: str) -> Any:
        from strands import Agent
        from strands.agent.conversation_manager import NullConversationManager
        from strands.tools.tools import PythonAgentTool

        def done(call: Any, **_: Any) -> Any:
            return {"toolUseId": call["toolUseId"], "status": "success", "content": [{"text": "done"}]}

        if session not in self._agents:
            tool = PythonAgentTool("tool", {"name": "tool", "description": "Does nothing.", "inputSchema": {"json": {"type": "object"}}}, done)
            self._agents[session] = Agent(
                model=_canned_model(),
                tools=[tool],
                session_manager=self._manager(session),
                # The default one forgets all but the newest 40 messages.
                conversation_manager=NullConversationManager(),
                callback_handler=None,
            )
        return self._agents[session]

    async def add(self, session: str, question: str, answer: str, arguments: Any = None) -> None:
        agent = self._agent(session)
        agent.model.answer, agent.model.arguments = answer, arguments
        try:
            await agent.invoke_async(question)
        except BaseException:
            # The agent has the turn that the store may not have: a program would start again from what is stored.
            del self._agents[session]
            raise

    async def read(self, session: str) -> list[Said]:
        found: list[Said] = []
        self._agents.pop(session, None)
        for message in self._agent(session).messages:
            texts = [block["text"] for block in message["content"] if "text" in block]
            calls = [block["toolUse"]["input"] for block in message["content"] if "toolUse" in block]
            found.append(Said(texts[0] if texts else "", calls[0] if calls else None))
        return found


def _canned_model() -> Any:
    from strands.models import Model

    class Canned(Model):
        answer, arguments = "", None

        def update_config(self, **model_config: Any) -> None:
            pass

        def get_config(self) -> Any:
            return {}

        def structured_output(self, *args: Any, **kwargs: Any) -> Any:
            raise NotImplementedError

        async def stream(self, messages: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            arguments, self.arguments = self.arguments, None
            yield {"messageStart": {"role": "assistant"}}
            yield {"contentBlockStart": {"start": {}}}
            yield {"contentBlockDelta": {"delta": {"text": self.answer}}}
            yield {"contentBlockStop": {}}
            if arguments is not None:
                yield {"contentBlockStart": {"start": {"toolUse": {"toolUseId": "call_1", "name": "tool"}}}}
                yield {"contentBlockDelta": {"delta": {"toolUse": {"input": json.dumps(arguments)}}}}
                yield {"contentBlockStop": {}}
            yield {"messageStop": {"stopReason": "end_turn" if arguments is None else "tool_use"}}

    return Canned()


class Functions(_Prepared):
    """Any other memory: a function that adds a turn, and one that reads a session."""

    def __init__(
        self,
        add: Callable[[str, str, str, Any], Awaitable[None]],
        read: Callable[[str], Awaitable[list[Said]]],
        prepare: Prepare | None = None,
    ) -> None:
        super().__init__(prepare)
        self._add, self._read = add, read

    async def add(self, session: str, question: str, answer: str, arguments: Any = None) -> None:
        await self._add(session, question, answer, arguments)

    async def read(self, session: str) -> list[Said]:
        return await self._read(session)
