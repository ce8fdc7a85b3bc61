"""Runs the README's examples of the service unchanged, except for the address: a test uses a free port."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import unittest

from running import PATIENCE_S, Service

README = pathlib.Path(__file__).parents[2] / "README.md"
ADDRESS = "http://localhost:8080"


def blocks():
    """The section's code blocks, as (language, text)."""
    section = README.read_text(encoding="utf-8").split("\n## Over HTTP\n")[1].split("\n## ")[0]
    return re.findall(r"^```(\w+)\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)


def promised(block):
    """The expected output, from the comments at the ends of its lines."""
    return re.findall(r"^\s*(?:print|console\.log)\(.*\);?\s+(?:#|//) (.*)$", block, re.MULTILINE)


def run(command, text, until=None):
    """The output of a program with this text as its input; with `until`, up to that text."""
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    # A program that does not end by itself would block the tests for ever.
    watchdog = threading.Timer(PATIENCE_S, os.killpg, (process.pid, signal.SIGKILL))
    watchdog.start()
    try:
        process.stdin.write(text.encode())
        process.stdin.close()
        output = b""
        while not (until and until in output):
            piece = os.read(process.stdout.fileno(), 65536)
            if not piece:
                break
            output += piece
        if until:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    finally:
        watchdog.cancel()
        process.stdout.close()
    return process.returncode, output.decode()


class Readme(unittest.TestCase):
    def test_the_examples_do_what_they_say(self):
        found = blocks()
        self.assertEqual([language for language, _ in found], ["sh", "sh", "python", "js"])
        self.assertEqual(found[0][1].split("#")[0].strip(), "chat-memory serve", "which is what runs here")
        with Service() as service:
            for language, block in found[1:]:
                with self.subTest(language):
                    self.assertIn(ADDRESS, block)
                    block = block.replace(ADDRESS, service.url)
                    if language == "sh":
                        self.shell(block)
                    else:
                        command = {"python": [sys.executable, "-"], "js": ["node", "--input-type=module", "-"]}[language]
                        code, output = run(command, block)
                        self.assertEqual(code, 0, output)
                        self.assertTrue(promised(block), "the example says what it prints")
                        self.assertEqual(output.splitlines(), promised(block))
        self.assertEqual(service.code, 0, service.said)

    def shell(self, block):
        # The last command follows the events without an end.
        _, output = run(["sh", "-e"], block, until=b'"content":[')
        self.assertIn('"session":"tour","seq":0,"next":1,', output)
        self.assertIn('"messages":[{"role":"user","content":"Where should we go in May?"},{"role":"assistant","content":"To Lisbon."}]', output)
        self.assertRegex(output, r"event: ?record\n")


if __name__ == "__main__":
    unittest.main()
