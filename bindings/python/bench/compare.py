"""Examines other packages' chat memories and ours in one run, and prints the table for docs/benchmarks.md. `cargo xtask bench python` runs it."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version

import bare
from chat_memory.testing import Report, examine, table

ON_DYNAMODB = [
    ("langchain-community", "langchain_community"),
    ("ours, on its table", "ours_on_its_table"),
    ("ours, `chat_memory.langchain`", "ours_for_langchain"),
    ("llama-index", "llama_index"),
    ("adk-dynamodb-session", "adk_dynamodb_session"),
    ("ours, `chat_memory.adk`", "ours_for_adk"),
    ("strands-dynamodb-storage", "strands_dynamodb_storage"),
    ("ours, `ChatMemoryStorage`", "ours_for_strands_snapshots"),
    ("ours, `ChatMemorySessionManager`", "ours_for_strands"),
    ("ours, `chat_memory.openai_agents`", "ours_for_openai_agents"),
    ("ours, `chat_memory.pydantic_ai`", "ours_for_pydantic_ai"),
    ("ours, `chat_memory.claude_agent_sdk`", "ours_for_claude"),
]

IN_A_FILE = [
    ("openai-agents, `SQLiteSession`", "openai_agents_sqlite"),
    ("openai-agents, `SQLAlchemySession`", "openai_agents_sqlalchemy"),
    ("ours, `chat_memory.openai_agents`", "ours_for_openai_agents"),
    ("google-adk, `DatabaseSessionService`", "adk_database"),
    ("ours, `chat_memory.adk`", "ours_for_adk"),
]

PACKAGES = [
    "langchain-community",
    "llama-index-storage-chat-store-dynamodb",
    "adk-dynamodb-session",
    "strands-dynamodb-storage",
    "strands-agents",
    "openai-agents",
    "google-adk",
    "pydantic-ai-slim",
    "claude-agent-sdk",
]


def examined(subjects: list[tuple[str, str]], endpoint: str | None, turns: list[int]) -> str:
    reports: list[Report] = []
    for title, name in subjects:
        print(f"{title} …", file=sys.stderr, flush=True)
        reports.append(examine(f"subjects:{name}", endpoint=endpoint, turns=turns))
    return table(reports, [title for title, _ in subjects])


def main() -> None:
    smoke = "--smoke" in sys.argv
    turns = [2, 10] if smoke else [2, 100, 500]
    print("Time and CPU, ours divided by theirs (medians of 31 pairs of rounds of 40 calls, one connection, DynamoDB Local):\n")
    print(bare.table(smoke))
    print("\nOn DynamoDB Local. A cost is write units / read units / requests of one turn of 600 bytes.\n")
    print(examined(ON_DYNAMODB, os.environ["DYNAMODB_ENDPOINT"], turns))
    print("\nIn a SQLite file:\n")
    print(examined(IN_A_FILE, None, turns))
    print(f"\nVersions: {', '.join(f'{package} {version(package)}' for package in PACKAGES)}.")


if __name__ == "__main__":
    main()
