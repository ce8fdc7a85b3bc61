"""langgraph-checkpoint-aws's DynamoDB saver under a graph of one step, driven by a JSON command a line; answers with a JSON line each.

A turn is one run of the graph: the question goes in, and the step answers with what was to be said.
"""

import json
import logging
import os
import sys

from langchain_core.messages import messages_from_dict, messages_to_dict
from langgraph.graph import START, MessagesState, StateGraph
from langgraph_checkpoint_aws import DynamoDBSaver

logging.disable(logging.CRITICAL)
graphs = {}
answer = []


def model(_state):
    return {"messages": answer}


def graph_on(table):
    """A server compiles its graph once."""
    if table not in graphs:
        saver = DynamoDBSaver(table_name=table, region_name="us-east-1", endpoint_url=os.environ["DYNAMODB_ENDPOINT"])
        graph = StateGraph(MessagesState)
        graph.add_node("model", model)
        graph.add_edge(START, "model")
        graphs[table] = graph.compile(checkpointer=saver)
    return graphs[table]


def run(op, table, session, options=None, messages=()):
    global answer
    graph = graph_on(table)
    config = {"configurable": {"thread_id": session}}
    if op == "add":
        said = messages_from_dict(messages)
        asked = max((n + 1 for n, message in enumerate(said) if message.type == "human"), default=len(said))
        answer = said[asked:]
        graph.invoke({"messages": said[:asked]}, config)
        return None
    return messages_to_dict(graph.get_state(config).values.get("messages", []))


for line in sys.stdin:
    try:
        reply = {"messages": run(**json.loads(line))}
    except Exception as error:  # noqa: BLE001 - whatever it is, the bench shall see it
        reply = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(reply), flush=True)
