"""Run the README's first example with an installed package, without a test runner."""

from __future__ import annotations

import ast
import asyncio
import re
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)[0]

if __name__ == "__main__":
    compiled = compile(BLOCK, str(README), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    names: dict[str, object] = {}
    result = eval(compiled, names)  # noqa: S307 - our own README
    if asyncio.iscoroutine(result):
        asyncio.run(result)
    home = Path(sys.modules["ares_notebook"].__file__ or "")
    sys.exit(f"{home} is no installed package" if "site-packages" not in home.parts else 0)
