"""The ordeals, and their results."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from ._proxy import Proxy, Usage
from ._subject import Place, Said, Subject, answer, opener, question

WRITERS, TURNS_EACH = 8, 10
LOSSY_TURNS = 40
KILLS = 5
LARGE = 1_000_000
LONG_TURNS, LONG_TURN = 100, 20_000

_TEXTS: dict[str, str] = {
    "line ends": "a\r\nb\nc\rd\u2028e\u0085f",
    "emoji, combining marks": "👩‍👩‍👧 e\u0301 é \u202eabc",
    "control characters": "".join(map(chr, range(0x20))) + "\x7f",
    "markup and quotes": '<b>&amp;</b> "x" \\n \\u0041 {{y}}',
    "only spaces": "  \t ",
    "a byte order mark": "\ufeffx\ufffe",
    "100 KB": "ä" * 50_000,
}

_VALUES: dict[str, Any] = {
    "a fraction": {"x": 0.1},
    "a float without fraction": {"x": 1.0},
    "minus zero": {"x": -0.0},
    "the largest float": {"x": 1.7976931348623157e308},
    "the smallest float": {"x": 5e-324},
    "an integer beyond 2^53": {"x": 2**53 + 1},
    "the smallest 64-bit integer": {"x": -(2**63)},
    "null": {"x": None},
    "booleans": {"x": [True, False]},
    "empty list and object": {"x": [], "y": {}},
    "an empty name": {"": {"": 0}},
    "order of names": {"z": 1, "a": {"y": 1, "b": 2}, "m": 3},
    "depth 30": json.loads('{"x":' * 30 + "1" + "}" * 30),
}

KINDS = len(_TEXTS) + len(_VALUES)
"""How many kinds of content are tried."""


@dataclass(frozen=True, slots=True)
class Damage:
    """What happened to turns."""

    turns: int
    lost: int = 0
    """Turns that were acknowledged, and are not there whole."""
    doubled: int = 0
    """Turns of which a message is there more than once."""
    torn: int = 0
    """Questions that are not followed by their answer, acknowledged or not."""
    failed: int = 0
    """Turns that ended with an error at each attempt."""
    error: str | None = None
    """The error of reading the session, if it could not be read."""

    def __str__(self) -> str:
        if self.error:
            return f"unreadable: {self.error}"
        counts = ((self.lost, "lost"), (self.doubled, "doubled"), (self.torn, "torn"), (self.failed, "refused"))
        found = [f"{count} {what}" for count, what in counts if count]
        return f"{', '.join(found)} of {self.turns}" if found else "none"


@dataclass(frozen=True, slots=True)
class Report:
    """How a subject fared."""

    name: str
    writers: Damage
    """8 processes with 10 turns each in one session."""
    lossy: Damage | None
    """40 turns while a tenth of the requests and a fifth of the answers are lost; `None` without DynamoDB."""
    killed: Damage
    """A writer that is killed 5 times."""
    large: str
    """Whether a message of 1 MB comes back; otherwise the error."""
    long: str
    """Whether a session of 2 MB comes back; otherwise the turn at which it ended, and the error."""
    inexact: list[str]
    """The kinds of content, of 20, that do not come back equal."""
    usage: dict[int, Usage | str]
    """What one turn of 600 bytes took at these turns of a session, or the error; empty without DynamoDB."""


def examine(name: str, *, endpoint: str | None = None, turns: Sequence[int] = (2, 100, 500)) -> Report:
    """Puts a subject through all ordeals. Takes some minutes.

    Args:
        name: The subject's opener, `module:function`: processes of their own call it.
        endpoint: DynamoDB Local's URL; `None` for a subject that keeps its sessions in a folder.
        turns: The turns of a session at which the cost is measured.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Place(endpoint, folder, f"examined-{uuid.uuid4().hex}")
        asyncio.run(opener(name)(place).prepare())
        return Report(
            name=name,
            writers=_many_writers(name, place),
            lossy=_lossy(name, place) if endpoint else None,
            killed=_killed(name, place),
            large=asyncio.run(_large(opener(name)(place))),
            long=asyncio.run(_long(opener(name)(place))),
            inexact=asyncio.run(_inexact(opener(name)(place))),
            usage=_cost(name, place, turns) if endpoint else {},
        )


def damage(said: Iterable[Said], acknowledged: Sequence[str], turns: int, failed: int = 0) -> Damage:
    """Compares what was read with what was acknowledged."""
    texts = [message.text for message in said]
    counts = Counter(texts)
    followers = dict(zip(texts, [*texts[1:], ""]))
    asked = [text.removeprefix("question ") for text in counts if text.startswith("question ")]
    return Damage(
        turns,
        lost=sum(not (counts[question(turn)] and counts[answer(turn)]) for turn in acknowledged),
        doubled=sum(counts[question(turn)] > 1 or counts[answer(turn)] > 1 for turn in asked),
        torn=sum(counts[question(turn)] == 1 and followers[question(turn)] != answer(turn) for turn in asked),
        failed=failed,
    )


@contextmanager
def _writer(name: str, place: Place, session: str, who: str, turns: int) -> Generator[subprocess.Popen[str], None, None]:
    settings = json.dumps({"endpoint": place.endpoint, "folder": place.folder, "table": place.table})
    command = [sys.executable, "-m", f"{__package__}._worker", name, settings, session, who, str(turns)]
    # What it writes to standard error is this process's: nobody would empty a pipe while its turns are awaited.
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def _judged(name: str, place: Place, session: str, acknowledged: Sequence[str], turns: int, failed: int = 0) -> Damage:
    try:
        return damage(asyncio.run(opener(name)(place).read(session)), acknowledged, turns, failed)
    except Exception as error:
        return Damage(turns, error=_short(error))


def _finished(writers: Sequence[subprocess.Popen[str]], turns: int) -> tuple[list[str], int]:
    """Waits for writers; returns the turns that they acknowledged, and how many failed."""
    acknowledged: list[str] = []
    for writer in writers:
        output, _ = writer.communicate()
        if writer.returncode:
            raise RuntimeError(f"a writer of the examined memory ended with exit code {writer.returncode}; its error is above")
        acknowledged += output.split()
    return acknowledged, turns - len(acknowledged)


def _many_writers(name: str, place: Place) -> Damage:
    with ExitStack() as stack:
        writers = [stack.enter_context(_writer(name, place, "writers", f"writer{n}", TURNS_EACH)) for n in range(WRITERS)]
        acknowledged, failed = _finished(writers, WRITERS * TURNS_EACH)
    return _judged(name, place, "writers", acknowledged, WRITERS * TURNS_EACH, failed)


def _lossy(name: str, place: Place) -> Damage:
    with Proxy(str(place.endpoint), lost_requests=0.1, lost_answers=0.2) as proxy:
        with _writer(name, replace(place, endpoint=proxy.url), "lossy", "writer", LOSSY_TURNS) as writer:
            acknowledged, failed = _finished([writer], LOSSY_TURNS)
    return _judged(name, place, "lossy", acknowledged, LOSSY_TURNS, failed)


def _killed(name: str, place: Place) -> Damage:
    acknowledged: list[str] = []
    refused = 0
    for n in range(KILLS):
        with _writer(name, place, "killed", f"writer{n}", 1_000) as writer:
            assert writer.stdout is not None
            first = [turn for turn in (writer.stdout.readline().strip() for _ in range(3 + n)) if turn]
            # It ended by itself if every turn was refused.
            refused += 3 + n - len(first)
            writer.kill()
            acknowledged += first + writer.stdout.read().split()
    return _judged(name, place, "killed", acknowledged, len(acknowledged) + refused, refused)


async def _large(subject: Subject) -> str:
    text = "x" * LARGE
    try:
        await subject.add("large", text, "answer")
        return "yes" if (await subject.read("large"))[0].text == text else "comes back changed"
    except Exception as error:
        return _short(error)


async def _long(subject: Subject) -> str:
    for n in range(1, LONG_TURNS + 1):
        try:
            await subject.add("long", f"{n} {'x' * LONG_TURN}", "answer")
        except Exception as error:
            return f"ends at turn {n}: {_short(error)}"
    try:
        found = len(await subject.read("long"))
    except Exception as error:
        return f"unreadable: {_short(error)}"
    return "yes" if found == 2 * LONG_TURNS else f"{found} of {2 * LONG_TURNS} messages come back"


async def _inexact(subject: Subject) -> list[str]:
    texts = [what for what, text in _TEXTS.items() if not await _is_exact(subject, what, text, None)]
    return texts + [what for what, value in _VALUES.items() if not await _is_exact(subject, what, "question", value)]


async def _is_exact(subject: Subject, session: str, text: str, arguments: Any) -> bool:
    try:
        await subject.add(session, text, "answer", arguments)
        said = await subject.read(session)
        # As text, since 1 == 1.0 == True, and two dictionaries are equal in any order.
        return said[0].text == text and json.dumps(said[1].arguments) == json.dumps(arguments)
    except Exception:
        return False


def _cost(name: str, place: Place, turns: Sequence[int]) -> dict[int, Usage | str]:
    with Proxy(str(place.endpoint)) as proxy:
        return asyncio.run(_usage(opener(name)(replace(place, endpoint=proxy.url)), proxy, turns))


async def _usage(subject: Subject, proxy: Proxy, turns: Sequence[int]) -> dict[int, Usage | str]:
    found: dict[int, Usage | str] = {}
    for n in range(1, max(turns) + 1):
        before = proxy.usage
        try:
            await subject.add("cost", f"{n} {'q' * 300}", f"{n} {'a' * 300}")
        except Exception as error:
            return {**found, **{turn: f"ended at turn {n}: {_short(error)}" for turn in turns if turn >= n}}
        if n in turns:
            found[n] = proxy.usage - before
    return found


def _short(error: Exception) -> str:
    return type(error).__name__
