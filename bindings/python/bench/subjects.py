"""The chat memories that `cargo xtask bench python` compares: other packages' and ours, through the same interfaces."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chat_memory.testing import Place, Said, Subject
from chat_memory.testing.frameworks import (
    AdkSessionService,
    ClaudeSessionStore,
    Functions,
    LangChainHistory,
    OpenAIAgentsSession,
    PydanticAIStore,
    StrandsAgent,
)

REGION = "us-east-1"

os.environ.setdefault("AWS_ACCESS_KEY_ID", "test")
os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "test")
os.environ.setdefault("AWS_REGION", REGION)
os.environ.setdefault("AWS_DEFAULT_REGION", os.environ["AWS_REGION"])


def _url(place: Place) -> str:
    return f"dynamodb://{place.table}?region={REGION}&endpoint={place.endpoint}"


def _client(place: Place) -> Any:
    import boto3

    return boto3.client("dynamodb", endpoint_url=place.endpoint)


def _with_table(place: Place, *keys: str) -> Callable[[], None]:
    def create() -> None:
        _client(place).create_table(
            TableName=place.table,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, ("HASH", "RANGE"))],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
        )

    return create


def _ours(place: Place) -> Callable[[], None]:
    return _with_table(place, "session_id", "sk")


# LangChain, and LlamaIndex's chat store, which has the same table


def langchain_community(place: Place) -> Subject:
    from langchain_community.chat_message_histories import DynamoDBChatMessageHistory

    def history(session: str) -> Any:
        return DynamoDBChatMessageHistory(place.table, session, endpoint_url=place.endpoint)

    return LangChainHistory(history, _with_table(place, "SessionId"))


def ours_on_its_table(place: Place) -> Subject:
    from chat_memory.langchain import DynamoDBChatMessageHistory

    def history(session: str) -> Any:
        return DynamoDBChatMessageHistory(place.table, session, endpoint_url=place.endpoint)

    return LangChainHistory(history, _with_table(place, "SessionId"))


def ours_for_langchain(place: Place) -> Subject:
    from chat_memory.langchain import StoreChatMessageHistory

    return LangChainHistory(lambda session: StoreChatMessageHistory(_url(place), session), _ours(place))


def llama_index(place: Place) -> Subject:
    from llama_index.core.base.llms.types import ChatMessage
    from llama_index.storage.chat_store.dynamodb import DynamoDBChatStore

    resource = {"endpoint_url": place.endpoint}
    store = DynamoDBChatStore(place.table, region_name=REGION, resource_kwargs=resource)

    async def add(session: str, question: str, answer: str, arguments: Any) -> None:
        call = {"id": "call_1", "type": "function", "function": {"name": "tool", "arguments": arguments}}
        more = {} if arguments is None else {"tool_calls": [call]}
        store.add_message(session, ChatMessage(role="user", content=question))
        store.add_message(session, ChatMessage(role="assistant", content=answer, additional_kwargs=more))

    async def read(session: str) -> list[Said]:
        found: list[Said] = []
        for message in store.get_messages(session):
            calls = message.additional_kwargs.get("tool_calls")
            found.append(Said(message.content or "", calls[0]["function"]["arguments"] if calls else None))
        return found

    return Functions(add, read, _with_table(place, "SessionId"))


# OpenAI Agents SDK


def openai_agents_sqlite(place: Place) -> Subject:
    from agents import SQLiteSession

    return OpenAIAgentsSession(lambda session: SQLiteSession(session, Path(place.folder) / "sessions.db"))


def openai_agents_sqlalchemy(place: Place) -> Subject:
    from agents.extensions.memory import SQLAlchemySession

    url = f"sqlite+aiosqlite:///{place.folder}/sqlalchemy.db"
    return OpenAIAgentsSession(lambda session: SQLAlchemySession.from_url(session, url=url, create_tables=True))


def ours_for_openai_agents(place: Place) -> Subject:
    from chat_memory.openai_agents import ChatMemorySession

    url = _url(place) if place.endpoint else f"sqlite:{place.folder}/chat.db"
    return OpenAIAgentsSession(lambda session: ChatMemorySession(session, url), _ours(place) if place.endpoint else None)


# Google's ADK


def adk_dynamodb_session(place: Place) -> Subject:
    os.environ["ADK_DYNAMODB_SESSION_TABLE_NAME"] = place.table
    from adk_dynamodb_session import ADKEntityModel, AppStateModel, DynamoDBSessionService, EventModel, SessionModel, UserStateModel

    for model in (ADKEntityModel, AppStateModel, EventModel, SessionModel, UserStateModel):
        # Its classes keep their first connection.
        model._connection = None
        model.Meta.host = place.endpoint  # type: ignore[attr-defined]
        model.Meta.region = REGION  # type: ignore[attr-defined]
    return AdkSessionService(DynamoDBSessionService(), _with_table(place, "PK", "SK"))


def adk_database(place: Place) -> Subject:
    from google.adk.sessions import DatabaseSessionService

    return AdkSessionService(DatabaseSessionService(f"sqlite+aiosqlite:///{place.folder}/adk.db"))


def ours_for_adk(place: Place) -> Subject:
    from chat_memory.adk import ChatMemorySessionService

    url = _url(place) if place.endpoint else f"sqlite:{place.folder}/chat.db"
    return AdkSessionService(ChatMemorySessionService(url), _ours(place) if place.endpoint else None)


# Strands Agents


def strands_dynamodb_storage(place: Place) -> Subject:
    from strands.session import SnapshotSessionManager
    from strands_dynamodb_storage import DynamoDBStorage

    def manager(session: str) -> Any:
        return SnapshotSessionManager(session, storage=DynamoDBStorage(place.table, client=_client(place)))

    return StrandsAgent(manager, _with_table(place, "pk", "sk"))


def ours_for_strands_snapshots(place: Place) -> Subject:
    from strands.session import SnapshotSessionManager

    from chat_memory.strands import ChatMemoryStorage

    return StrandsAgent(lambda session: SnapshotSessionManager(session, storage=ChatMemoryStorage(_url(place))), _ours(place))


def ours_for_strands(place: Place) -> Subject:
    from chat_memory.strands import ChatMemorySessionManager

    return StrandsAgent(lambda session: ChatMemorySessionManager(session, _url(place)), _ours(place))


# Frameworks that come without a store for DynamoDB


def ours_for_pydantic_ai(place: Place) -> Subject:
    from chat_memory.pydantic_ai import ChatMemoryConversationStore

    return PydanticAIStore(ChatMemoryConversationStore(_url(place)), _ours(place))


def ours_for_claude(place: Place) -> Subject:
    from chat_memory.claude_agent_sdk import ChatMemorySessionStore

    return ClaudeSessionStore(ChatMemorySessionStore(_url(place)), _ours(place))
