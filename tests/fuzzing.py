"""Inputs of all kinds at random, of fixed seeds: commands, files and arguments, and who takes them.

Each ``*_case(number)`` makes one input from its number, gives it to whoever reads it, and fails
where that does anything but take it or refuse it in one line.
"""

import json
import re
import time
import warnings
from unittest import mock

import numpy as np

import jaxcollapse as jc
from jaxcollapse import inputs, schedules
from jaxcollapse.bench import record
from jaxcollapse.cli import asked, lm_options, optimum, sweeps
from jaxcollapse.cli import main as cli
from jaxcollapse.lm.text import conversations, reading, texts
from jaxcollapse.registry import TASKS, as_family
from jaxcollapse.show import figures, tables
from jaxcollapse.sweeps import chains, profiles, results
from jaxcollapse.workflows import Workflow, as_workflow

SECONDS = 10  # none takes longer

VALUES = [
    *["", "0", "-1", "1", "2", "3", "10", "0.5", "1.5", "-0.0", "1e-400", "1e400", "nan", "inf"],
    *["99999999999999999999", "1e9", "4294967296", "1_000", "0x10", "½", "٣", "1,2", "1;2", "1e5"],
    *[
        "5:8",
        "8:5",
        "2000000000",
        ":",
        "5:",
        ":5",
        "-3:2",
        "0:99999999999",
        "all",
        "None",
        "True",
        "[]",
        "{}",
    ],
    *["a", "=", "a=b", "dim=1", "dim=", "=1", "dim=1,1", "dim=x", "--", "-", "%s", "{0}", "[/b]"],
    *["replace", "accumulate", "replace:draw=", "window:keep=3", "window:keep=-1", "window:", ":"],
    *["fresh-real:share=nan", "fresh-real:share=0.1", "fixed-real:weight=0.9,0.5", "x" * 5000],
    *["accumulate:sizes=10,20", "accumulate:sizes=-1", "accumulate-subsample:draw=5:draw=6"],
    *["json:loads", "os:system", "no.module:x", "no.module:", "0.5*t^-0.25", "t^", "0*t^nan"],
    *["trace_ratio", "kl", "nll", "weight", "temperature", "bandwidth", "points", "statistics"],
    *["moons", "scott", "tophat", "authors", "corrected", "gaussian", "/", ".", "..", "~", "a\nb"],
    *["missing.nc", "missing.csv", "out.nc", "out.png", "\u202e", "\ud7ff", "é", "😀", "'", '"'],
]
COMMANDS = [
    *[f"{word} {task}" for word in ("run", "mix") for task in ("gaussian", "kde", "categorical")],
    *["run linear-regression", "best gaussian", "best kde", "best categorical", "best nothing"],
    *[
        "plot",
        "info",
        "profile",
        "explore",
        "merge",
        "describe",
        "list",
        "run",
        "mix no",
        "lm pretrain",
    ],
    *["lm finetune", "lm mix", "lm evaluate", "lm generate", "bench --compare", "", "help"],
]


class AcceptedError(Exception):
    """A command has been checked, and would run now."""


def _stop(*arguments, **options):
    raise AcceptedError


def rng_of(number, kind):
    """The random numbers of a case."""
    return np.random.default_rng([number, *kind.encode()])


# Commands --------------------------------------------------------------------------------------


def flags_of(command):
    """The options of a command; of some that are none."""
    word, _, rest = command.partition(" ")
    try:
        if word == "lm":
            kind = lm_options.options_class(cli.lm.COMMANDS[command][0])
        elif word in ("run", "mix", "best"):
            family = as_family(rest)
            command_class = {"run": sweeps.Run, "mix": sweeps.Mix, "best": cli.optimum.Best}[word]
            kind = asked.options_class(family, command_class, mixture=word == "mix")
        else:
            kind = {
                "plot": cli.files.Plot,
                "info": cli.files.Info,
                "merge": cli.files.Merge,
                "profile": cli.profile.Profile,
                "explore": cli.explore.Explore,
                "describe": cli.catalogue.Describe,
                "list": cli.catalogue.List,
            }[word]
    except (KeyError, ValueError):
        return ["out", "seeds", "no-such"]
    return [name.replace("_", "-") for name in kind.__dataclass_fields__]


def words_of(number, files):
    """A command at random."""
    rng = rng_of(number, "command")
    command = str(rng.choice(COMMANDS))
    pool = [*VALUES, *files]

    def value():
        return str(pool[rng.integers(len(pool))])

    words = [*command.split()]
    if command.split(" ")[0] in ("plot", "info", "profile", "explore", "merge", "bench"):
        words += [str(rng.choice(files)) if files and rng.random() < 0.7 else value()]
    elif command.startswith(("describe", "list")):
        words += [value()] * int(rng.random() < 0.9)
    known = flags_of(command)
    if "out" in known and rng.random() < 0.9:
        ending = {"plot": ".png", "profile": ".html", "explore": ".html", "best": ".json"}.get(
            command.split(" ")[0], ".nc"
        )
        words += ["--out", f"{{new}}{ending}"]
    if words[:1] == ["best"] and rng.random() < 0.8:
        words += ["--vary", str(rng.choice(["weight", "temperature", "bandwidth", "share"]))]
        words += ["--loss", str(rng.choice(["trace_ratio", "nll", "kl", "squared_error"]))]
    # Others that it would wait for there are none.
    known = [flag for flag in known if flag not in ("distributed", "coordinator")] or ["no-such"]
    for flag in rng.choice(known, size=min(len(known), rng.integers(4)), replace=False):
        words += [f"--{flag}", *[value() for _ in range(rng.integers(3))]]
    if rng.random() < 0.05:
        words.insert(int(rng.integers(len(words) + 1)), value())
    return words


def command_case(number, files, folder, capsys):
    """A command, up to where it would run: one line, or none."""
    words = [word.replace("{new}", str(folder / "new")) for word in words_of(number, files)]
    before = sorted(path.name for path in folder.iterdir())
    capsys.readouterr()
    stops = [
        mock.patch.object(sweeps, "run_share", _stop),
        mock.patch.object(sweeps, "_advise"),
        mock.patch.object(optimum.optimum, "descend", _stop, create=True),
        mock.patch.object(cli.lm, "run_and_save", _stop),
        mock.patch.object(cli.bench, "_measure", _stop),
        mock.patch("jaxcollapse.lm.host.use_devices", _stop),
        mock.patch("jaxcollapse.machine.use_cores_as_devices"),
        mock.patch.object(figures, "panels", _stop),
    ]
    began = time.perf_counter()
    code, raised = 0, None
    with mock.patch.dict("os.environ", {"HF_HUB_OFFLINE": "1"}):
        for stop in stops:
            stop.start()
        try:
            cli.main(words)
        except SystemExit as error:
            code = error.code or 0
        except AcceptedError:
            pass
        except BaseException as error:
            raised = error
        finally:
            for stop in reversed(stops):
                stop.stop()
    told = capsys.readouterr().err.splitlines()
    assert raised is None, f"{words}: {raised!r}"
    assert time.perf_counter() - began < SECONDS, f"{words}: too long"
    if code:
        assert code in (1, 2), words
        assert told, words
        assert told[-1].startswith("jaxcollapse: "), f"{words}: {told}"
        assert sum(line.startswith("jaxcollapse: ") for line in told) == 1, f"{words}: {told}"
    left = sorted(path.name for path in folder.iterdir())
    for name in set(left) - set(before):
        assert not re.search(r"unfinished|partial", name), f"{words} left {name}"
        (folder / name).unlink()
    return code


# Files -----------------------------------------------------------------------------------------


def mutated(rng, content):
    """Bytes with some of them cut, flipped, doubled, moved or replaced."""
    content = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        size = len(content)
        place = int(rng.integers(size + 1))
        how = rng.integers(7)
        if how == 0:
            del content[place:]
        elif how == 1:
            del content[place : place + int(rng.integers(1, 20))]
        elif how == 2 and size:
            content[place % size] ^= 1 << int(rng.integers(8))
        elif how == 3:
            content[place:place] = rng.bytes(int(rng.integers(1, 30)))
        elif how == 4:
            content[place:place] = content[: int(rng.integers(1, 200))]
        elif how == 5:
            tokens = [b"\xef\xbb\xbf", b"\x00" * 8, b"\xff\xfe", b"[" * 2000, b'"', b"9" * 400]
            content[place:place] = tokens[int(rng.integers(len(tokens)))]
        elif size:
            content[place % size :] = rng.bytes(size - place % size)
    return bytes(content)


def _arrays(path):
    inputs.numbers(path)
    inputs.numbers(path, vector=True)


def _texts(path):
    texts.read(path)


def _conversations(path):
    rows = reading.json_rows(reading.content(path), str(path), conversations.FIELDS)
    conversations._complete(rows, str(path))


def _results(path):
    dataset = results.load(path)
    tables.show(dataset, str(path))
    if not results.is_mixture(dataset):
        profiles.profile(dataset)


# By the names of files: who reads them.
READERS = {
    ".npy": _arrays,
    ".npz": _arrays,
    ".csv": _arrays,
    ".txt": _texts,
    ".jsonl": _texts,
    ".rows": _conversations,
    ".json": record.read,
    ".nc": _results,
}


def base_files(folder, result):
    """Whole files of every kind, by ending; ``result`` is a results file."""
    np.save(folder / "a.npy", np.arange(12.0).reshape(6, 2))
    np.savez(folder / "a.npz", np.arange(12.0).reshape(6, 2))
    (folder / "a.csv").write_text("1,2\n3,4.5\n-1e3,nan\n")
    (folder / "a.txt").write_text("one é\n<|endoftext|>\ntwo\r\n<|endoftext|>three")
    rows = [{"prompt": f"p{i}", "response": "é 😀", "text": "abc"} for i in range(5)]
    (folder / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "a.rows").write_text("\n".join(map(json.dumps, rows)))
    (folder / "a.json").write_text(json.dumps({"format": record.FORMAT, "cells": []}))
    (folder / "a.nc").write_bytes(result.read_bytes())
    return {ending: (folder / f"a{ending}").read_bytes() for ending in READERS}


def file_case(number, whole, folder):
    """A file with faults: read, or refused in one line that names it."""
    rng = rng_of(number, "file")
    endings = list(READERS)
    ending = endings[number % len(endings)]
    read = READERS[ending]
    # Sometimes what is in it is of another kind.
    content = whole[endings[int(rng.integers(len(endings)))] if rng.random() < 0.1 else ending]
    path = folder / f"faulty{ending}"
    path.write_bytes(mutated(rng, content))
    taken_or_refused(lambda: read(path), f"case {number}, {ending}")


def taken_or_refused(call, case):
    """Makes a call, which may refuse in the form of all refusals."""
    began, raised = time.perf_counter(), None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call()
    except Exception as error:
        raised = error
    if raised is not None:
        if not isinstance(raised, ValueError):
            raise AssertionError(f"{case}: {raised!r}") from raised
        assert re.search("expected .*, got .*; ", str(raised), re.S), f"{case}: {raised!r}"
    assert time.perf_counter() - began < SECONDS, f"{case}: too long"


# Arguments -------------------------------------------------------------------------------------

ARGUMENTS = [
    *[None, True, False, 0, 1, 2, 3, -1, 10**30, 0.5, 1.0, -0.5, 1e400, -1e400, float("nan")],
    *["", "a", "once", "kept", "fresh", "0.5", "0.5*t^-1", "nan", b"a", 1j, (), [], {}, set()],
    *[(0.5, 0.1), [1, 2], (1, -1), ("a",), {"a": 1}, [[1.0]], range(3), object(), print, type],
    *[np.float32(0.5), np.int8(-1), np.zeros(3), np.zeros((2, 2)), np.asarray("a"), np.nan],
    *[
        10,
        20,
        5,
        2**31 - 1,
        range(10**9),
        0.1,
        0.9,
        "replace",
        "moons",
        "scott",
        (10, 20),
        (0.9, 0.5),
        "points",
    ],
]
SMALL = {"dim": 2, "num_samples": 8, "bandwidth": 0.3, "num_outcomes": 4, "noise_variance": 0.1}


def argument_case(number):
    """A record, a schedule, a publisher or a task with arguments at random."""
    rng = rng_of(number, "argument")

    def value():
        return ARGUMENTS[rng.integers(len(ARGUMENTS))]

    def some(names, most=3):
        names = list(names)
        count = int(rng.integers(1, min(most, len(names)) + 1))
        return {str(name): value() for name in rng.choice(names, size=count, replace=False)}

    gaussian = jc.gaussian.task(dim=2, num_samples=8)
    names = [name for name in TASKS.names() if name not in ("language-model", "fine-tuning")]
    family = as_family(str(rng.choice(names)))
    point = {
        name: SMALL.get(name, p.how.grid[0]) for name, p in family.parameters.items() if p.is_axis
    }
    lists = {name: [one] for name, one in point.items()}

    def few(*usual):
        """Some of these, and some at random."""
        return [one if rng.random() < 0.5 else value() for one in usual]

    kinds = {
        "record": lambda: Workflow(**some(["keep", "real", "draw", "share", "weight", "sizes"])),
        "spelling": lambda: as_workflow(_spelling(rng)),
        "workflow": lambda: jc.window(value()),
        "real": lambda: jc.fresh_real(**some(["share", "weight"])),
        "decay": lambda: schedules.read_decay(str(value())),
        "tempered": lambda: jc.tempered(gaussian, value()),
        "truncated": lambda: jc.truncated(gaussian, value()),
        "verified": lambda: jc.verified(gaussian, value(), **some(["score", "error_rates"])),
        "curated": lambda: jc.curated(gaussian, value(), value()),
        "ensemble": lambda: jc.ensemble(gaussian, value(), **some(["learns_from"])),
        "seeds": lambda: jc.seed_keys(value()),
        "task": lambda: family.make({**point, **some(family.axes)}, {}),
        "options": lambda: family.make(
            point, some([n for n, p in family.parameters.items() if not p.is_axis])
        ),
        "plan": lambda: chains.plan(
            family, ["replace"], {**lists, **some(family.axes, 1)}, *few(2, 3), metrics=few(None)[0]
        ),
        "chain": lambda: jc.make_chain(gaussian, value(), value()),
    }
    kind = list(kinds)[number % len(kinds)]
    taken_or_refused(kinds[kind], f"case {number}, {kind}")


def _spelling(rng):
    names = ["replace", "accumulate", "window", "fixed-real", "accumulate-subsample", "x", ""]
    fields = ["keep", "real", "draw", "share", "weight", "sizes", "no", ""]
    parts = [str(rng.choice(names))]
    for _ in range(int(rng.integers(4))):
        parts.append(f"{rng.choice(fields)}{rng.choice(['=', '', '=='])}{rng.choice(VALUES)}")
    return ":".join(parts)
