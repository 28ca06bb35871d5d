"""What no workflow can be, as its record is made, nor return, as it chooses."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

from jaxcollapse import checks


def check_numbers(workflow: Any, given: str) -> None:
    """Refuses a share, a weight or sizes where nothing has them.

    Args:
      workflow: it has some of them.
      given: which.

    Raises:
      ValueError: it draws rows or chooses them, or its models never see real and synthetic ones.
    """
    if workflow.draw is not None:
        got = f"draw={workflow.draw}"
        raise checks.refusal(given, "a workflow that takes all rows", got, "leave out draw")
    if workflow.chooses:
        what = f"workflow {type(workflow).__name__}"
        raise checks.refusal(what, "its choose alone", given, "say it in choose")
    if given != "sizes" and workflow.keep == 1 and not workflow.real_apart:
        raise checks.refusal(
            given,
            "a workflow whose models see real and synthetic rows together",
            "replace, under which none does",
            "choose fixed-real, fresh-real, window:keep=2 or accumulate",
        )


def check_class(workflow: Any, base: type) -> None:
    """Refuses a workflow of a subclass that would not be what its author means.

    Args:
      workflow: of the subclass.
      base: of all workflows.

    Raises:
      ValueError: its fields are none, its method is never called, or it also draws rows.
    """
    kind = type(workflow)
    what = f"workflow {kind.__name__}"
    fields = {field.name for field in dataclasses.fields(workflow)}
    hints = inspect.get_annotations(kind)
    lost = [n for n in hints if n not in fields and "ClassVar" not in str(hints[n])]
    if lost:
        decorate = "decorate the class with @dataclasses.dataclass(frozen=True)"
        raise checks.refusal(what, f"a field {lost[0]}", "an attribute of the class", decorate)
    own = [n for n, f in vars(kind).items() if callable(f) and n[0] != "_"]
    others = [n for n in own if not hasattr(base, n)]
    if others and not workflow.chooses:
        got = f"a method {others[0]}, which is never called"
        raise checks.refusal(what, "a method choose", got, "rename it")
    if workflow.chooses and workflow.draw is not None:
        got, remedy = f"draw={workflow.draw}", "leave it out, and draw in choose"
        raise checks.refusal(what, "no draw beside its choose", got, remedy)


def with_state(chosen: Any, before: Any) -> tuple[Any, Any]:
    """What a ``choose`` with a state returned: weights, and a state like the one before."""
    if not (isinstance(chosen, tuple) and len(chosen) == 2):
        got, remedy = checks.described(chosen), "return both, or take key and rows alone"
        raise checks.refusal("choose(key, rows, state)", "(weights, state)", got, remedy)
    ours, theirs = map(checks.described_tree, (before, chosen[1]))
    if ours != theirs:
        remedy = "keep its structure, shapes and types"
        raise checks.refusal(
            "state that choose returns", f"one like the first, {ours}", theirs, remedy
        )
    return chosen
