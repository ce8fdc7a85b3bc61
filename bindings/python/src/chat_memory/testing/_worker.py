"""A process that adds turns to a session: `_worker OPENER PLACE SESSION WRITER TURNS`. It prints each turn that was acknowledged."""

from __future__ import annotations

import asyncio
import json
import sys

from ._subject import Place, answer, opener, question

ATTEMPTS = 8
"""How often a turn is tried, as a program would that reports an error only when retries do not help."""


async def _main(name: str, place: str, session: str, writer: str, turns: str) -> None:
    subject = opener(name)(Place(**json.loads(place)))
    for n in range(int(turns)):
        turn = f"{writer}/{n}"
        for attempt in range(1, ATTEMPTS + 1):
            try:
                await subject.add(session, question(turn), answer(turn))
            except Exception as error:
                if attempt == ATTEMPTS:
                    print(f"failed {turn}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            else:
                print(turn, flush=True)
                break


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
