"""Durable chat memory in an Amazon DynamoDB table, or in one file.

```python
import chat_memory

store = chat_memory.open("sqlite:chat.db")  # or "dynamodb://chats?region=eu-central-1"
store.append("trip", [{"role": "user", "content": "Where to?"}, {"role": "assistant", "content": "To Lisbon."}])
messages = store.recall("trip", turns=20).messages
```

Every call raises a `ChatMemoryError` if it fails; its class and `kind` say what can be done.
"""

import atexit
import os

from . import _native
from ._calls import KEEP
from ._connection import CredentialSource
from ._errors import (
    AccessDeniedError,
    ChatMemoryError,
    ConflictError,
    ContendedError,
    CorruptError,
    ErrorKind,
    InDoubtError,
    InvalidError,
    KeyReusedError,
    NotFoundError,
    ReadOnlyError,
    ThrottledError,
    TooLargeError,
    UnavailableError,
    UnsupportedError,
)
from ._native import random_session_id
from ._search import AsyncSearch, Search
from ._store import AsyncStore, Store, aopen, open
from ._types import (
    Appended,
    AppendedNew,
    Cleared,
    Cost,
    Credentials,
    Deleted,
    DeletedSession,
    Entry,
    Forked,
    ForkPlan,
    Format,
    FoundMessage,
    History,
    Message,
    Omitted,
    Origin,
    OwnerDeletion,
    Recall,
    Record,
    Redacted,
    SearchHit,
    SessionInfo,
    SessionPage,
    Snippet,
    Swept,
)

__version__ = _native.VERSION

__all__ = [
    "KEEP",
    "AccessDeniedError",
    "Appended",
    "AppendedNew",
    "AsyncSearch",
    "AsyncStore",
    "ChatMemoryError",
    "Cleared",
    "ConflictError",
    "ContendedError",
    "CorruptError",
    "Cost",
    "CredentialSource",
    "Credentials",
    "Deleted",
    "DeletedSession",
    "Entry",
    "ErrorKind",
    "ForkPlan",
    "Forked",
    "Format",
    "FoundMessage",
    "History",
    "InDoubtError",
    "InvalidError",
    "KeyReusedError",
    "Message",
    "NotFoundError",
    "Omitted",
    "Origin",
    "OwnerDeletion",
    "ReadOnlyError",
    "Recall",
    "Record",
    "Redacted",
    "Search",
    "SearchHit",
    "SessionInfo",
    "SessionPage",
    "Snippet",
    "Store",
    "Swept",
    "ThrottledError",
    "TooLargeError",
    "UnavailableError",
    "UnsupportedError",
    "aopen",
    "open",
    "random_session_id",
]

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_native.before_fork,
        after_in_parent=lambda: _native.after_fork(False),
        after_in_child=lambda: _native.after_fork(True),
    )
atexit.register(_native.shutdown)
