"""Differences between two JSON values, as a list of changes."""

from __future__ import annotations

from typing import Any

_SPLICED = 64
"""Strings shorter than this are replaced, not spliced."""

Change = dict[str, Any]
"""`{"at": path, "set": value}`, `{"at": path, "del": true}` or, for a list or a string, `{"at": path, "cut": [start, count], "put": …}`."""


def diff(old: Any, new: Any) -> list[Change]:
    """Returns the changes that make `new` of `old`. Numbers that are equal, such as 1 and 1.0, count as unchanged."""
    changes: list[Change] = []
    _diff([], old, new, changes)
    return changes


def patch(old: Any, changes: list[Change]) -> Any:
    """Applies changes; `old` itself is not modified."""
    root = [old]
    copied: dict[int, Any] = {}
    """Containers that were copied already, by identity: they may be modified."""
    for change in changes:
        parent: Any = root
        path: list[str | int] = [0, *change["at"]]
        for step in path[:-1]:
            child = parent[step]
            if id(child) not in copied:
                child = child.copy()
                copied[id(child)] = child
                parent[step] = child
            parent = child
        last: Any = path[-1]
        if "set" in change:
            parent[last] = change["set"]
        elif "del" in change:
            del parent[last]
        else:
            start, count = change["cut"]
            parent[last] = parent[last][:start] + change["put"] + parent[last][start + count :]
    return root[0]


def _diff(path: list[str | int], old: Any, new: Any, changes: list[Change]) -> None:
    if _alike(old, new) and old == new:
        return
    if _are(dict, old, new):
        # New keys are added at the end, so that another order needs a replacement.
        kept = [key for key in old if key in new]
        if [*kept, *(key for key in new if key not in old)] == list(new):
            changes.extend({"at": [*path, key], "del": True} for key in old if key not in new)
            for key in new:
                if key in old:
                    _diff([*path, key], old[key], new[key], changes)
                else:
                    changes.append({"at": [*path, key], "set": new[key]})
            return
    elif _are(list, old, new):
        prefix = _prefix(old, new)
        suffix = _suffix(old[prefix:], new[prefix:])
        if len(old) == len(new):
            for at in range(prefix, len(old) - suffix):
                _diff([*path, at], old[at], new[at], changes)
        else:
            put = new[prefix : len(new) - suffix]
            changes.append({"at": path, "cut": [prefix, len(old) - suffix - prefix], "put": put})
        return
    elif _are(str, old, new) and min(len(old), len(new)) >= _SPLICED:
        prefix = _prefix(old, new)
        suffix = _suffix(old[prefix:], new[prefix:])
        changes.append({"at": path, "cut": [prefix, len(old) - suffix - prefix], "put": new[prefix : len(new) - suffix]})
        return
    changes.append({"at": path, "set": new})


def _alike(old: object, new: object) -> bool:
    return type(old) is type(new)


def _are(kind: type, old: object, new: object) -> bool:
    return type(old) is kind and type(new) is kind


def _prefix(old: Any, new: Any) -> int:
    """Returns the length of the common beginning, by comparing halves: a loop over each character would be slow."""
    low, high = 0, min(len(old), len(new))
    while low < high:
        middle = (low + high + 1) // 2
        if old[low:middle] == new[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _suffix(old: Any, new: Any) -> int:
    return _prefix(old[::-1], new[::-1])
