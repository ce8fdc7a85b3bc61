"""What keeps conversations in SQLite in Python, driven by a JSON command a line; answers with a JSON line each, and measures itself.

    python3 driver.py langchain|agents FILE
"""

import asyncio
import json
import sys
import time

KIND, FILE = sys.argv[1:]


class LangChain:
    def __init__(self):
        from langchain_community.chat_message_histories import SQLChatMessageHistory
        from langchain_core.messages import AIMessage, HumanMessage

        self.human, self.ai = HumanMessage, AIMessage
        self.history = SQLChatMessageHistory(session_id="s", connection=f"sqlite:///{FILE}")

    async def append(self, question, answer):
        self.history.add_messages([self.human(question), self.ai(answer)])

    async def load(self, last):
        messages = self.history.messages
        return messages[-last:] if last else messages

    def texts(self, messages):
        return [message.content for message in messages]

    def pragma(self, name):
        with self.history.engine.connect() as connection:
            return connection.exec_driver_sql(f"PRAGMA {name}").scalar()


class Agents:
    def __init__(self):
        from agents import SQLiteSession

        self.session = SQLiteSession("s", FILE)

    async def append(self, question, answer):
        await self.session.add_items([{"role": "user", "content": question}, {"role": "assistant", "content": answer}])

    async def load(self, last):
        return await self.session.get_items(limit=last)

    def texts(self, items):
        return [item["content"] for item in items]

    def pragma(self, name):
        return self.session._get_connection().execute(f"PRAGMA {name}").fetchone()[0]


async def main():
    side = {"langchain": LangChain, "agents": Agents}[KIND]()
    for line in sys.stdin:
        asked = json.loads(line)
        answer = {}
        seconds = []
        for turn in asked.get("append", []):
            start = time.perf_counter()
            await side.append(*turn)
            seconds.append(time.perf_counter() - start)
        for _ in range(asked.get("loads", 0)):
            start = time.perf_counter()
            read = await side.load(asked.get("last"))
            seconds.append(time.perf_counter() - start)
            answer["texts"] = side.texts(read)
        if "pragma" in asked:
            answer["value"] = side.pragma(asked["pragma"])
        print(json.dumps({**answer, "seconds": seconds}), flush=True)


asyncio.run(main())
