"""Puts chat memories through the same ordeals, and compares them in a table.

Any implementation can be examined, of any framework: it needs a `Subject`, which adds a turn and reads a session, and a function that opens
it. `chat_memory.testing.frameworks` has subjects for the interfaces of LangChain, the OpenAI Agents SDK, Google's ADK and others.

```python
# my_memory.py
from chat_memory.testing.frameworks import LangChainHistory

def mine(place):
    return LangChainHistory(lambda session: MyHistory(session, table=place.table, endpoint=place.endpoint))
```

```sh
python -m chat_memory.testing my_memory:mine --endpoint http://127.0.0.1:8000
```

The ordeals: 8 processes that write to one session; a network that loses requests and answers; a writer that is killed; a message of 1 MB; a
session of 2 MB; 20 kinds of content; the cost of a turn at the start of a session and later. DynamoDB Local stands for DynamoDB.
"""

from ._ordeals import KINDS, Damage, Report, damage, examine
from ._proxy import Proxy, Usage
from ._subject import Opener, Place, Said, Subject
from ._table import table

__all__ = ["KINDS", "Damage", "Opener", "Place", "Proxy", "Report", "Said", "Subject", "Usage", "damage", "examine", "table"]
