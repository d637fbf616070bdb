"""Text tables."""

from __future__ import annotations

from collections.abc import Iterable


def table(head: tuple[str, ...], body: Iterable[tuple[str, ...]], left: int) -> str:
    """Aligned columns, the first `left` of them to the left."""
    lines = [head, *body]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
