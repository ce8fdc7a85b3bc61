"""The deletion of all sessions of an owner, in steps of the engine's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import _calls, _read
from ._calls import Call
from ._types import Cost, DeletedSession, OwnerDeletion


def delete_owner(owner: str, *, progress: Callable[[DeletedSession], object] | None = None) -> Deletion:
    """Deletes all sessions of an owner, eight at a time, also those that have expired and are not erased yet, until a list shows none. A
    session that cannot be deleted is reported in `failed`, and the others are deleted nevertheless. If it is interrupted, call it again.

    Not covered: the threads of a checkpointer, and the owner's name in metadata and in messages of others.

    Args:
        progress: Called for each session. It may stop the deletion by raising an exception.
    """
    return Deletion(owner, progress)


class Deletion:
    """A deletion under way."""

    def __init__(self, owner: str, progress: Callable[[DeletedSession], object] | None) -> None:
        self._owner = owner
        self._progress = progress
        self._known: set[str] = set()
        self._sessions = self._records = 0
        self._cost = Cost()

    def step(self) -> Call[dict[str, Any]]:
        """The next call."""
        return _calls.delete_owner(self._owner, failed=len(self._known))

    def take(self, found: dict[str, Any]) -> OwnerDeletion | None:
        """Takes the result of a step; returns the report after the last one."""
        self._cost += _read.cost(found["cost"])
        failed: list[DeletedSession] = []
        for done in map(_read.deleted_session, found["sessions"]):
            if done.error is None:
                self._sessions += 1
                self._records += done.records
            else:
                # Each step tries again what failed before, so the last one knows what is left.
                failed.append(done)
                if done.session in self._known:
                    continue
                self._known.add(done.session)
            if self._progress is not None:
                self._progress(done)
        return None if found["more"] else OwnerDeletion(self._sessions, self._records, failed, self._cost)
