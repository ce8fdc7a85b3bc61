"""Converts events of Google's ADK to messages and back, as JSON: what `Event.model_dump(mode="json", exclude_none=True)` returns.

The stored form is that of the Rust crate chat-memory-adk. The messages contain what every program understands: texts, images, tool calls
and their results. The field `adk` of the first one is the event as adk-rust has it, and `adk_python` is what ADK for Python has in
addition: the changes that turn the former into the latter.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any, TypeGuard

Json = dict[str, Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

_FINISH_REASONS = {"STOP": "Stop", "MAX_TOKENS": "MaxTokens", "SAFETY": "Safety", "RECITATION": "Recitation", "OTHER": "Other"}

_USAGE = {
    "prompt_token_count": "prompt_token_count",
    "candidates_token_count": "candidates_token_count",
    "total_token_count": "total_token_count",
    "cached_content_token_count": "cache_read_input_token_count",
    "thoughts_token_count": "thinking_token_count",
}
"""The token counts that both have, by ADK's names and adk-rust's. adk-rust requires the first three."""


def to_messages(event: Json) -> list[Json]:
    """Converts an event to the messages of a record. `from_messages` returns an equal event."""
    rust = _to_rust(event)
    changes = _changes(_from_rust(rust), event)
    content = rust.get("content")
    messages: list[Json] = [] if content is None else _shown(content)
    if content is not None and _equal(_content_of(messages, content["role"]), content):
        # Stored only once, since the messages have the rest.
        rust["content"] = {"role": content["role"]}
    if not messages:
        messages.append({"role": "assistant", "content": ""})
    messages[0]["adk"] = rust
    if changes:
        messages[0]["adk_python"] = changes
    return messages


def from_messages(messages: list[Json], seq: int, created_at: float) -> list[Json]:
    """Converts a record's messages to events: the one that it was, or, for another program's record, one for each message."""
    try:
        event = _exact(messages)
    except (AttributeError, LookupError, TypeError, ValueError):
        event = None
    if event is not None:
        return [event]
    return [_foreign(message, f"record-{seq}-{place}", created_at) for place, message in enumerate(messages)]


def _exact(messages: list[Json]) -> Json | None:
    if not messages or "adk" not in messages[0]:
        return None
    rust = dict(messages[0]["adk"])
    content = rust.get("content")
    if content is not None and "parts" not in content:
        rust["content"] = _content_of(messages, content["role"])
    return _changed(_from_rust(rust), messages[0].get("adk_python", {}))


def _foreign(message: Json, id: str, created_at: float) -> Json:
    roles = {"system": ("system", "system"), "tool": ("agent", "function"), "assistant": ("agent", "model")}
    author, role = roles.get(message["role"], ("user", "user"))
    content = _content_from_rust(_content_of([message], role))
    return {"id": id, "timestamp": created_at, "author": author, "content": content}


# Events of adk-rust.


def _to_rust(event: Json) -> Json:
    """Returns the event as adk-rust has it, without what it has no field for."""
    actions: Json = event.get("actions", {})
    usage: Json | None = event.get("usage_metadata")
    rust: Json = {
        "id": event["id"],
        "timestamp": _time_to_rust(event["timestamp"]),
        "invocation_id": event.get("invocation_id", ""),
        "branch": event.get("branch", ""),
        "author": event.get("author", ""),
        "partial": False,
        "turn_complete": event.get("turn_complete", True),
        "interrupted": event.get("interrupted", False),
        "actions": {
            "state_delta": actions.get("state_delta", {}),
            "artifact_delta": actions.get("artifact_delta", {}),
            "skip_summarization": actions.get("skip_summarization", False),
            "escalate": actions.get("escalate", False),
        },
    }
    for name in ("error_code", "error_message", "long_running_tool_ids", "interaction_id"):
        if name in event:
            rust[name] = event[name]
    if "content" in event:
        rust["content"] = _content_to_rust(event["content"])
    if "finish_reason" in event:
        rust["finish_reason"] = _FINISH_REASONS.get(event["finish_reason"], "Other")
    if usage is not None:
        counts = {theirs: usage[ours] for ours, theirs in _USAGE.items() if ours in usage}
        rust["usage_metadata"] = {"prompt_token_count": 0, "candidates_token_count": 0, "total_token_count": 0, **counts}
    if "transfer_to_agent" in actions:
        rust["actions"]["transfer_to_agent"] = actions["transfer_to_agent"]
    if "compaction" in actions:
        compaction = actions["compaction"]
        rust["actions"]["compaction"] = {
            "start_timestamp": _time_to_rust(compaction["start_timestamp"]),
            "end_timestamp": _time_to_rust(compaction["end_timestamp"]),
            "compacted_content": _content_to_rust(compaction["compacted_content"]),
        }
    route: Any = actions.get("route")
    routes: list[Any] = route if _is_list(route) else [route]
    if routes and all(isinstance(name, str) for name in routes):
        rust["actions"]["route"] = routes
    return rust


def _from_rust(rust: Json) -> Json:
    """Returns adk-rust's event as ADK has it, without what it has no field for."""
    rust_actions: Json = rust["actions"]
    usage: Json | None = rust.get("usage_metadata")
    actions: Json = {"state_delta": rust_actions["state_delta"], "artifact_delta": rust_actions["artifact_delta"]}
    for name in ("skip_summarization", "transfer_to_agent", "escalate", "route"):
        if rust_actions.get(name):
            actions[name] = rust_actions[name]
    if rust_actions.get("compaction"):
        compaction = rust_actions["compaction"]
        actions["compaction"] = {
            "start_timestamp": _time_from_rust(compaction["start_timestamp"]),
            "end_timestamp": _time_from_rust(compaction["end_timestamp"]),
            "compacted_content": _content_from_rust(compaction["compacted_content"]),
        }
    # What ADK always has, though mostly empty.
    actions.update(requested_auth_configs={}, requested_tool_confirmations={})
    event: Json = {
        "id": rust["id"],
        "timestamp": _time_from_rust(rust["timestamp"]),
        "invocation_id": rust["invocation_id"],
        "author": rust["author"],
        "actions": actions,
        "node_info": {"path": ""},
    }
    if rust.get("content") is not None:
        event["content"] = _content_from_rust(rust["content"])
    if usage is not None:
        event["usage_metadata"] = {ours: usage[theirs] for ours, theirs in _USAGE.items() if theirs in usage}
    if rust.get("finish_reason") is not None:
        event["finish_reason"] = {theirs: ours for ours, theirs in _FINISH_REASONS.items()}[rust["finish_reason"]]
    for name in ("branch", "interrupted", "error_code", "error_message", "long_running_tool_ids", "interaction_id"):
        if rust.get(name):
            event[name] = rust[name]
    return event


def _content_to_rust(content: Json) -> Json:
    parts = [part for part in map(_part_to_rust, content.get("parts", [])) if part is not None]
    role = content.get("role", "user")
    if role == "user" and parts and all("functionResponse" in part for part in parts):
        role = "function"
    return {"role": role, "parts": parts}


def _content_from_rust(content: Json) -> Json:
    # ADK's models know these roles only.
    role = {"function": "user", "system": "user"}.get(content["role"], content["role"])
    return {"parts": [_part_from_rust(part) for part in content["parts"]], "role": role}


def _part_to_rust(part: Json) -> Json | None:
    signature = None
    if "thought_signature" in part:
        # ADK writes the alphabet for URLs.
        signature = part["thought_signature"].replace("-", "+").replace("_", "/")
    if "function_call" in part:
        call = part["function_call"]
        given = {"id": call.get("id"), "thought_signature": signature}
        return {
            "name": call.get("name", ""),
            "args": call.get("args", {}),
            **{name: value for name, value in given.items() if value is not None},
        }
    if "function_response" in part:
        answer = part["function_response"]
        return {
            "functionResponse": {"name": answer.get("name", ""), "response": answer.get("response")},
            **({"id": answer["id"]} if "id" in answer else {}),
        }
    if "text" in part:
        if part.get("thought"):
            return {"thinking": part["text"], **({} if signature is None else {"signature": signature})}
        return {"text": part["text"]}
    if "inline_data" in part:
        blob = part["inline_data"]
        return {"mime_type": blob.get("mime_type", ""), "data": list(urlsafe_b64decode(blob.get("data", "")))}
    if "file_data" in part:
        file = part["file_data"]
        return {"mime_type": file.get("mime_type", ""), "file_uri": file.get("file_uri", "")}
    if "executable_code" in part:
        return {"text": part["executable_code"].get("code", "")}
    if "code_execution_result" in part:
        return {"text": part["code_execution_result"].get("output", "")}
    return None


def _part_from_rust(part: Json) -> Json:
    if "functionResponse" in part:
        answer = part["functionResponse"]
        response = answer["response"]
        found: Json = {"name": answer["name"]}
        if response is not None:
            # ADK's results are objects; it wraps others in the same way.
            found["response"] = response if _is_object(response) else {"result": response}
        if part.get("id") is not None:
            found["id"] = part["id"]
        return {"function_response": found}
    if "args" in part:
        arguments = part["args"]
        call: Json = {"name": part["name"], "args": arguments if _is_object(arguments) else {"args": arguments}}
        if part.get("id") is not None:
            call["id"] = part["id"]
        return {"function_call": call, **_signed(part.get("thought_signature"))}
    if "thinking" in part:
        return {"text": part["thinking"], "thought": True, **_signed(part.get("signature"))}
    if "text" in part:
        return {"text": part["text"]}
    if "data" in part:
        return {"inline_data": {"mime_type": part["mime_type"], "data": urlsafe_b64encode(bytes(part["data"])).decode()}}
    if "file_uri" in part:
        return {"file_data": {"mime_type": part["mime_type"], "file_uri": part["file_uri"]}}
    # A resource, or a call of a provider's own tool.
    return {"text": _text(part)}


def _signed(signature: str | None) -> Json:
    if signature is None:
        return {}
    try:
        return {"thought_signature": urlsafe_b64encode(b64decode(signature + "=" * (-len(signature) % 4))).decode()}
    except ValueError:
        return {}


def _time_to_rust(seconds: float) -> str:
    """Returns a time in nanoseconds, which is exact for any since 1970 that a clock shows."""
    ns = int((Decimal(seconds) * 10**9).to_integral_value())
    try:
        time = _EPOCH + timedelta(seconds=ns // 10**9)
    except OverflowError:
        time, ns = _EPOCH, 0
    return f"{time.replace(tzinfo=None).isoformat()}.{ns % 10**9:09}Z"


def _time_from_rust(time: str) -> float:
    whole, _, fraction = time.removesuffix("Z").partition(".")
    seconds = (datetime.fromisoformat(f"{whole}+00:00") - _EPOCH) // timedelta(seconds=1)
    return float(seconds + Fraction(int(fraction or "0"), 10 ** len(fraction)))


# Messages, as the Rust crate writes and reads them.


def _shown(content: Json) -> list[Json]:
    """Returns what every program understands of adk-rust's content: one message, and one more for each tool result."""
    parts: list[Json] = []
    calls: list[Json] = []
    results: list[Json] = []
    for part in content["parts"]:
        if "functionResponse" in part:
            results.append(_result(part))
        elif "args" in part:
            function = {"name": part["name"], "arguments": _text(part["args"])}
            calls.append({"id": part.get("id", ""), "type": "function", "function": function})
        elif "text" in part:
            parts.append({"type": "text", "text": part["text"]})
        elif part.get("mime_type", "").startswith("image/"):
            url = part["file_uri"] if "file_uri" in part else f"data:{part['mime_type']};base64,{b64encode(bytes(part['data'])).decode()}"
            parts.append({"type": "image_url", "image_url": {"url": url}})
    message: Json = {"role": content["role"] if content["role"] in ("user", "system") else "assistant", "content": None}
    if parts or not (calls or results):
        message["content"] = parts[0]["text"] if [part["type"] for part in parts] == ["text"] else parts
    if calls:
        message["tool_calls"] = calls
        if not parts:
            message["role"] = "assistant"
    return [message, *results] if parts or calls or not results else results


def _result(part: Json) -> Json:
    response = part["functionResponse"]["response"]
    message = {"role": "tool", "tool_call_id": part.get("id", ""), "name": part["functionResponse"]["name"]}
    if isinstance(response, str):
        return {**message, "content": response, "adk_text": True}
    return {**message, "content": _text(response)}


def _content_of(messages: list[Json], role: str) -> Json:
    """Returns the content of messages as adk-rust has it, as far as they express it."""
    parts: list[Json] = []
    for message in messages:
        content = message.get("content")
        if message["role"] == "tool":
            parts.append(_answer(message))
            continue
        if isinstance(content, str):
            parts.append({"text": content})
        elif _is_list(content):
            parts.extend(map(_part_of, content))
        parts.extend(map(_call_of, message.get("tool_calls") or []))
    return {"role": role, "parts": parts}


def _part_of(part: Json) -> Json:
    if isinstance(part.get("text"), str):
        return {"text": part["text"]}
    image = part.get("image_url")
    url = image.get("url") if _is_object(image) else None
    if not isinstance(url, str):
        return {"text": _text(part)}
    mime_type, separator, data = url.removeprefix("data:").partition(";base64,")
    if url.startswith("data:") and separator:
        return {"mime_type": mime_type, "data": list(b64decode(data))}
    return {"mime_type": "image/*", "file_uri": url}


def _call_of(call: Json) -> Json:
    function: Json = call.get("function") or {}
    text = function.get("arguments", "{}")
    try:
        arguments = json.loads(text)
    except ValueError:
        arguments = text
    return {"name": function.get("name", ""), "args": arguments, **({"id": call["id"]} if call.get("id") else {})}


def _answer(message: Json) -> Json:
    content = message.get("content")
    texts = [part.get("text", "") for part in content] if _is_list(content) else [content or ""]
    response: Any = "".join(texts)
    if "adk_text" not in message:
        try:
            response = json.loads(response)
        except ValueError:
            pass
    identified = {"id": message["tool_call_id"]} if message.get("tool_call_id") else {}
    return {"functionResponse": {"name": message.get("name", ""), "response": response}, **identified}


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _is_object(value: object) -> TypeGuard[Json]:
    return isinstance(value, dict)


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


# Changes.


def _equal(one: object, other: object) -> bool:
    """Whether both are the same JSON: `1`, `1.0` and `true` are not."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _changes(have: Json, want: Json) -> Json:
    """Returns what turns `have` into `want`: the values to set and to remove, by their JSON pointers."""
    put: Json = {}
    gone: list[str] = []

    def compare(old: Any, new: Any, at: str) -> None:
        if _is_object(old) and _is_object(new):
            gone.extend(f"{at}/{_escaped(name)}" for name in old if name not in new)
            for name, value in new.items():
                if name in old:
                    compare(old[name], value, f"{at}/{_escaped(name)}")
                else:
                    put[f"{at}/{_escaped(name)}"] = value
        elif _is_list(old) and _is_list(new) and len(old) == len(new):
            for place, (before, after) in enumerate(zip(old, new)):
                compare(before, after, f"{at}/{place}")
        elif not _equal(old, new):
            put[at] = new

    compare(have, want, "")
    return {name: value for name, value in (("set", put), ("remove", gone)) if value}


def _changed(value: Json, changes: Json) -> Json:
    for pointer, new in changes.get("set", {}).items():
        parent, name = _place(value, pointer)
        parent[name] = new
    for pointer in changes.get("remove", []):
        parent, name = _place(value, pointer)
        del parent[name]
    return value


def _place(value: Any, pointer: str) -> tuple[Any, Any]:
    *path, last = [name.replace("~1", "/").replace("~0", "~") for name in pointer.split("/")[1:]]
    for name in path:
        value = value[int(name) if _is_list(value) else name]
    return value, int(last) if _is_list(value) else last


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
