"""A running service: `chat-memory serve` on a port of its own, with a store of its own."""

import os
import signal
import subprocess
import tempfile

# Long enough for any machine: a test waits this long only if it fails.
PATIENCE_S = 120


def program():
    """The program under test, which `cargo xtask test service` builds and names."""
    path = os.environ.get("CHAT_MEMORY_PROGRAM")
    if not path:
        raise RuntimeError("CHAT_MEMORY_PROGRAM does not name the program: run `cargo xtask test service`")
    return path


def environment(**more):
    """This process's environment, without the tester's own settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CHAT_MEMORY_")}
    return {**kept, **more}


class Service:
    """A service on a new SQLite file, with a key if rights are given and with these options, until the block ends."""

    def __init__(self, *rights, options=()):
        self.rights = rights
        self.options = options

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        arguments = ["serve", "--listen", "127.0.0.1:0", *self.options]
        self.key = None
        if self.rights:
            keys = os.path.join(self.folder.name, "keys.toml")
            rights = [word for right in self.rights for word in ("--right", right)]
            new = [program(), "key", "new", "--keys", keys, "--name", "test", "--namespace", "test", *rights]
            self.key = subprocess.run(new, env=environment(), check=True, capture_output=True, text=True).stdout.strip()
            arguments += ["--keys", keys]
        self.log = open(os.path.join(self.folder.name, "log"), "w+", encoding="utf-8")
        store = "sqlite:" + os.path.join(self.folder.name, "chats.db")
        self.process = subprocess.Popen(
            [program(), *arguments],
            env=environment(CHAT_MEMORY_STORE=store),
            cwd=self.folder.name,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        first = self.process.stdout.readline()
        if not first.startswith("listening on "):
            self.__exit__()
            raise RuntimeError(f"the service did not start, but said {first!r}")
        self.url = first.removeprefix("listening on ").strip()
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.code = self.process.wait(PATIENCE_S)
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.log.seek(0)
            self.said = self.log.read()
            self.log.close()
            self.folder.cleanup()
