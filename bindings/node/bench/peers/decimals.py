"""LangChain Python's driver in the working folder, but its answers tell a Decimal from a number: {"decimal": "2"}."""

import json
import runpy

plain = json.dumps
json.dumps = lambda value, **_: plain(value, default=lambda number: {"decimal": str(number)})
runpy.run_path("driver.py", run_name="__main__")
