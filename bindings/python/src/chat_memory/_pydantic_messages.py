"""Messages of Pydantic AI as entries of a session: what others read, and the message exactly.

A message is stored as one or more messages in OpenAI's form. The first has the field `pydantic_ai` with the whole message, as
`ModelMessagesTypeAdapter` dumps it. In it, texts that are stored already are references, so that nothing is stored twice: `{"shown": 0}` is
the first text of the messages, by the names of their fields. With `"as": "json"` it is the value of that JSON, with `"as": "base64"` the same
data in the alphabet for URLs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from pydantic_ai.messages import (
    BinaryContent,
    DocumentUrl,
    ImageUrl,
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    ModelResponsePart,
    SystemPromptPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserContent,
    UserPromptPart,
)

FIELD = "pydantic_ai"
"""The field of an entry with what only Pydantic AI has."""

MESSAGE = "pydantic_ai.message"
"""The type of entries with messages that others are not shown: those of branches that the conversation left, and those without a text."""

_REFERENCE, _AS = "shown", "as"
_SHORT = 16
"""Texts that are shorter are not worth a reference."""

_TO_STANDARD = str.maketrans("-_", "+/")
_TO_URL = str.maketrans("+/", "-_")


_Object = dict[str, Any]
_List = Sequence[Any]


def _object(value: Any) -> _Object | None:
    return cast(_Object, value) if isinstance(value, dict) else None


def _list(value: Any) -> _List | None:
    return cast(_List, value) if isinstance(value, list) else None


def dump(message: ModelMessage) -> _Object:
    """Returns a message as `ModelMessagesTypeAdapter` dumps it."""
    dumped: list[_Object] = json.loads(ModelMessagesTypeAdapter.dump_json([message]))
    return dumped[0]


def to_entries(message: _Object, own: _Object, *, hidden: bool = False, as_text: bool = False) -> list[_Object]:
    """Returns the entries of a dumped message.

    Args:
        own: What else to store with it.
        hidden: Whether others are not shown the message.
        as_text: Whether it is stored as a JSON text, for values that the store cannot hold: integers beyond 64 bits.
    """
    shown = ([] if hidden else _shown(message)) or [{"type": MESSAGE}]
    table: dict[str, int] = {}
    for n, text in enumerate(_texts(shown)):
        table.setdefault(text, n)
    kept: Any = json.dumps(message, ensure_ascii=False) if as_text else _fold(message, table)
    shown[0][FIELD] = {**own, "entries": len(shown), "message": kept}
    return shown


def from_entries(entries: Sequence[Mapping[str, Any]]) -> ModelMessage:
    """Returns the message of `to_entries`."""
    first = dict(entries[0])
    kept = first.pop(FIELD)["message"]
    if not isinstance(kept, str):
        kept = json.dumps(_unfold(kept, list(_texts([first, *entries[1:]]))))
    return ModelMessagesTypeAdapter.validate_json(f"[{kept}]")[0]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for part in _list(value) or ():
        yield from _texts(part)
    # The store may return fields in another order.
    for _, part in sorted((_object(value) or {}).items()):
        yield from _texts(part)


def _fold(value: Any, table: Mapping[str, int]) -> Any:
    if isinstance(value, str):
        if len(value) < _SHORT:
            return value
        if value in table:
            return {_REFERENCE: table[value]}
        standard = value.translate(_TO_STANDARD)
        if standard in table and standard.translate(_TO_URL) == value:
            return {_REFERENCE: table[standard], _AS: "base64"}
        return value
    parts, fields = _list(value), _object(value)
    if parts is not None:
        return [_fold(part, table) for part in parts]
    if fields is None:
        return value
    folded: _Object = {}
    for key, part in fields.items():
        # What a tool was given and what it returned are values, and others are shown their JSON.
        text = _json(part) if key in ("args", "content") and isinstance(part, (dict, list)) else ""
        folded[key] = {_REFERENCE: table[text], _AS: "json"} if len(text) >= _SHORT and text in table else _fold(part, table)
    # An object that has a field of this name is put into one that is no reference.
    return {_REFERENCE: folded} if _REFERENCE in folded else folded


def _unfold(value: Any, texts: Sequence[str]) -> Any:
    parts, fields = _list(value), _object(value)
    if parts is not None:
        return [_unfold(part, texts) for part in parts]
    if fields is None:
        return value
    found: Any = fields.get(_REFERENCE, fields)
    if isinstance(found, int):
        text, how = texts[found], fields.get(_AS)
        return json.loads(text) if how == "json" else text.translate(_TO_URL) if how == "base64" else text
    return {key: _unfold(part, texts) for key, part in (_object(found) or {}).items()}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else _json(value)


def _shown(message: Mapping[str, Any]) -> list[_Object]:
    """Returns what others are shown of a dumped message, in OpenAI's form; parts that it lacks are Anthropic's, or as they are."""
    if message["kind"] == "response":
        return _shown_response(message["parts"])
    return [shown for part in message["parts"] for shown in _shown_request(part)]


def _shown_request(part: Mapping[str, Any]) -> list[_Object]:
    kind, content = part["part_kind"], part.get("content")
    if kind == "user-prompt":
        items = _list(content)
        return [{"role": "user", "content": content if items is None else [_shown_item(item) for item in items]}]
    if kind == "tool-return" or (kind == "retry-prompt" and part["tool_name"] is not None):
        return [{"role": "tool", "tool_call_id": part["tool_call_id"], "name": part["tool_name"], "content": _as_text(content)}]
    if kind in ("retry-prompt", "retry-feedback"):
        return [{"role": "user", "content": _as_text(content)}]
    if kind in ("system-prompt", "compaction") and content is not None:
        return [{"role": "system", "content": content}]
    if kind == "speech" and part["transcript"] is not None:
        return [{"role": part["speaker"], "content": part["transcript"]}]
    return []


def _shown_response(parts: Sequence[Mapping[str, Any]]) -> list[_Object]:
    said: list[_Object] = []
    calls: list[_Object] = []
    for part in parts:
        kind = part["part_kind"]
        if kind == "tool-call":
            arguments = "{}" if part["args"] is None else _as_text(part["args"])
            calls.append({"id": part["tool_call_id"], "type": "function", "function": {"name": part["tool_name"], "arguments": arguments}})
        elif kind == "text":
            said.append({"type": "text", "text": part["content"]})
        elif kind == "thinking":
            said.append({"type": "thinking", "thinking": part["content"], "signature": part["signature"] or ""})
        elif kind == "file":
            said.append(_shown_item(part["content"]))
        elif kind == "speech":
            said.append({"type": "text", "text": part["transcript"] or ""})
        else:
            said.append({"type": kind, **{key: value for key, value in part.items() if isinstance(value, str) and key != "part_kind"}})
    if not said and not calls:
        return []
    content = said[0]["text"] if len(said) == 1 and said[0]["type"] == "text" else said or None
    return [{"role": "assistant", "content": content, **({"tool_calls": calls} if calls else {})}]


def _shown_item(item: Any) -> _Object:
    if isinstance(item, str):
        return {"type": "text", "text": item}
    kind = item["kind"]
    if kind in ("text-content", "structured-content"):
        return {"type": "text", "text": item["content"]}
    if kind == "image-url":
        return {"type": "image_url", "image_url": {"url": item["url"]}}
    if kind == "document-url":
        return {"type": "document", "source": {"type": "url", "url": item["url"]}}
    if kind == "binary":
        media_type: str = item["media_type"]
        data = item["data"].translate(_TO_STANDARD)
        if media_type.startswith("audio/"):
            return {"type": "input_audio", "input_audio": {"data": data, "format": media_type.removeprefix("audio/")}}
        what = "image" if media_type.startswith("image/") else "document"
        return {"type": what, "source": {"type": "base64", "media_type": media_type, "data": data}}
    return {"type": kind, **{key: value for key, value in item.items() if isinstance(value, str) and key != "kind"}}


def from_others(message: Mapping[str, Any], at: datetime, names: dict[str, str]) -> ModelMessage:
    """Returns a message that another program wrote at this time. `names` are those of tools by the ids of their calls; calls of the message
    are added."""
    content: Any = message.get("content")
    given = [{"type": "text", "text": content}] if isinstance(content, str) else _list(content) or ()
    items = [item for item in map(_object, given) if item is not None]
    text = "\n".join(item["text"] for item in items if isinstance(item.get("text"), str))
    role = message["role"]
    if role == "assistant":
        said: list[ModelResponsePart] = [TextPart(text)] if text else []
        for call in filter(None, map(_object, _list(message.get("tool_calls")) or ())):
            function = _object(call.get("function")) or _object(call.get("custom")) or {}
            name, call_id = str(function.get("name")), str(call.get("id"))
            names[call_id] = name
            said.append(ToolCallPart(name, function.get("arguments", function.get("input")), call_id))
        return ModelResponse(parts=said, timestamp=at)
    part: ModelRequestPart
    if role == "tool":
        call_id = str(message.get("tool_call_id"))
        part = ToolReturnPart(str(message.get("name") or names.get(call_id, "tool")), text, call_id, timestamp=at)
    elif role == "user":
        prompt = [found for item in items for found in _user_content(item)]
        part = UserPromptPart(text if all(isinstance(one, str) for one in prompt) else prompt, timestamp=at)
    else:
        part = SystemPromptPart(text, timestamp=at)
    return ModelRequest(parts=[part], timestamp=at)


def _user_content(item: Mapping[str, Any]) -> list[UserContent]:
    """Returns what a part in OpenAI's or Anthropic's form is: a text, or a file."""
    if isinstance(item.get("text"), str):
        return [item["text"]]
    source: _Object = _object(item.get("source")) or _object(item.get("image_url")) or {}
    url: Any = source.get("url", item.get("image_url"))
    if source.get("type") == "base64":
        url = f"data:{source.get('media_type')};base64,{source.get('data')}"
    if not isinstance(url, str):
        return []
    if url.startswith("data:"):
        try:
            return [BinaryContent.from_data_uri(url)]
        except ValueError:
            # Not base64.
            return []
    return [DocumentUrl(url) if item.get("type") == "document" else ImageUrl(url)]
