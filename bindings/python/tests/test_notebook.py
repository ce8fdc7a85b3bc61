"""The outputs of the notebook are those of its cells.

To renew them: `CHAT_MEMORY_WRITE_NOTEBOOK=1 pytest tests/test_notebook.py`.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import io
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[1] / "examples" / "first_steps.ipynb"


async def run(cell: str, number: int, names: dict[str, Any]) -> list[dict[str, Any]]:
    """Runs a cell as Jupyter does. Returns its outputs: what it prints, and the value of its last line."""
    program, names["_"] = ast.parse(cell), None
    if isinstance(last := program.body[-1], ast.Expr):
        program.body[-1] = ast.parse(f"_ = {ast.unparse(last.value)}").body[0]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        if (rest := eval(compile(program, f"cell {number}", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)) is not None:
            await rest
    lines, value = printed.getvalue().splitlines(True), names["_"]
    data = {"data": {"text/plain": [repr(value)]}, "execution_count": number, "metadata": {}, "output_type": "execute_result"}
    return [{"name": "stdout", "output_type": "stream", "text": lines}] * bool(lines) + [data] * (value is not None)


async def run_all(cells: list[Any]) -> None:
    names: dict[str, Any] = {}
    for number, cell in enumerate((cell for cell in cells if cell["cell_type"] == "code"), 1):
        cell.update(execution_count=number, outputs=await run("".join(cell["source"]), number, names))


def test_outputs_are_those_of_the_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    asyncio.run(run_all(notebook["cells"]))
    renewed = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    if os.environ.get("CHAT_MEMORY_WRITE_NOTEBOOK"):
        NOTEBOOK.write_text(renewed, encoding="utf-8")
    assert renewed == NOTEBOOK.read_text(encoding="utf-8")
