"""An agent of Strands Agents that remembers its conversation across processes: run it twice.

    python strands_agent.py sqlite:chat.db user-42
    python strands_agent.py "dynamodb://chats?region=eu-central-1" user-42 snapshots
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, AsyncIterable
from typing import Any

from strands import Agent
from strands.models import Model
from strands.session import SnapshotSessionManager
from strands.types.content import Messages
from strands.types.streaming import StreamEvent

from chat_memory.strands import ChatMemorySessionManager, ChatMemoryStorage


class CountingModel(Model):
    """Takes the place of a model, and says what it was shown. In its place, use `BedrockModel` or another one."""

    def update_config(self, **model_config: Any) -> None:
        pass

    def get_config(self) -> Any:
        return {}

    def structured_output(self, *args: Any, **kwargs: Any) -> AsyncGenerator[dict[str, Any], None]:
        raise NotImplementedError

    async def stream(self, messages: Messages, *args: Any, **kwargs: Any) -> AsyncIterable[StreamEvent]:
        first = messages[0]["content"][0]["text"]
        yield {"messageStart": {"role": "assistant"}}
        yield {"contentBlockStart": {"start": {}}}
        yield {"contentBlockDelta": {"delta": {"text": f"You began with {first!r}; I see {len(messages)} messages."}}}
        yield {"contentBlockStop": {}}
        yield {"messageStop": {"stopReason": "end_turn"}}


def main(url: str, session_id: str, how: str = "messages") -> None:
    manager: ChatMemorySessionManager | SnapshotSessionManager
    if how == "snapshots":
        manager = SnapshotSessionManager(session_id, storage=ChatMemoryStorage(url))
    else:
        manager = ChatMemorySessionManager(session_id, url)
    agent = Agent(model=CountingModel(), session_manager=manager, callback_handler=None)
    visits = (agent.state.get("visits") or 0) + 1
    agent.state.set("visits", visits)
    answer = agent(f"This is visit {visits}.")
    print(f"visit {visits}: {str(answer).strip()}")


if __name__ == "__main__":
    main(*sys.argv[1:])
