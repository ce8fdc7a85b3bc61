"""Times an append and a window next to boto3's bare calls, in rounds that take turns."""

from __future__ import annotations

import os
import statistics
import time
import uuid
from collections.abc import Callable
from typing import Any

import boto3
import chat_memory
from subjects import REGION

TURN = [{"role": "user", "content": "q" * 300}, {"role": "assistant", "content": "a" * 300}]


def _table(client: Any, *keys: str) -> str:
    name = f"bare-{uuid.uuid4().hex}"
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, ("HASH", "RANGE"))],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
    )
    return name


def _compared(ours: Callable[[], object], bare: Callable[[], object], rounds: int, calls: int) -> tuple[float, float]:
    """Returns ours divided by the bare calls: the medians of time and of this process's CPU time."""

    def taken(call: Callable[[], object]) -> tuple[float, float]:
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(calls):
            call()
        return time.perf_counter() - wall, time.process_time() - cpu

    pairs = [(taken(ours), taken(bare)) for _ in range(rounds + 1)]
    # The first round opens connections.
    walls, cpus = zip(*((our[0] / their[0], our[1] / their[1]) for our, their in pairs[1:]))
    return statistics.median(walls), statistics.median(cpus)


def table(smoke: bool) -> str:
    """Returns the table, in Markdown."""
    rounds, calls = (2, 5) if smoke else (31, 40)
    endpoint = os.environ["DYNAMODB_ENDPOINT"]
    client = boto3.client("dynamodb", endpoint_url=endpoint)
    store = chat_memory.open(f"dynamodb://{_table(client, 'session_id', 'sk')}?region={REGION}&endpoint={endpoint}")
    theirs, numbers = _table(client, "id", "n"), iter(range(10**9))

    def put() -> None:
        item = {"id": {"S": "s"}, "n": {"S": f"{next(numbers):09}"}, "q": {"S": TURN[0]["content"]}, "a": {"S": TURN[1]["content"]}}
        client.put_item(TableName=theirs, Item=item, ConditionExpression="attribute_not_exists(id)", ReturnConsumedCapacity="TOTAL")

    def query() -> None:
        values = {":id": {"S": "s"}}
        client.query(
            TableName=theirs,
            KeyConditionExpression="id = :id",
            ExpressionAttributeValues=values,
            ScanIndexForward=False,
            Limit=10,
            ConsistentRead=True,
        )

    lines = ["| ours | next to | time | CPU |", "|---|---|---|---|"]
    append = _compared(lambda: store.append("s", TURN), put, rounds, calls)
    lines.append(f"| `append` of a turn | boto3: `put_item` of as many bytes | {append[0]:.2f} | {append[1]:.2f} |")
    window = _compared(lambda: store.recall("s", messages=20), query, rounds, calls)
    lines.append(f"| `recall` of the newest 20 messages | boto3: `query` of 10 items | {window[0]:.2f} | {window[1]:.2f} |")
    return "\n".join(lines)
