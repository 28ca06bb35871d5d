"""``jaxcollapse rerun FILE``: a result made again, and whether it is the same."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import re
import shlex
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tyro

from jaxcollapse import checks
from jaxcollapse.cli import asked, sweeps
from jaxcollapse.files import check_output
from jaxcollapse.parameters import Option
from jaxcollapse.sweeps import rerun as again
from jaxcollapse.sweeps import results
from jaxcollapse.sweeps.run import run_and_save

Parsed = Callable[[list[str]], tuple[Callable[[Any], None], Any]]


@dataclasses.dataclass(frozen=True)
class Rerun:
    """Make a result again, and say whether every number is bit-equal or how far they are apart.

    What differs of versions, device and settings is told too. It ends with exit code 1 where a
    number differs.
    """

    file: tyro.conf.Positional[Path]
    """The results file. Files that its command reads are found in this folder or beside it."""
    out: Path | None = None
    """Keep what is made again: a results file (.nc), or of language models the folder of a run."""
    overwrite: bool = False
    """Replace existing results."""


def rerun(args: Rerun, parsed: Parsed) -> None:
    """``jaxcollapse rerun FILE``.

    Args:
      args: its options.
      parsed: what a command runs, and its options, from its words.
    """
    with results.lazily(args.file) as dataset, tempfile.TemporaryDirectory() as folder:
        lines = re.split(r"\n(?=jaxcollapse )", dataset.attrs.get("command", ""))
        words = shlex.split(lines[0])[1:]
        of_folder = words[:1] == ["lm"]
        if args.out is not None and not of_folder:
            check_output(args.out, (".nc",), args.overwrite)
        out = Path(folder, "run" if of_folder else args.file.name)
        out = out if args.out is None else args.out
        if of_folder:
            made = _run_in_folder(dataset, lines, out, args, parsed)
        else:
            made = _run(dataset, words, out, args, parsed)
        with made:
            same = _tell(args.file, dataset, made)
    if not same:
        raise SystemExit(1)


def _run(dataset: Any, words: list[str], out: Path, args: Rerun, parsed: Parsed) -> Any:
    """A sweep, as its file tells it; what a file does not hold is in the files of its command."""
    given = _with_files(parsed(words)[1], args.file) if words else None
    plan = again.plan_of(
        dataset,
        None if given is None else given.family,
        {} if given is None else _from_files(given),
        None if given is None else sweeps.in_bytes(given.memory_limit),
    )
    sweeps.use_devices(plan.family, plan.seeds.size)
    plan = dataclasses.replace(plan, command=dataset.attrs.get("command", ""))
    return run_and_save(plan, out, args.overwrite)


def _with_files(given: Any, file: Path) -> Any:
    """The options of a command whose files are found, in this folder or beside a file."""
    found = {}
    for name, parameter in given.parameters.items():
        path = getattr(given, name)
        if not (isinstance(parameter.how, Option) and parameter.how.file and path is not None):
            continue
        beside = file.parent / path.name
        if not path.exists() and not beside.exists():
            where = "one in this folder or beside the results"
            raise checks.refusal(f"--{name} of the command", where, str(path), "copy it there")
        found[name] = path if path.exists() else beside
    return dataclasses.replace(given, **found)


def _from_files(given: Any) -> dict[str, Any]:
    """The options of a command that it reads from files."""
    arrays = asked.options_of(given)
    return {n: v for n, v in arrays.items() if isinstance(getattr(given, n, None), Path)}


def _run_in_folder(dataset: Any, lines: list[str], out: Path, args: Rerun, parsed: Parsed) -> Any:
    """Language models, by their command, which reads their text again."""
    if len(lines) > 1:
        number = f"{len(lines)} of them"
        raise checks.refusal("command of the results", "one", number, "run each of them again")
    run, given = parsed([*shlex.split(lines[0])[1:], "--out", str(out)])
    with contextlib.redirect_stdout(io.StringIO()):  # its texts and tables
        run(dataclasses.replace(given, log=None, overwrite=args.overwrite))
    made = results.lazily(out / args.file.name)
    told, now = (json.loads(each.attrs["configuration"]) for each in (dataset, made))
    again.check_same(told, now)
    return made


def _tell(file: Path, dataset: Any, made: Any) -> bool:
    """Prints how far both are apart; whether they are the same bit for bit."""
    found = again.apart(dataset, made)
    numbers = sum(variable.numbers for variable in found)
    differ = sum(variable.differ for variable in found)
    of = f"{numbers:,} numbers of {len(found)} variables"
    told = f"all {of} are bit-equal" if not differ else f"{differ:,} of {of} differ"
    print(f"{file}: made again, {told}")
    for variable in found:
        if variable.differ:
            print(f"  {variable.variable}: {variable}")
    for line in again.surroundings_apart(dataset, made):
        print(f"  other {line}")
    return not differ
