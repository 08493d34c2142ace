"""Write docs/search-file.md and docs/architecture.svg anew (`make docs`)."""
from __future__ import annotations

from tests.conftest import REPOSITORY
from tests.documents import architecture, search_file

if __name__ == "__main__":
    for name, text in (("search-file.md", search_file.page()), ("architecture.svg", architecture.picture())):
        (REPOSITORY / "docs" / name).write_text(text, encoding="utf-8")
