"""The examples of docs/deploying.md, which the tests run."""

import pathlib
import re

DOCUMENT = pathlib.Path(__file__).parents[2] / "docs" / "deploying.md"


def example(after, language):
    """The first block in this language behind this text."""
    text = DOCUMENT.read_text(encoding="utf-8").split(after, 1)[1]
    return re.search(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)[1]
