"""The programs in the README do what they say."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from conftest import create_table, dynamodb, endpoint, script

README = (Path(__file__).parents[1] / "README.md").read_text()
PROGRAMS: list[str] = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module", autouse=True)
def tables() -> None:
    """The tables that it names, emptied."""
    existing = dynamodb("ListTables")["TableNames"]
    for name, keys in (("chats", ("session_id", "sk")), ("langchain-chats", ("SessionId",))):
        if name in existing:
            dynamodb("DeleteTable", TableName=name)
        create_table(name, *keys)


@pytest.mark.parametrize("program", PROGRAMS, ids=range(len(PROGRAMS)))
def test_a_program(program: str, tmp_path: Path) -> None:
    expected = re.findall(r"^# prints: (.*)$", program, re.MULTILINE)
    assert expected, "a program shows what it does"
    ended = script(program, cwd=tmp_path, env={**os.environ, "AWS_ENDPOINT_URL_DYNAMODB": endpoint()})
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == expected


def test_there_are_programs() -> None:
    assert len(PROGRAMS) >= 6
