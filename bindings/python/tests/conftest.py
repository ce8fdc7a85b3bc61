"""What the tests share: stores, tables on DynamoDB Local, programs in processes of their own."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

if TYPE_CHECKING:
    # LangGraph is installed for the newest Python only.
    from chat_memory.langgraph import ChatMemorySaver

pytest.register_assert_rewrite("graphs")

REGION = "us-east-1"

os.environ.setdefault("AWS_ACCESS_KEY_ID", "test")
os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "test")
os.environ.setdefault("AWS_REGION", REGION)
os.environ.setdefault("AWS_DEFAULT_REGION", os.environ["AWS_REGION"])

_numbers = itertools.count()


def needed(name: str) -> str:
    """A setting without which the tests fail instead of being skipped."""
    value = os.environ.get(name)
    assert value, f"{name} is not set; `cargo xtask test python` sets it and runs these tests"
    return value


def endpoint() -> str:
    return needed("DYNAMODB_ENDPOINT")


def dynamodb(operation: str, **body: Any) -> Any:
    """Calls DynamoDB Local, which checks no signatures."""
    headers = {
        "content-type": "application/x-amz-json-1.0",
        "x-amz-target": f"DynamoDB_20120810.{operation}",
        "authorization": f"AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/dynamodb/aws4_request, SignedHeaders=host, Signature=0",
    }
    request = urllib.request.Request(endpoint(), json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def create_table(name: str, *keys: str) -> str:
    dynamodb(
        "CreateTable",
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, ("HASH", "RANGE"))],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
    )
    return name


def new_table(*keys: str) -> str:
    return create_table(f"python-{os.getpid()}-{sys.version_info.minor}-{next(_numbers)}", *keys)


def turns_url(more: str = "", at: str | None = None) -> str:
    return f"dynamodb://{new_table('session_id', 'sk')}?region={REGION}&endpoint={quote(at or endpoint(), safe='')}{more}"


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:{tmp_path / 'chat.db'}"


@pytest.fixture(params=["memory", "sqlite", "dynamodb"])
def url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty store of each kind."""
    if request.param == "memory":
        return "memory:"
    return turns_url() if request.param == "dynamodb" else str(request.getfixturevalue("sqlite_url"))


@pytest.fixture(params=["sqlite", "dynamodb"])
def durable_url(request: pytest.FixtureRequest) -> str:
    return turns_url() if request.param == "dynamodb" else str(request.getfixturevalue("sqlite_url"))


@pytest.fixture
def saver(url: str) -> Iterator[ChatMemorySaver]:
    """A checkpointer on an empty store of each kind."""
    from chat_memory.langgraph import ChatMemorySaver

    with ChatMemorySaver.from_url(url) as saver:
        yield saver


@pytest.fixture
def fault_proxy() -> Iterator[Callable[..., str]]:
    """Starts proxies that lose requests and answers; each call returns its URL."""
    running: list[subprocess.Popen[str]] = []

    def start(*options: str) -> str:
        proxy = subprocess.Popen([needed("CHAT_MEMORY_FAULT_PROXY"), *options], stdout=subprocess.PIPE, text=True)
        running.append(proxy)
        assert proxy.stdout is not None
        return proxy.stdout.readline().strip()

    yield start
    for proxy in running:
        proxy.kill()
        proxy.wait()
        assert proxy.stdout is not None
        proxy.stdout.close()


def script(text: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Runs a Python program to its end."""
    return subprocess.run([sys.executable, "-c", text, *arguments], capture_output=True, text=True, timeout=60, **options)


def user(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": text, **more}


def assistant(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}
