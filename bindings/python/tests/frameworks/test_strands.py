"""Strands Agents: sessions next to strands' own, on every store."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import pytest
from conftest import endpoint, new_table, script, turns_url
from strands import Agent
from strands.multiagent import GraphBuilder
from strands.session import FileSessionManager, RepositorySessionManager, SessionRepository
from strands.types.content import Message
from strands.types.exceptions import SessionException
from strands.types.session import Session, SessionAgent, SessionMessage, SessionType
from strands_agents import Answers, Meter, agent_of, texts

import chat_memory
from chat_memory.strands import ChatMemorySessionManager, ChatMemorySessionRepository

EXAMPLE = Path(__file__).parents[2] / "examples" / "strands_agent.py"

CONTENTS: list[list[dict[str, Any]]] = [
    [{"text": "Hello"}],
    [{"text": ""}],
    [],
    [{"text": "é 日本 👩‍👩‍👧 \u0000 \u2028"}],
    [{"toolUse": {"toolUseId": "c1", "name": "weather", "input": {"b": [1.0, -0.0, 1e300, 2**63, -(2**63)], "a": {"": None}}}}],
    [{"toolResult": {"toolUseId": "c1", "status": "success", "content": [{"text": "x"}, {"json": {"z": [], "y": {}}}]}}],
    [{"image": {"format": "png", "source": {"bytes": b"\x00\xff\x80"}}}],
    [{"reasoningContent": {"reasoningText": {"text": "…", "signature": "s"}}}, {"text": "y" * 30_000}],
]


def exact(value: Any) -> str:
    return repr(value)


# Sessions


def test_repository_is_that_of_files(url: str, tmp_path: Path) -> None:
    """Random schedules of all methods, next to strands' FileSessionManager."""
    seed = random.Random(7)
    files: SessionRepository = FileSessionManager("outside", str(tmp_path / "files"))
    ours: SessionRepository = ChatMemorySessionRepository(chat_memory.open(url))
    lengths: dict[tuple[str, str], int] = {}
    sessions: set[str] = set()

    def both(call: Callable[[SessionRepository], Any]) -> Any:
        results: list[str] = []
        for repository in (files, ours):
            try:
                results.append(exact(call(repository)))
            except SessionException:
                results.append("SessionException")
        assert results[0] == results[1]
        return results[0]

    def agent(name: str) -> SessionAgent:
        state = {"n": seed.choice([1, 1.0, True, None, "é"]), "list": list(range(seed.randrange(3)))}
        return SessionAgent(name, state, {"removed_message_count": 0}, {"i": 1}, created_at="then", updated_at="now")

    for step in range(120):
        session, name = seed.choice(["s1", "s2"]), seed.choice(["default", "b"])
        length = lengths.get((session, name), 0)
        match seed.randrange(11):
            case 0:
                both(lambda it: it.create_session(Session(session, SessionType.AGENT, created_at="c", updated_at="u")))
                sessions.add(session)
            case 1:
                both(lambda it: it.read_session(session))
            case 2 if session in sessions and (session, name) not in lengths:
                new = agent(name)
                both(lambda it: it.create_agent(session, new))
                lengths[session, name] = 0
            case 3:
                both(lambda it: it.read_agent(session, name))
            case 4 if session in sessions:
                changed = agent(name)
                both(lambda it: it.update_agent(session, changed))
            case 5 | 6 | 7 if (session, name) in lengths:
                content = seed.choice(CONTENTS)
                message = cast(Message, {"role": seed.choice(["user", "assistant"]), "content": content})
                created = SessionMessage(message, length, created_at=f"c{step}", updated_at=f"u{step}")
                both(lambda it: it.create_message(session, name, created))
                lengths[session, name] = length + 1
            case 8:
                at = seed.randrange(length + 2)
                both(lambda it: it.read_message(session, name, at))
            case 9 if (session, name) in lengths:
                at = length if length == 0 else seed.choice([length - 1, length - 1, seed.randrange(length), length])
                message = cast(Message, {"role": "user", "content": [{"text": f"redacted {step}"}]})
                original = cast(Message, {"role": "user", "content": seed.choice(CONTENTS)})
                both(lambda it: it.update_message(session, name, SessionMessage(original, at, message, "lost", f"u{step}")))
            case _ if (session, name) in lengths:
                limit, offset = seed.choice([None, 0, 1, 3]), seed.randrange(length + 2)
                both(lambda it: it.list_messages(session, name, limit, offset))
    for (session, name), length in lengths.items():
        assert both(lambda it: it.list_messages(session, name)).count("SessionMessage(") == length
    assert len(lengths) == 4 and max(lengths.values()) > 5


def test_session_that_is_deleted_is_gone(url: str) -> None:
    store = chat_memory.open(url)
    repository = ChatMemorySessionRepository(store)
    for _ in range(2):
        agents = [agent_of(RepositorySessionManager("s", repository), agent_id=name) for name in ("default", "b")]
        for agent in agents:
            agent("Hello")
        repository.delete_session("s")
        assert repository.read_session("s") is None and list(store.all_sessions()) == []
    with pytest.raises(SessionException, match="does not exist"):
        repository.delete_session("s")


def test_agent_continues_its_conversation(url: str) -> None:
    store = chat_memory.open(url)
    use = {"toolUse": {"toolUseId": "c1", "name": "weather", "input": {"city": "Paris"}}}
    agent = agent_of(ChatMemorySessionManager("user-42", store, owner="ada"), [use], [{"text": "It is 21 °C."}])
    agent.state.set("city", "Paris")
    agent("What is the weather?")
    again = agent_of(ChatMemorySessionManager("user-42", store))
    assert again.messages == agent.messages and len(again.messages) == 4
    assert again.state.get() == {"city": "Paris"}
    again("And tomorrow?")
    assert len(agent_of(ChatMemorySessionManager("user-42", store)).messages) == 6
    # The store's own windows understand the messages: a turn has its tool calls, with their results.
    window = store.recall("user-42", turns=2)
    assert window.messages == json.loads(json.dumps(again.messages)) and window.omitted.broken == 0
    assert [message["role"] for message in store.recall("user-42", messages=3).messages] == ["assistant", "user", "assistant"]
    assert [info.id for info in store.sessions("ada")] == ["user-42"]


def test_redacted_message_is_replaced(url: str) -> None:
    store = chat_memory.open(url)
    answers: list[list[dict[str, Any]]] = [[{"text": "Hi."}], [{"redact": "[removed]"}, {"text": "No."}], [{"text": "Yes."}]]
    agent = agent_of(ChatMemorySessionManager("s", store), *answers)
    for question in ("Hello", "a secret", "Well"):
        agent(question)
    assert texts(list(store.messages("s"))) == texts(agent.messages) == ["Hello", "Hi.", "[removed]", "No.", "Well", "Yes."]
    assert agent_of(ChatMemorySessionManager("s", store)).messages == agent.messages


def test_second_writer_is_refused(durable_url: str) -> None:
    for turn in range(2):
        # The second agent has read the conversation before the first one writes.
        agents = [agent_of(ChatMemorySessionManager("s", durable_url)) for _ in range(2)]
        agents[0](f"first {turn}")
        with pytest.raises(SessionException, match=f"the next message_id is {2 * turn + 2}"):
            agents[1]("second")
    assert texts(agent_of(ChatMemorySessionManager("s", durable_url)).messages) == ["first 0", "Yes.", "first 1", "Yes."]


def test_agents_of_a_session_lose_nothing_at_once(durable_url: str) -> None:
    store = chat_memory.open(durable_url)
    RepositorySessionManager("s", ChatMemorySessionRepository(store))

    def converse(name: str) -> None:
        agent = agent_of(ChatMemorySessionManager("s", store), agent_id=name)
        for n in range(5):
            agent.state.set("n", n)
            agent(f"{name}/{n}")

    threads = [threading.Thread(target=converse, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in "abcd":
        agent = agent_of(ChatMemorySessionManager("s", store), agent_id=name)
        assert texts(agent.messages)[::2] == [f"{name}/{n}" for n in range(5)] and agent.state.get("n") == 4


def test_stale_state_is_refused(url: str) -> None:
    store = chat_memory.open(url)
    first, second = (ChatMemorySessionRepository(store) for _ in range(2))
    first.create_session(Session("s", SessionType.AGENT))
    first.create_agent("s", SessionAgent("a", {}, {}))
    first.create_agent("s", SessionAgent("b", {}, {}))
    assert second.read_agent("s", "a") is not None
    first.update_agent("s", SessionAgent("a", {"n": 1}, {}))
    second.update_agent("s", SessionAgent("b", {"n": 2}, {}))
    first.update_agent("s", SessionAgent("a", {"n": 3}, {}))
    second.read_agent("s", "a")
    first.update_agent("s", SessionAgent("a", {"n": 4}, {}))
    with pytest.raises(SessionException, match="modified since"):
        second.update_agent("s", SessionAgent("a", {"n": 5}, {}))
    found = [second.read_agent("s", name) for name in "ab"]
    assert [agent and agent.state for agent in found] == [{"n": 4}, {"n": 2}]


def test_state_that_differs_only_in_a_type_is_stored(url: str) -> None:
    repository = ChatMemorySessionRepository(chat_memory.open(url))
    repository.create_session(Session("s", SessionType.AGENT))
    repository.create_agent("s", SessionAgent("a", {}, {}))
    for value in (1, True, 1.0, 0.0, -0.0):
        repository.update_agent("s", SessionAgent("a", {"n": [value]}, {}))
        found = repository.read_agent("s", "a")
        assert found is not None and exact(found.state) == exact({"n": [value]})


def test_conversation_of_an_agent_without_state_is_not_continued(url: str) -> None:
    store = chat_memory.open(url)
    agent_of(ChatMemorySessionManager("s", store))("Hello")
    store.delete("s/strands/state")
    agent_of(ChatMemorySessionManager("s", store))("Again")
    agent = agent_of(ChatMemorySessionManager("s", store))
    assert texts(agent.messages) == texts(list(store.messages("s"))) == ["Again", "Yes."]


def test_graph_continues(url: str) -> None:
    store = chat_memory.open(url)

    def run(task: str) -> Any:
        builder = GraphBuilder()
        for name in ("first", "second"):
            builder.add_node(Agent(model=Answers(), callback_handler=None, name=name), name)
        builder.add_edge("first", "second")
        builder.set_max_node_executions(10)
        builder.set_session_manager(ChatMemorySessionManager("s", store))
        return builder.build()(task)

    assert run("a").status.value == run("b").status.value == "completed"
    state = ChatMemorySessionRepository(store).read_multi_agent("s", "default_graph")
    assert state is not None and state["status"] == "completed"


def test_each_turn_of_a_session_costs_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    meter, url = Meter(monkeypatch), turns_url()
    agent = agent_of(ChatMemorySessionManager("s", url))
    units: dict[int, tuple[int, float, float]] = {}
    for turn in range(1, 101):
        meter.taken()
        agent.state.set("n", turn)
        agent(f"Question {turn:03}")
        cost = meter.taken()
        units[turn] = cost.requests, cost.read_units, cost.write_units
    # A write for each message, and one for the state. Once the agent's window of 40 messages is full, strands stores its state twice.
    assert units[20] == units[2] == (3, 0, 3)
    assert units[100] == units[30] == (4, 0, 4)
    agent = agent_of(ChatMemorySessionManager("s", url))
    assert agent.state.get("n") == 100 and texts(agent.messages)[-2:] == ["Question 100", "Yes."]
    # The state's session twice, and of the conversation only the window.
    assert meter.taken().requests == 3


FAULTS = ["--drop-requests", "0.1", "--drop-answers", "0.2", "--seed", "7"]
TIMES = "&request_timeout=300ms&deadline=20s"


def test_each_turn_is_stored_once(fault_proxy: Callable[..., str]) -> None:
    table = f"dynamodb://{new_table('session_id', 'sk')}?region=us-east-1"
    through = f"{table}&endpoint={quote(fault_proxy(*FAULTS), safe='')}{TIMES}"
    direct = f"{table}&endpoint={quote(endpoint(), safe='')}"
    for start in range(0, 20, 10):
        agent = agent_of(ChatMemorySessionManager("user-42", through))
        for n in range(start, start + 10):
            agent.state.set("n", n)
            agent(str(n))
    agent = agent_of(ChatMemorySessionManager("user-42", direct))
    assert texts(agent.messages) == [text for n in range(20) for text in (str(n), "Yes.")] and agent.state.get("n") == 19
    assert texts(list(chat_memory.open(direct).messages("user-42"))) == texts(agent.messages)


def test_example_remembers_across_two_processes(durable_url: str) -> None:
    said = [script(EXAMPLE.read_text(), durable_url, "user-42") for _ in range(2)]
    assert [(run.returncode, run.stderr) for run in said] == [(0, "")] * 2
    assert [run.stdout for run in said] == [
        "visit 1: You began with 'This is visit 1.'; I see 1 messages.\n",
        "visit 2: You began with 'This is visit 1.'; I see 3 messages.\n",
    ]


def test_two_processes_lose_nothing(durable_url: str) -> None:
    """A turn that is refused is repeated by an agent that is created again."""
    program = """
import logging, sys
sys.path[:0] = sys.argv[3:]
from strands_agents import agent_of
from chat_memory.strands import ChatMemorySessionManager
from strands.types.exceptions import EventLoopException, SessionException
logging.disable()
url, who = sys.argv[1:3]
for n in range(4):
    while True:
        try:
            agent_of(ChatMemorySessionManager("user-42", url))(f"{who}/{n}")
            break
        except (SessionException, EventLoopException):
            pass
"""
    runs: list[Any] = []
    folder = str(Path(__file__).parent)
    threads = [threading.Thread(target=lambda who: runs.append(script(program, durable_url, who, folder)), args=(who,)) for who in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(run.returncode, run.stderr) for run in runs] == [(0, "")] * 2
    found = texts(agent_of(ChatMemorySessionManager("user-42", durable_url)).messages)
    for who in "ab":
        # A turn of which a part was stored before it was refused is there in part.
        assert list(dict.fromkeys(text for text in found if text.startswith(f"{who}/"))) == [f"{who}/{n}" for n in range(4)]
