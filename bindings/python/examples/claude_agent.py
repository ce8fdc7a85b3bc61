#!/usr/bin/env python3
"""An agent of the Claude Agent SDK that remembers: run it twice.

    python claude_agent.py sqlite:agent.db "Where should we go in May?"
    python claude_agent.py sqlite:agent.db "And to eat?"

Each run is a process of its own. It continues the newest session of the current directory, which it reads from the store.
The program `claude` is replaced by this file (`fake_claude` below), so the example needs no network. Leave out `cli_path` for the real one.
"""

import asyncio
import json
import os
import re
import sys
import uuid
from datetime import datetime, timezone
from pathlib import Path
from typing import Any


async def main(url: str, question: str) -> None:
    from claude_agent_sdk import ClaudeAgentOptions, ResultMessage, list_sessions_from_store, query

    from chat_memory.claude_agent_sdk import ChatMemorySessionStore

    store = ChatMemorySessionStore(url)
    options = ClaudeAgentOptions(session_store=store, continue_conversation=True, cli_path=__file__)
    async for message in query(prompt=question, options=options):
        if isinstance(message, ResultMessage):
            print(message.result)
    for session in await list_sessions_from_store(store):
        print(f"session: {session.summary}")


def fake_claude(arguments: list[str]) -> None:
    """Speaks as much of the protocol of the program `claude` as the example needs: the lines of a transcript go to standard output."""

    def say(**line: Any) -> None:
        print(json.dumps(line), flush=True)

    projects = Path(os.environ.get("CLAUDE_CONFIG_DIR") or Path.home() / ".claude", "projects")
    earlier: list[dict[str, Any]] = []
    resumed = [argument.removeprefix("--resume=") for argument in arguments if argument.startswith("--resume=")]
    if resumed:
        # The SDK has written the session from the store to this file.
        [transcript] = projects.glob(f"*/{resumed[0]}.jsonl")
        earlier = [json.loads(line) for line in transcript.read_text().splitlines()]
    else:
        transcript = projects / re.sub("[^a-zA-Z0-9]", "-", os.path.realpath(".")) / f"{uuid.uuid4()}.jsonl"
    questions = [line["message"]["content"] for line in earlier if line["type"] == "user"]
    parent: str | None = earlier[-1]["uuid"] if earlier else None
    session = transcript.stem

    def written(kind: str, message: dict[str, Any]) -> dict[str, Any]:
        nonlocal parent
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"type": kind, "uuid": str(uuid.uuid4()), "parentUuid": parent, "sessionId": session, "timestamp": now, "message": message}
        parent = line["uuid"]
        return line

    for text in sys.stdin:
        line = json.loads(text)
        if line["type"] == "control_request":
            say(type="control_response", response={"subtype": "success", "request_id": line["request_id"], "response": {}})
        if line["type"] != "user":
            continue
        questions.append(line["message"]["content"])
        content = [{"type": "text", "text": f"You have asked {len(questions)}: {' '.join(questions)}"}]
        answer = {"role": "assistant", "model": "fake", "content": content}
        lines = [written("user", line["message"]), written("assistant", answer)]
        say(type="transcript_mirror", filePath=str(transcript), entries=lines)
        say(type="assistant", session_id=session, parent_tool_use_id=None, message=answer)
        result = {"subtype": "success", "is_error": False, "num_turns": 1, "duration_ms": 0, "duration_api_ms": 0}
        say(type="result", session_id=session, result=content[0]["text"], **result)


if __name__ == "__main__":
    if "--output-format" in sys.argv:
        fake_claude(sys.argv)
    else:
        asyncio.run(main(sys.argv[1], sys.argv[2]))
