"""The command line: ``jaxcollapse run | mix | best | plot | merge | profile | list | ... | lm``."""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from jaxcollapse import checks
from jaxcollapse.files import UnwrittenError
from jaxcollapse.registry import TASKS, as_family

try:
    import tyro  # noqa: F401
except ModuleNotFoundError:
    print(
        "jaxcollapse: the command line needs the extra 'sweep': pip install 'jaxcollapse[sweep]'",
        file=sys.stderr,
    )
    raise SystemExit(2) from None

from jaxcollapse.cli import (
    about,
    asked,
    bench,
    catalogue,
    compare,
    explore,
    files,
    lm,
    lm_options,
    optimum,
    profile,
    rerun,
    sweeps,
)

INTERRUPTED = "interrupted; a run goes on where it stopped when it is given again"
# Fine-tuning is driven from the host, by jaxcollapse lm.
FROM_THE_HOST = ("fine-tuning",)
# Slopes through all of whose training would not fit.
HEAVY = ("language-model",)
# Commands of a task: their options, how these are read, and what runs.
OF_TASKS: dict[str, tuple[Callable[..., type], Callable[..., Any], Callable[[Any], None]]] = {
    "run": (sweeps.run_options, sweeps.parse_run, sweeps.run),
    "mix": (sweeps.mix_options, sweeps.parse_mix, sweeps.mix),
    "best": (optimum.options, optimum.parse, optimum.best),
}


class Command(NamedTuple):
    """A command.

    Attributes:
      about: one line.
      parse: ``parse(arguments)``, its options.
      run: ``run(options)``.
      options: makes the dataclass of its options.
    """

    about: str
    parse: Callable[[list[str]], Any]
    run: Callable[[Any], None]
    options: Callable[[], type]


def commands() -> dict[str, Command]:
    """All commands, by their words."""
    found = {}
    for word, how in OF_TASKS.items():
        for name in TASKS.names():
            if name not in FROM_THE_HOST and not (word == "best" and name in HEAVY):
                found[f"{word} {name}"] = _of_task(name, f"{word} {name}", *how)
    plain: dict[str, tuple[type, Callable[[Any], None]]] = {
        "plot": (files.Plot, files.plot),
        "info": (files.Info, files.info),
        "merge": (files.Merge, files.merge),
        "compare": (compare.Compare, compare.compare),
        "rerun": (rerun.Rerun, lambda options: rerun.rerun(options, _parsed)),
        "profile": (profile.Profile, profile.profile),
        "explore": (explore.Explore, explore.explore),
        "bench": (bench.Bench, bench.bench),
        "list": (catalogue.List, catalogue.list_things),
        "describe": (catalogue.Describe, catalogue.describe),
        "env": (about.Env, about.env),
        "completion": (about.Completion, lambda options: about.completion(options, _options())),
    }
    found |= {name: _plain(name, *command) for name, command in plain.items()}
    return found | {name: _of_lm(name, *command) for name, command in lm.COMMANDS.items()}


def _plain(name: str, kind: type, run: Callable[[Any], None]) -> Command:
    about = (kind.__doc__ or "").strip().splitlines()[0]
    return Command(about, lambda words: asked.parsed(kind, name, words), run, lambda: kind)


def _of_lm(name: str, kind: type, run: Callable[[Any], None]) -> Command:
    about = (kind.__doc__ or "").strip().splitlines()[0]
    options = functools.partial(lm_options.options_class, kind)
    return Command(about, lambda words: lm_options.parsed(kind, name, words), run, options)


def _of_task(
    task: str,
    words: str,
    options: Callable[..., type],
    parse: Callable[..., Any],
    run: Callable[[Any], None],
) -> Command:
    about = catalogue.about_task(task)
    return Command(
        about,
        lambda arguments: parse(as_family(task), words, arguments),
        run,
        lambda: options(as_family(task)),
    )


def _options() -> Iterator[tuple[str, type]]:
    """The options of every command, but of those that need an extra that is not installed."""
    for words, command in commands().items():
        with contextlib.suppress(ImportError):
            yield words, command.options()


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point. Bad input ends in one line on standard error and exit code 2."""
    try:
        run, options = _parsed(sys.argv[1:] if arguments is None else list(arguments))
        run(options)
        sys.stdout.flush()
    except (ValueError, ImportError) as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail(INTERRUPTED, code=130)
    except BrokenPipeError:  # whoever reads has seen enough
        _print_no_more()
    except OSError as error:
        if error.filename is None:
            _print_no_more()
        fail(_where_and_why(error), code=1)


# What can be done about what cannot be read or printed; what is written says so itself.
REMEDIES = {
    errno.EACCES: "see that you may read it",
    errno.EISDIR: "name a file",
    errno.ENOSPC: "make room",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENAMETOOLONG: "give a shorter one",
    errno.ELOOP: "see where its links lead",
    errno.EIO: "see to the disk",
}


def _where_and_why(error: OSError) -> str:
    """The path of an error of the system, what went wrong there, and what to do."""
    if isinstance(error, UnwrittenError):
        return f"{error.filename}: {error.strerror}"
    if error.errno is None:  # of a library, which tells it in words of its own
        return str(error)
    where = "standard output" if error.filename is None else str(error.filename)
    remedy = REMEDIES.get(
        error.errno, "check the path" if error.filename else "check where it goes"
    )
    return f"{where}: {error.strerror}; {remedy}"


def _print_no_more() -> None:
    """Drops what is not printed yet, which cannot be."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def fail(message: str, code: int = 2) -> None:
    """Ends the process with one line."""
    print(f"jaxcollapse: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(code)


def parse(arguments: list[str]) -> Any:
    """The options of a command."""
    return _parsed(arguments)[1]


def _parsed(arguments: list[str]) -> tuple[Callable[[Any], None], Any]:
    """What a command runs, and its options."""
    arguments = _with_task(arguments)
    words = 2 if arguments[:1] and arguments[0] in (*OF_TASKS, "lm") else 1
    name, rest = " ".join(arguments[:words]), arguments[words:]
    if name.split(" ")[-1] in ("-h", "--help"):
        print(usage())
        raise SystemExit(0)
    if name == "--version":
        print(about.version())
        raise SystemExit(0)
    # Last, so that a module of the user's is found and none of a library is hidden by one.
    if "" not in sys.path:
        sys.path.append("")
    command = _command(name, arguments)
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors), _wide(rest):
            return command.run, command.parse(rest)
    except SystemExit as stop:
        if not stop.code:
            raise
        raise ValueError(f"{name}: {_in_one_line(errors.getvalue(), name)}") from None


def _with_task(arguments: list[str]) -> list[str]:
    """``run --task my.module:FAMILY ...`` as ``run my.module:FAMILY ...``; ``bench`` likewise."""
    if not arguments or arguments[0] not in (*OF_TASKS, "bench"):
        return arguments
    for index, word in enumerate(arguments):
        name, equals, value = word.partition("=")
        if name == "--task" and (equals or index + 1 < len(arguments)):
            task = value if equals else arguments[index + 1]
            rest = arguments[1:index] + arguments[index + (1 if equals else 2) :]
            return [arguments[0], task, *rest]
    return arguments


def _command(name: str, arguments: list[str]) -> Command:
    known = commands()
    if name in known:
        return known[name]
    word, _, task = name.partition(" ")
    if word in OF_TASKS and task:
        if ":" in task:
            return _of_task(task, name, *OF_TASKS[word])
        if task in FROM_THE_HOST:
            remedy = "see jaxcollapse lm finetune --help"
            raise checks.refusal("task", "one that this command runs", task, remedy)
        checks.one_of("task", task, [n for n in TASKS.names() if n not in FROM_THE_HOST])
    raise checks.refusal(
        "command", ", ".join(known), repr(name) if name else "none", "see jaxcollapse --help"
    )


@contextlib.contextmanager
def _wide(arguments: list[str]) -> Iterator[None]:
    """Columns enough for an error, which tyro breaks at their end, in the middle of words too."""
    if {"-h", "--help"} & set(arguments):
        yield
        return
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "10000"
    try:
        yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


def _in_one_line(box: str, name: str) -> str:
    """What tyro draws as a box of several lines, as one, which is easier to read in a log."""
    lines = re.sub(r"\x1b\[[0-9;]*m", "", box).splitlines()
    inside = [line.strip("│ ") for line in lines if not line.startswith(("╭", "╰"))]
    parts = [" ".join(part.split()) for part in re.split(r"\n(?:─+|-+)\n", "\n".join(inside))]
    if "╭" not in box:  # plain letters, with the title on a line of its own
        parts = parts[1:]
    told = [part for part in parts if not part.startswith(("Argument helptext", "For full"))]
    return "; ".join([*told, f"see jaxcollapse {name} --help"])


def usage() -> str:
    """The commands, a line each."""
    lines = [f"  jaxcollapse {name:21} {command.about}" for name, command in commands().items()]
    title = "Model collapse, simulated: sweeps, figures, results."
    return "\n".join(
        [title, "", *lines, "", "Options: jaxcollapse COMMAND --help; jaxcollapse --version"]
    )


if __name__ == "__main__":
    main()
