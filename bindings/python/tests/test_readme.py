"""The programs in the README and on the page about LangGraph do what they say."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import urllib.error
from pathlib import Path

import pytest
from conftest import create_table, dynamodb, endpoint, script

PACKAGE = Path(__file__).parents[1]
PAGES = "".join(page.read_text(encoding="utf-8") for page in (PACKAGE / "README.md", PACKAGE.parents[1] / "docs" / "langgraph.md"))
PROGRAMS: list[str] = re.findall(r"^```python\n(.*?)^```", PAGES, re.MULTILINE | re.DOTALL)
if not importlib.util.find_spec("agents"):
    # The frameworks but LangChain are installed for the newest Python only (frameworks/requirements.txt).
    PROGRAMS = [program for program in PROGRAMS if not re.search(r"chat_memory\.(?!langchain)\w+ import", program)]


@pytest.fixture(scope="module", autouse=True)
def tables() -> None:
    """The tables that it names, emptied."""
    for name, keys in (("chats", ("session_id", "sk")), ("langchain-chats", ("SessionId",))):
        # The run on another Python may have left it.
        with contextlib.suppress(urllib.error.HTTPError):
            dynamodb("DeleteTable", TableName=name)
        create_table(name, *keys)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all programs, as someone has who tries one after the other."""
    return tmp_path_factory.mktemp("readme")


@pytest.mark.parametrize("program", PROGRAMS, ids=range(len(PROGRAMS)))
def test_a_program(program: str, folder: Path) -> None:
    expected = re.findall(r"^# prints: (.*)$", program, re.MULTILINE)
    assert expected, "a program shows what it does"
    ended = script(program, cwd=folder, env={**os.environ, "AWS_ENDPOINT_URL_DYNAMODB": endpoint()})
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == expected


def test_there_are_programs() -> None:
    assert len(PROGRAMS) >= 6
