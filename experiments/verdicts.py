"""VERDICTS.md: what results say of published claims, from the experiments that were run.

python experiments/verdicts.py --results results --out experiments/VERDICTS.md
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import common

from jaxcollapse import checks
from jaxcollapse.files import whole_file

ABOUT = """# Verdicts on published claims

Made by `python experiments/verdicts.py` from the results of the experiments below, each of which
judges one claim by its own numbers: it *holds*, *holds with a difference*, or *does not hold*, of
the models and sizes that were run here. Intervals are of 95%, over seeds.
"""


def found(folder: Path) -> list[dict[str, Any]]:
    """What ``study.json`` of each experiment with a claim says, by its title.

    Raises:
      ValueError: there is none, or one is of a quick run, which judges nothing.
    """
    facts = [json.loads(path.read_text()) for path in sorted(folder.glob(f"*/{common.FACTS}"))]
    judged = [fact for fact in facts if "verdict" in fact]
    if not judged:
        raise checks.refusal(
            "verdicts", "results of experiments with a claim", f"none in {folder}", "run some"
        )
    for fact in judged:
        if fact["quick"]:
            raise checks.refusal(
                "verdicts", "results of whole runs", fact["command"], "run it without --quick"
            )
    return judged


def page(judged: list[dict[str, Any]]) -> str:
    """The verdicts as Markdown."""
    parts = [ABOUT]
    for fact in judged:
        parts.append(
            f"## {fact['title']}: {fact['verdict']}\n\n"
            f"*Claim.* {fact['claim']}\n\n*Found.* {fact['numbers']}\n\n"
            f"`{fact['command']}`: {fact['seen']}\n"
        )
    return "\n".join(parts)


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("results"), help="where results are")
    parser.add_argument(
        "--out", type=Path, default=Path("experiments/VERDICTS.md"), help="the page to write"
    )
    options = parser.parse_args(arguments)
    try:
        text = page(found(options.results))
    except ValueError as error:
        parser.error(str(error))
    with whole_file(options.out) as temporary:
        temporary.write_text(text)
    print(options.out)


if __name__ == "__main__":
    main()
