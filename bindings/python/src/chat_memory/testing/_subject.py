"""What is examined: a chat memory behind one neutral interface."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Place:
    """Where a subject keeps its sessions."""

    endpoint: str | None
    """The URL of DynamoDB Local, or of a proxy before it; `None` for a subject that needs a folder."""
    folder: str
    """An empty folder of its own."""
    table: str
    """The name of a table of its own."""


@dataclass(frozen=True, slots=True)
class Said:
    """A message that was read."""

    text: str
    arguments: Any = None
    """The arguments of its first tool call, if it has one."""


def question(turn: str) -> str:
    """Returns the question of a turn that is recognized when it is read."""
    return f"question {turn}"


def answer(turn: str) -> str:
    """Returns its answer."""
    return f"answer {turn}"


class Subject(ABC):
    """A chat memory. A turn is a user's question and the assistant's answer, which may call a tool."""

    async def prepare(self) -> None:
        """Creates what the memory needs, such as its table. Called once, before all else, in a process of its own."""

    @abstractmethod
    async def add(self, session: str, question: str, answer: str, arguments: Any = None) -> None:
        """Adds one turn, as a program that uses the memory does.

        Args:
            session: The session; it need not exist.
            question: The user's message.
            answer: The assistant's message.
            arguments: A JSON value. If it is given, the answer calls the tool `tool` with it, as call `call_1`.
        """

    @abstractmethod
    async def read(self, session: str) -> list[Said]:
        """Reads all messages, oldest first."""


Opener = Callable[[Place], Subject]
"""Opens a subject. Processes of their own call it by its name, `module:function`."""


def opener(name: str) -> Opener:
    """Returns the opener with this name, `module:function`."""
    module, _, function = name.partition(":")
    found: Opener = getattr(importlib.import_module(module), function)
    return found
