"""Write docs/search-file.md, docs/commands.md and docs/architecture.svg anew (`make docs`)."""
from __future__ import annotations

from tests.conftest import REPOSITORY
from tests.documents import architecture, commands, search_file

if __name__ == "__main__":
    for name, text in (("search-file.md", search_file.page()), ("commands.md", commands.page()),
                       ("architecture.svg", architecture.picture())):
        (REPOSITORY / "docs" / name).write_text(text, encoding="utf-8")
