"""A chat with LangChain that remembers across processes: run it twice.

    python langchain_chat.py sqlite:chat.db user-42 "Where should we go in May?"
    python langchain_chat.py "dynamodb://chats?region=eu-central-1" user-42 "And where to eat there?"
"""

from __future__ import annotations

import sys

from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import HumanMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder

from chat_memory.langchain import StoreChatMessageHistory

PROMPT = ChatPromptTemplate.from_messages([("system", "Be brief."), MessagesPlaceholder("history"), MessagesPlaceholder("input")])


def main(url: str, session_id: str, text: str) -> None:
    history = StoreChatMessageHistory(url, session_id, turns=20)
    earlier = history.messages
    # Takes the place of a model. In its place, use `ChatOpenAI` or another one.
    model = FakeListChatModel(responses=[f"You began with {earlier[0].text!r}." if earlier else "To Lisbon."])
    question = HumanMessage(text)
    answer = (PROMPT | model).invoke({"history": earlier, "input": [question]})
    history.add_messages([question, answer])
    print(f"{len(earlier)} messages before: {answer.text}")


if __name__ == "__main__":
    main(*sys.argv[1:])
