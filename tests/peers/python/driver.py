"""LangChain Python's DynamoDBChatMessageHistory, driven by a JSON command a line; answers with a JSON line each."""

import json
import os
import sys
from decimal import Decimal

from langchain_community.chat_message_histories.dynamodb import DynamoDBChatMessageHistory
from langchain_core.messages import messages_from_dict, messages_to_dict


def plain(value):
    """boto3's numbers as JSON has them."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    raise TypeError(type(value).__name__)


def run(op, table, session, options=None, messages=()):
    history = DynamoDBChatMessageHistory(
        table_name=table, session_id=session, endpoint_url=os.environ["DYNAMODB_ENDPOINT"], **(options or {})
    )
    if op == "add":
        return history.add_messages(messages_from_dict(messages))
    if op == "clear":
        return history.clear()
    return messages_to_dict(history.messages)


for line in sys.stdin:
    try:
        answer = {"messages": run(**json.loads(line))}
    except Exception as error:  # noqa: BLE001 - whatever it is, the test shall see it
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer, default=plain), flush=True)
