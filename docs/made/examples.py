"""Examples in docstrings, which begin with ``>>>``, are code in the site."""

from __future__ import annotations

import re
from typing import Any

import griffe


class Examples(griffe.Extension):
    """Indents them, which Markdown takes for code rather than for a quotation."""

    def on_instance(self, *, obj: griffe.Object, **others: Any) -> None:
        """Of one module, class, function or attribute."""
        if obj.docstring:
            told = re.sub(r"^(>>>|\.\.\.)( |$)", r"    \1\2", obj.docstring.value, flags=re.M)
            obj.docstring.value = told
