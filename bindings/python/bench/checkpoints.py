"""Compares LangGraph's checkpointers and ours in one run, and prints the tables for docs/benchmarks.md. `cargo xtask bench langgraph` runs it."""

from __future__ import annotations

import operator
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypedDict

import boto3
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph_checkpoint_aws import DynamoDBSaver
from subjects import REGION

from chat_memory.langgraph import ChatMemorySaver

SEEDED = 500
"""From this turn on, threads of `SqliteSaver` and `InMemorySaver` start with their messages put in at once: what their turn costs depends on
those alone."""


class Spent(NamedTuple):
    """Write units, read units and requests."""

    write_units: float = 0
    read_units: float = 0
    requests: float = 0

    def plus(self, other: Spent) -> Spent:
        return Spent(*map(operator.add, self, other))

    def minus(self, other: Spent) -> Spent:
        return Spent(*map(operator.sub, self, other))

    def over(self, turns: int) -> str:
        return " / ".join(_number(value / turns) for value in self)


def _number(value: float) -> str:
    return f"{value:,.1f}".removesuffix(".0")


# What is compared.


class Side:
    """A checkpointer: how it is opened, what it has spent, and how much it stores."""

    starts_with_messages = True
    """Whether a thread of many turns may be started with its messages."""

    def __init__(self) -> None:
        self.saver = self.open()

    def open(self) -> Any:
        raise NotImplementedError

    def spent(self) -> Spent:
        return Spent()

    def stored(self) -> int:
        """How many bytes the values, keys and names of all rows have."""
        raise NotImplementedError

    def settle(self) -> None:
        """Stores what still waits."""

    def reopen(self) -> None:
        """Opens another checkpointer, which remembers nothing, as a new process does."""
        self.close()
        self.saver = self.open()

    def close(self) -> None: ...


class Table:
    """A table on DynamoDB Local."""

    def __init__(self, *keys: str) -> None:
        self.name = f"checkpoints-{uuid.uuid4().hex}"
        self.client: Any = boto3.client("dynamodb", endpoint_url=os.environ["DYNAMODB_ENDPOINT"])
        self.client.create_table(
            TableName=self.name,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, ("HASH", "RANGE"))],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
        )

    def stored(self) -> int:
        pages = self.client.get_paginator("scan").paginate(TableName=self.name)
        return sum(len(name) + _size(value) for page in pages for item in page["Items"] for name, value in item.items())

    def delete(self) -> None:
        self.client.delete_table(TableName=self.name)


def _size(value: dict[str, Any]) -> int:
    """The size of an attribute as DynamoDB counts it, about."""
    ((kind, content),) = value.items()
    if kind == "M":
        return 3 + sum(1 + len(name) + _size(each) for name, each in content.items())
    if kind == "L":
        return 3 + sum(1 + _size(each) for each in content)
    return len(content.encode() if isinstance(content, str) else content) if kind in "SBN" else 1


class Ours(Side):
    starts_with_messages = False

    def __init__(self, url: str, stored: Callable[[], int]) -> None:
        self._url, self._stored, self._before = url, stored, Spent()
        super().__init__()

    def open(self) -> ChatMemorySaver:
        return ChatMemorySaver.from_url(self._url)

    def spent(self) -> Spent:
        cost = self.saver.cost
        return self._before.plus(Spent(cost.write_units, cost.read_units, cost.requests))

    def stored(self) -> int:
        return self._stored()

    def settle(self) -> None:
        self.saver.flush()

    def reopen(self) -> None:
        self._before = self.spent()
        super().reopen()

    def close(self) -> None:
        self.saver.close()


class Official(Side):
    starts_with_messages = False

    def __init__(self, table: Table) -> None:
        self._table, self._spent = table, Spent()
        super().__init__()

    def open(self) -> DynamoDBSaver:
        saver = DynamoDBSaver(table_name=self._table.name, region_name=REGION, endpoint_url=os.environ["DYNAMODB_ENDPOINT"])
        saver.client.meta.events.register("provide-client-params.dynamodb.*", self._ask)
        saver.client.meta.events.register("after-call.dynamodb.*", self._count)
        return saver

    def _ask(self, params: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {**params, "ReturnConsumedCapacity": "TOTAL"}

    def _count(self, parsed: dict[str, Any], model: Any, **_: Any) -> None:
        units = parsed.get("ConsumedCapacity", [])
        total = sum(each["CapacityUnits"] for each in (units if isinstance(units, list) else [units]))
        is_write = model.name in ("PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem")
        self._spent = self._spent.plus(Spent(total * is_write, total * (not is_write), 1))

    def spent(self) -> Spent:
        return self._spent

    def stored(self) -> int:
        return self._table.stored()


class Sqlite(Side):
    def __init__(self, path: Path) -> None:
        self._path = path
        super().__init__()

    def open(self) -> SqliteSaver:
        return SqliteSaver(sqlite3.connect(self._path, check_same_thread=False))

    def stored(self) -> int:
        return _rows(self._path)

    def close(self) -> None:
        self.saver.conn.close()


class Memory(Side):
    def open(self) -> InMemorySaver:
        return InMemorySaver()

    def stored(self) -> int:
        def size(value: Any) -> int:
            if isinstance(value, (bytes, str)):
                return len(value)
            if isinstance(value, dict):
                return sum(size(key) + size(each) for key, each in value.items())
            return sum(map(size, value)) if isinstance(value, (tuple, list)) else 0

        return size(self.saver.storage) + size(self.saver.writes) + size(self.saver.blobs)

    def reopen(self) -> None: ...


def _rows(path: Path) -> int:
    """The bytes of all rows in a SQLite file."""
    # Another process counts: two copies of SQLite in one process take each other's locks away.
    return int(subprocess.run([sys.executable, "-c", COUNT, path], check=True, capture_output=True, text=True).stdout)


COUNT = """
import sqlite3, sys
file = sqlite3.connect(sys.argv[1])
total = 0
for (name,) in file.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
    columns = [column[1] for column in file.execute(f"PRAGMA table_info({name})")]
    sizes = " + ".join(f"coalesce(length(cast({column} AS BLOB)), 0)" for column in columns)
    total += file.execute(f"SELECT coalesce(sum({sizes}), 0) FROM {name}").fetchone()[0]
print(total)
"""


SIDES = ["ours, DynamoDB", "`DynamoDBSaver`", "ours, SQLite", "`SqliteSaver`", "ours, in memory", "`InMemorySaver`"]


class Sides:
    """New, empty checkpointers of these names."""

    def __init__(self, names: Sequence[str] = SIDES) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._tables: list[Table] = []
        folder = Path(self._folder.name)
        make: dict[str, Callable[[], Side]] = {
            "ours, DynamoDB": self._ours_on_dynamodb,
            "`DynamoDBSaver`": lambda: Official(self._table("PK", "SK")),
            "ours, SQLite": lambda: Ours(f"sqlite:{folder / 'ours.db'}", lambda: _rows(folder / "ours.db")),
            "`SqliteSaver`": lambda: Sqlite(folder / "theirs.db"),
            "ours, in memory": lambda: Ours("memory:", lambda: 0),
            "`InMemorySaver`": Memory,
        }
        self.by_name = {name: make[name]() for name in names}

    def _table(self, *keys: str) -> Table:
        self._tables.append(Table(*keys))
        return self._tables[-1]

    def _ours_on_dynamodb(self) -> Side:
        table = self._table("session_id", "sk")
        url = f"dynamodb://{table.name}?region={REGION}&endpoint={os.environ['DYNAMODB_ENDPOINT']}"
        return Ours(url, table.stored)

    def __enter__(self) -> dict[str, Side]:
        return self.by_name

    def __exit__(self, *_: object) -> None:
        for side in self.by_name.values():
            side.close()
        for table in self._tables:
            table.delete()
        self._folder.cleanup()


# What is run on them.


WORDS = ["".join(random.Random(n).choices("abcdefghijklmnopqrstuvwxyz", k=2 + n % 9)) for n in range(3000)]


def text(number: int, size: int) -> str:
    """A text of words, another one for each number: it compresses less than speech."""
    return " ".join(random.Random(number).choices(WORDS, k=size // 3))[:size]


def reply(state: Any) -> Any:
    return {"messages": [AIMessage(text(len(state["messages"]), 300))]}


def chat(saver: Any, schema: Any = MessagesState) -> Any:
    builder: Any = StateGraph(schema)
    builder.add_node("model", reply)
    builder.add_edge(START, "model")
    return builder.compile(checkpointer=saver)


def agent(saver: Any) -> Any:
    def model(state: Any) -> Any:
        if isinstance(state["messages"][-1], ToolMessage):
            return reply(state)
        return {"messages": [called(len(state["messages"]))]}

    def tool(state: Any) -> Any:
        return {"messages": [answered(len(state["messages"]))]}

    def next_node(state: Any) -> str:
        return "tool" if state["messages"][-1].tool_calls else END

    builder: Any = StateGraph(MessagesState)
    builder.add_node("model", model)
    builder.add_node("tool", tool)
    builder.add_edge(START, "model")
    builder.add_conditional_edges("model", next_node, ["tool", END])
    builder.add_edge("tool", "model")
    return builder.compile(checkpointer=saver)


def called(number: int) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": "search", "args": {"query": text(number, 40)}, "id": f"call_{number}"}])


def answered(number: int) -> ToolMessage:
    return ToolMessage(text(number, 1000), tool_call_id=f"call_{number - 1}")


def _appended(state: list[AnyMessage] | None, writes: Sequence[list[AnyMessage]]) -> list[AnyMessage]:
    return [*(state or []), *(message for write in writes for message in write)]


class DeltaState(TypedDict):
    messages: Annotated[list[AnyMessage], DeltaChannel(_appended)]


def delta(saver: Any) -> Any:
    return chat(saver, DeltaState)


def earlier(build: Any, turns: int) -> Iterator[AnyMessage]:
    """The messages of n turns."""
    of_turn: list[Callable[[int], AnyMessage]] = [lambda n: HumanMessage(text(n, 300)), lambda n: AIMessage(text(n, 300))]
    if build is agent:
        of_turn[1:1] = [called, answered]
    for number in range(turns * len(of_turn)):
        yield of_turn[number % len(of_turn)](number)


class Run:
    """A conversation on one side, turn by turn."""

    def __init__(self, side: Side, build: Any, durability: str = "async") -> None:
        self.side, self._build, self._durability = side, build, durability
        self.ended: str | None = None
        self.turns = 0
        self.last = self.total = Spent()
        """What the last turn cost, and all of them."""
        self.cpu = 0.0
        """The CPU time in ms of the last turn or load, threads included."""
        self._start()

    def _start(self) -> None:
        self._graph = self._build(self.side.saver)
        self._config = {"configurable": {"thread_id": str(uuid.uuid4())}}

    def first_turn(self) -> None:
        """Runs the first turn of another thread."""
        self._start()
        self.turn()

    def turn(self) -> None:
        """Runs a turn, unless the conversation has ended."""
        if self.ended:
            return
        before = self.side.spent()
        question = HumanMessage(text(-self.turns - 1, 300))
        try:
            self._time(lambda: self._graph.invoke({"messages": [question]}, self._config, durability=self._durability))
        except Exception as error:
            self.ended = f"ended at turn {self.turns + 1:,} ({type(error).__name__})"
            return
        # So that all that the turn stores is counted. No user does it, so it is not part of the time.
        self.side.settle()
        self.turns += 1
        self.last = self.side.spent().minus(before)
        self.total = self.total.plus(self.last)

    def advance(self, turns: int) -> None:
        """Runs turns until there are n."""
        if turns >= SEEDED and self.side.starts_with_messages:
            self._start()
            self._graph.update_state(self._config, {"messages": [*earlier(self._build, turns)]}, as_node="model")
            self.turns = turns
        while self.turns < turns and not self.ended:
            self.turn()

    def reopen(self) -> None:
        """Opens what a new process would."""
        self.side.reopen()
        self._graph = self._build(self.side.saver)

    def load(self) -> None:
        """Loads the newest checkpoint in what is like a new process."""

        def load() -> None:
            self.reopen()
            assert self.side.saver.get_tuple(self._config)

        self._time(load)

    def _time(self, call: Callable[[], object]) -> None:
        start = time.process_time()
        call()
        self.cpu = (time.process_time() - start) * 1000

    def cost(self) -> str:
        """What the last turn cost."""
        return self.ended or self.last.over(1)

    def average(self) -> str:
        return f"{self.total.over(self.turns)} ({self.turns:,} turns)"


def cpu(runs: dict[str, Run], rounds: int, call: Callable[[Run], object]) -> dict[str, list[float]]:
    """Takes turns, and returns the CPU time of each call. The first round is not counted."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds + 1):
        for name, run in runs.items():
            call(run)
            times[name].append(run.cpu)
    return {name: of_side[1:] for name, of_side in times.items() if not runs[name].ended}


def ratio(times: dict[str, list[float]], ours: str, theirs: str) -> str:
    """Ours divided by theirs: the median, and the middle half."""
    if ours not in times or theirs not in times:
        return "–"
    pairs = sorted(one / other for one, other in zip(times[ours], times[theirs]))
    quarter = len(pairs) // 4
    return f"{statistics.median(pairs):.2f} ({pairs[quarter]:.2f}–{pairs[-1 - quarter]:.2f})"


# The tables.


def row(cells: Sequence[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def header(cells: Sequence[str]) -> list[str]:
    return [row(cells), "|---" * len(cells) + "|"]


def progress(*what: object) -> None:
    print(*what, "…", file=sys.stderr, flush=True)


def growth(title: str, build: Any, points: Sequence[int], rounds: int, all_until: int) -> str:
    """What a turn costs as the thread grows, and its CPU time; from a turn on only for ours on DynamoDB."""
    ours, theirs = SIDES[:2]
    shown = [name for name in SIDES if name != "ours, in memory"]
    units = header(["turn", *(f"{name}{more}" for name in (ours, theirs) for more in ("", ", new process"))])
    stored = header(["turn", *shown])
    cpus = header(["turn", "`SqliteSaver`", "SQLite", "DynamoDB", "in memory", "loading in a new process, SQLite"])
    with Sides() as sides:
        runs = {name: Run(side, build) for name, side in sides.items()}
        for point in points:
            here = {name: run for name, run in runs.items() if point <= all_until or name == ours}
            sizes: dict[str, str] = {}
            for name, run in here.items():
                progress(title, "turn", point, name)
                run.advance(point - 1)
                before = run.side.stored()
                run.turn()
                sizes[name] = "–" if run.ended else f"{run.side.stored() - before:,}"
            cells: list[str] = []
            for run in (runs[ours], runs[theirs]):
                cells.append(run.cost())
                if not run.ended:
                    run.reopen()
                    run.turn()
                cells.append("–" if run.ended else run.last.over(1))
            units.append(row([f"{point:,}", *cells]))
            stored.append(row([f"{point:,}", *(sizes.get(name, "–") for name in shown)]))
            if point > all_until:
                continue
            progress(title, "turn", point, "CPU")
            timed = {name: run for name, run in runs.items() if not run.ended}
            if point == 1:
                # Each a first turn of a thread of its own.
                times = cpu({name: Run(run.side, build) for name, run in timed.items()}, rounds, Run.first_turn)
            else:
                times = cpu(timed, rounds, Run.turn)
            loads = cpu({name: runs[name] for name in SIDES[2:4]}, rounds, Run.load)
            pairs = [ratio(times, *SIDES[n : n + 2]) for n in (2, 0, 4)]
            cpus.append(
                row([f"{point:,}", f"{statistics.median(times[SIDES[3]]):.1f} ms", *pairs, ratio(loads, *SIDES[2:4])])
            )
        units.append(row(["average", runs[ours].average(), "", runs[theirs].average(), ""]))
    parts = [
        f"## {title}",
        "**Write units / read units / requests** of the turn with this number, and of the next one by a new process:",
        "\n".join(units),
        "Bytes that the turn stores, keys and names included:",
        "\n".join(stored),
        "CPU time of a turn, all of LangGraph's included: the SQLite saver's, and **ours divided by theirs** on each store:",
        "\n".join(cpus),
    ]
    return "\n\n".join(parts)


def durabilities(points: Sequence[int], rounds: int) -> str:
    lines = header(["", "durability", *(f"turn {point:,}" for point in points), "average", "CPU, SQLite"])
    for title, build in (("chat", chat), ("agent", agent)):
        for durability in ("async", "sync", "exit"):
            progress(title, durability)
            with Sides(SIDES[:4]) as sides:
                runs = {name: Run(side, build, durability) for name, side in sides.items()}
                cells: dict[str, list[str]] = {name: [] for name in SIDES[:2]}
                for point in points:
                    for name, run in runs.items():
                        run.advance(point)
                        if name in cells:
                            cells[name].append(run.cost())
                times = cpu({name: runs[name] for name in SIDES[2:4]}, rounds, Run.turn)
                for name, found in cells.items():
                    compared = ratio(times, *SIDES[2:4]) if name == SIDES[0] else ""
                    lines.append(row([f"{title}, {name}", durability, *found, runs[name].average(), compared]))
    return "\n".join(lines)


def deltas(points: Sequence[int], all_until: int, rounds: int) -> str:
    lines = header(["turn", *SIDES[:2], "CPU, DynamoDB", "CPU, SQLite"])
    with Sides(SIDES[:4]) as sides:
        runs = {name: Run(side, delta) for name, side in sides.items()}
        for point in points:
            is_ours_only = point > all_until
            for name, run in runs.items():
                if not is_ours_only or name == SIDES[0]:
                    progress("DeltaChannel, turn", point, name)
                    run.advance(point)
            cells = [runs[SIDES[0]].cost(), "not run" if is_ours_only else runs[SIDES[1]].cost()]
            if is_ours_only:
                lines.append(row([f"{point:,}", *cells, "–", "–"]))
                continue
            # A turn of the official saver takes seconds here.
            times = cpu({name: runs[name] for name in SIDES[:2]}, min(rounds, 3), Run.turn)
            times |= cpu({name: runs[name] for name in SIDES[2:4]}, rounds, Run.turn)
            lines.append(row([f"{point:,}", *cells, ratio(times, *SIDES[:2]), ratio(times, *SIDES[2:4])]))
    return "\n".join(lines)


PACKAGES = ["langgraph", "langgraph-checkpoint", "langgraph-checkpoint-aws", "langgraph-checkpoint-sqlite"]


def main() -> None:
    smoke = "--smoke" in sys.argv
    points = [1, 3] if smoke else [1, 10, 100, 400, 1000, 3000]
    rounds = 2 if smoke else 10
    print("Written by `cargo xtask bench langgraph`, in one run on AWS's DynamoDB Local.", end=" ")
    print(f"Versions: {', '.join(f'{package} {version(package)}' for package in PACKAGES)}, each with its defaults.\n")
    print("- A chat's turn: a question and an answer of 300 bytes, by a graph of one node. An agent's: two model calls and a tool's result of 1 KB.")
    print("- The average is of all turns that were run, those by a new process included.")
    print("- The text is of made-up words that never repeat, which compresses less than speech. Units are DynamoDB Local's (`ReturnConsumedCapacity`).")
    print(f"- CPU: medians of {rounds} rounds that take turns, and the middle half. It is that of the process, without DynamoDB Local's. Storing what waits when a turn is over is not part of it.")
    print(f"- Each turn of ours is run. From turn {SEEDED} on, the threads of `SqliteSaver` and `InMemorySaver` start with their messages put in at once.\n")
    print(growth("A chat", chat, points, rounds, all_until=3000))
    print()
    print(growth("A tool-using agent", agent, points, rounds, all_until=1000))
    print("\n## Durability\n\n**Write units / read units / requests**; CPU: ours on SQLite divided by the SQLite saver's.\n")
    print(durabilities([1, 3] if smoke else [1, 10, 100], rounds))
    print("\n## DeltaChannel\n\n**Write units / read units / requests** of the chat's turn, its messages in a `DeltaChannel`; CPU: ours divided by theirs.\n")
    print(deltas([2, 4] if smoke else [10, 100, 1000], 2 if smoke else 100, rounds))


if __name__ == "__main__":
    main()
