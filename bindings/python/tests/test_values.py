"""Values cross exactly, or are refused by their path."""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import math
import types
import uuid
from pathlib import Path
from typing import Any

import pytest
from conftest import user

import chat_memory
from chat_memory import InvalidError

ODD: dict[str, Any] = {
    "zero": -0.0,
    "one": 1.0,
    "integer": 1,
    "least": 5e-324,
    "most": 1.7976931348623157e308,
    "third": 1 / 3,
    "large": 1e300,
    "int64": -(2**63),
    "uint64": 2**64 - 1,
    "beyond a float": 2**53 + 1,
    "text": "\0 \U0001f980 e\u0301 \\u0041 \" \u2028",
    "empty": "",
    "none": None,
    "yes": True,
    "nested": [[], {}, [{"": [None]}]],
    "\U0001f980": "key",
}


def test_values_come_back_as_they_were(url: str) -> None:
    messages = [
        user("What is it?", odd=ODD),
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1.0}'}}]},
        {"role": "tool", "content": "", "tool_call_id": "c"},
        {"role": "assistant", "content": "x" * 100_000, "refusal": None},
    ]
    with chat_memory.open(url) as store:
        store.append("s", messages, metadata=ODD)
        [record] = store.load("s").records
        assert repr(record.messages) == repr(messages), "also types, and the sign of zero"
        assert repr(record.metadata) == repr(ODD)
        assert repr(store.recall("s").messages) == repr(messages)


class Color(str, enum.Enum):
    RED = "red"


def test_subclasses_tuples_and_mappings_are_stored_as_what_json_has_for_them() -> None:
    store = chat_memory.open("memory:")
    store.append("s", [user("x", value=[Color.RED, (1, 2), types.MappingProxyType({"a": 1})])])
    [message] = store.messages("s")
    assert message["value"] == ["red", [1, 2], {"a": 1}]


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (math.nan, "invalid value in messages[1].content[0].x: nan is no number of JSON; send None or a string"),
        (-math.inf, "-inf is no number of JSON"),
        (2**64, "more than 64 bits"),
        (-(2**63) - 1, "more than 64 bits"),
        ("\ud800", "half of a character"),
        ({"a b": {1: 2}}, 'invalid key in messages[1].content[0].x["a b"]: it is of the type int'),
        ({"\udfff": 1}, "half of a character"),
        (b"x", "send a base64 string"),
        ({1}, "send a list"),
        (decimal.Decimal(1), "send a float or a string"),
        (datetime.datetime.now(), "send its isoformat()"),
        (uuid.uuid4(), "send its str()"),
        (object(), "JSON cannot hold a value of the type object"),
        (CIRCLE, "invalid value in messages: it contains itself, or is nested deeper than"),
    ],
)
def test_what_json_cannot_hold_is_refused_by_its_path(value: Any, says: str) -> None:
    store = chat_memory.open("memory:")
    with pytest.raises(InvalidError) as refused:
        store.append("s", [user("a"), {"role": "user", "content": [{"type": "text", "x": value}]}])
    assert says in str(refused.value)
    assert list(store.messages("s")) == []


# The sentences that the library, the program and the HTTP service have, too.
def test_a_message_that_is_refused_has_the_sentence_that_it_has_everywhere() -> None:
    store = chat_memory.open("memory:")
    cases = json.loads((Path(__file__).parents[3] / "testdata" / "refused.json").read_text())
    openai = [case for case in cases if case.get("format") == "openai" and isinstance(case["message"], dict)]
    assert len(openai) > 10
    for case in openai:
        with pytest.raises(InvalidError) as refused:
            store.append("s", [case["message"]])
        assert case["says"] in str(refused.value), case["name"]


def test_what_is_no_list_of_messages_is_refused() -> None:
    store = chat_memory.open("memory:")
    with pytest.raises(InvalidError, match="not a list; give a list of messages"):
        store.append("s", user("x"))  # type: ignore[arg-type]
    with pytest.raises(InvalidError, match="empty append"):
        store.append("s", [])
    with pytest.raises(InvalidError, match="session id"):
        store.append("", [user("x")])
    with pytest.raises(InvalidError, match="no time zone"):
        store.append("s", [user("x")], sent_at=[datetime.datetime(2026, 1, 1)])
    with pytest.raises(TypeError, match="regoin"):
        store.append("s", [user("x")], regoin=1)  # type: ignore[call-arg]
