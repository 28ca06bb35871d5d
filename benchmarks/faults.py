"""Faults on purpose: processes killed, disks full, files torn, two writers; nothing lost or wrong.

    python benchmarks/faults.py            (a quarter of an hour on two cores)
    python benchmarks/faults.py --quick    (two minutes)

Sweeps, mixtures and chains of language models are killed (SIGKILL) at random moments, run into full
disks, find their files torn or changed, meet another process that writes the same, or lose one of
two processes that share the work. Then the same command is given again until it ends, and its
numbers are compared bit for bit with those of a run that nothing happened to; nothing else may be
left beside the result. Writes ``faults.json`` into ``--out``.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from processes import Kind, begun, ended, killed, run, small_disk

from jaxcollapse import checks, machine
from jaxcollapse.files import SUMS, check_output, whole_file
from jaxcollapse.lm import architectures
from jaxcollapse.sweeps import leftovers, results

GRID = "--dim 1 2 --num-samples 5 9 --seeds 40 --generations 40 --pool points"
SWEEP = f"run gaussian --workflow replace accumulate {GRID}"
MIXTURE = "mix gaussian --dim 1 2 3 --real 8 16 --synthetic 0 8 16 --seeds 40"
CHAINS = (
    "lm pretrain --model micro --num-samples 8 --seeds 1 --workflow accumulate --texts 0 "
    "--generations 2 --steps 4 --checkpoint-steps 2 --tokenizer bytes --context 12 --data"
)
MOST_TRIES = 120  # of giving one command again


@dataclasses.dataclass
class Counts:
    """What happened to one kind under one fault.

    Attributes:
      faults: that were made.
      told: of them, which the process told in one line (a killed one tells nothing).
      runs: commands given, all together.
      results: compared with that of a run that nothing happened to.
      wrong: numbers that differed.
      lost: results that did not come.
      left: files that were left beside them.
      untold: ends with a traceback, or without a line that names the file.
    """

    faults: int = 0
    told: int = 0
    runs: int = 0
    results: int = 0
    wrong: int = 0
    lost: int = 0
    left: int = 0
    untold: int = 0


# What is expected ---------------------------------------------------------------------------


@dataclasses.dataclass
class Campaign:
    """Everything that is tried.

    Attributes:
      folder: for all runs.
      kinds: by name.
      rng: of moments, files and bytes.
      expected: numbers of runs that nothing happened to, by kind.
      seconds: that such a run takes.
      names: of the files that it leaves.
    """

    folder: Path
    kinds: dict[str, Kind]
    rng: np.random.Generator
    expected: dict[str, Any] = dataclasses.field(default_factory=dict)
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    names: dict[str, set[str]] = dataclasses.field(default_factory=dict)

    def undisturbed(self) -> None:
        """Runs every kind twice, the second time with what was compiled."""
        for name, kind in self.kinds.items():
            for number in range(2):
                folder = self.fresh(f"{name}-undisturbed-{number}")
                start = time.monotonic()
                code, told = run(kind, folder)
                if code:
                    raise RuntimeError(f"{name} ended with {code}: {told}")
                self.seconds[name] = time.monotonic() - start
            self.expected[name] = results.load(folder / kind.result)
            self.names[name] = _names(folder)

    def fresh(self, name: str) -> Path:
        """An empty folder."""
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def finish(self, name: str, folder: Path, counts: Counts) -> None:
        """Gives the command until it ends, if its result is not there, and compares that."""
        kind = self.kinds[name]
        if not (folder / kind.result).exists():
            counts.runs += 1
            code, told = run(kind, folder)
            if code:
                counts.lost += 1
                print(f"{name} in {folder} ended with {code}: {told}", file=sys.stderr)
                return
        counts.results += 1
        if self.names[name] ^ _names(folder):
            # Killed once its result was there, before what it kept meanwhile was gone, which the
            # next command removes: the same again, which is refused; or before there was a figure.
            counts.runs += 1
            lacks = self.names[name] - _names(folder)
            code, told = run(kind, folder, more=[kind.draws_again] if lacks else [])
            if code != (0 if lacks else 2):
                counts.lost += 1
                print(f"{name}, whole already, ended with {code}: {told}", file=sys.stderr)
        found, expected = results.load(folder / kind.result), self.expected[name]
        for metric in expected.data_vars:
            if metric != results.RUN_SECONDS:
                same = np.array_equal(found[metric], expected[metric], equal_nan=True)
                counts.wrong += not same
        left = _names(folder) ^ self.names[name]
        if left:
            print(f"{name} left {sorted(left)}", file=sys.stderr)
        counts.left += len(left)
        shutil.rmtree(folder)

    def kills(self, name: str, wanted: int) -> Counts:
        """Kills a command at random moments, up to five times before it may end."""
        kind, counts = self.kinds[name], Counts()
        while counts.faults < wanted:
            folder = self.fresh(f"{name}-killed")
            for _ in range(int(self.rng.integers(1, 6))):
                if (folder / kind.result).exists():
                    break
                counts.runs += 1
                moment = self.rng.uniform(0.0, self.seconds[name])
                counts.faults += killed(kind, folder, moment) == -signal.SIGKILL
            self.finish(name, folder, counts)
        return counts

    def full_disks(self, name: str, wanted: int) -> Counts:
        """Runs on a disk that is too small, which then grows."""
        kind, counts, tries = self.kinds[name], Counts(), 0
        while counts.faults < wanted and tries < MOST_TRIES:
            tries += 1
            folder, share = self.fresh(f"{name}-full"), self.rng.uniform(0.02, 1.0)
            sizes = [path.stat().st_size for path in _files(self.whole(name))]
            counts.runs += 1
            if os.geteuid() == 0:  # who may make a file system
                with small_disk(folder, int(share * sum(sizes))):
                    code, told = run(kind, folder)
                    kept = self.fresh(f"{name}-grown")
                    shutil.copytree(folder, kept, dirs_exist_ok=True)
            else:
                code, told = run(kind, folder, int(share * max(sizes)))
                kept = folder
            if code:
                counts.faults += 1
                line = [x for x in told.splitlines() if x.startswith("jaxcollapse: ")]
                one = len(line) == 1 and str(folder) in line[0] and "; " in line[0]
                counts.told += one
                counts.untold += not one or "Traceback" in told
                if counts.untold:
                    print(f"{name}: {told}", file=sys.stderr)
            self.finish(name, kept, counts)
        return counts

    def whole(self, name: str) -> Path:
        """The folder of a run that nothing happened to."""
        return self.folder / f"{name}-undisturbed-1"

    def torn(self, name: str, wanted: int) -> Counts:
        """Tears or changes a file that is kept while a command runs, which is killed before."""
        kind, counts, tries = self.kinds[name], Counts(), 0
        while counts.faults < wanted and tries < MOST_TRIES:
            tries += 1
            folder = self.fresh(f"{name}-torn")
            counts.runs += 2
            moment = self.rng.choice([0.0, self.rng.uniform(0.0, 0.2) * self.seconds[name]])
            killed(kind, folder, moment, kind.work)
            found = [p for p in folder.glob(kind.work) if p.is_file() and _is_finished(p)]
            if (folder / kind.result).exists() or not found:
                continue
            path = found[self.rng.integers(len(found))]
            self._damage(path)
            counts.faults += 1
            code, told = run(kind, folder)
            counts.lost += code != 0
            # A file is named, or the one whose checksum was changed, if it is needed.
            named = f"{path}: not as it was written" in told or path.name == SUMS
            counts.told += named
            if not named:
                counts.untold += 1
                print(f"{name}: {path} was damaged: {told}", file=sys.stderr)
            self.finish(name, folder, counts)
        return counts

    def _damage(self, path: Path) -> None:
        content = bytearray(path.read_bytes())
        if self.rng.random() < 0.5 or not content:
            path.write_bytes(content[: self.rng.integers(max(1, len(content)))])
            return
        content[self.rng.integers(len(content))] ^= 1 << int(self.rng.integers(8))
        path.write_bytes(content)

    def shares(self, name: str, wanted: int) -> Counts:
        """Kills one of two processes that share a command, starts it again; the other goes on."""
        kind, counts = self.kinds[name], Counts()
        while counts.faults < wanted:
            folder = self.fresh(f"{name}-shared")
            command = [*kind.command, "--out", str(folder / kind.out), "--processes", "2"]

            def begin(process: int, command: list[str] = command) -> int:
                log = self.folder / f"{name}-shared-{process}.log"
                return begun([*command, "--patience", "1", "--process", str(process)], log)

            running, victim = [begin(0), begin(1)], int(self.rng.integers(2))
            time.sleep(self.rng.uniform(0.0, self.seconds[name]))
            os.kill(running[victim], signal.SIGKILL)
            died = ended(running[victim]) == -signal.SIGKILL
            again = died and not (folder / kind.result).exists()
            if again:
                running[victim] = begin(victim)
            codes = [ended(running[1 - victim]), *([ended(running[victim])] if again else [])]
            counts.faults += died
            counts.runs += 2 + again
            # One that had done its share already may be told that the result is there.
            fine = (0, 2) if (folder / kind.result).exists() else (0,)
            if any(code not in fine for code in codes):
                counts.lost += 1
                logs = self.folder.glob(f"{name}-shared-?.log")
                print(f"{name}: {codes}: {[log.read_text() for log in logs]}", file=sys.stderr)
            self.finish(name, folder, counts)
        return counts

    def pairs(self, name: str, wanted: int) -> Counts:
        """Two processes with one command, the second up to half a run later."""
        kind, counts = self.kinds[name], Counts()
        for _ in range(wanted):
            folder = self.fresh(f"{name}-pair")
            command = [*kind.command, "--out", str(folder / kind.out)]
            logs = [self.folder / f"{name}-pair-{number}.log" for number in range(2)]
            first = begun(command, logs[0])
            time.sleep(self.rng.choice([0.0, self.rng.uniform(0.0, 0.5) * self.seconds[name]]))
            codes = [ended(p) for p in (first, begun(command, logs[1]))]
            counts.faults += 1
            counts.runs += 2
            told = [log.read_text() for log in logs]
            losers = [text for text, code in zip(told, codes, strict=True) if code]
            # The later one may come when all is done.
            refusals = "one that nobody else writes", "which exists; choose another name"
            one = sorted(codes) == [0, 2] and any(text in losers[0] for text in refusals)
            counts.told += one
            counts.untold += not one
            if not one:
                print(f"{name}: {codes}: {told}", file=sys.stderr)
            self.finish(name, folder, counts)
        return counts


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _is_finished(path: Path) -> bool:
    """Whether a file is read when a run goes on; of what was being written, nothing is."""
    state = next((above for above in path.parents if "-step-" in above.name), None)
    if state is not None and not (state / SUMS).exists():
        return False
    generations = (above for above in path.parents if above.name.startswith("generation-"))
    if any(above.suffix == ".partial" for above in generations):
        return False
    return path.name[0] != "." and path.name != leftovers.NOTE


def _names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


# The whole ----------------------------------------------------------------------------------

# How many there are of each, of sweeps, mixtures and chains of language models.
FAULTS = {
    "kills": (85, 20, 8),
    "full_disks": (12, 6, 2),
    "torn": (12, 6, 2),
    "pairs": (14, 4, 2),
    "shares": (6, 4, 0),
}

MICRO = architectures.llama.config(8, 1, 2, 16, vocab_size=16, context=12)


def kinds(folder: Path) -> dict[str, Kind]:
    """What runs, by name; texts of language models are written into a folder."""
    architectures.add_config("micro", MICRO)
    text = folder / "numbers.txt"
    text.write_text("<|endoftext|>".join(f"{number}." for number in range(60)))
    chains = [*shlex.split(CHAINS), str(text)]
    return {
        "sweep": Kind(shlex.split(SWEEP), "a.nc", "a.nc", "a.nc.partial/*"),
        "mixtures": Kind(shlex.split(MIXTURE), "a.nc", "a.nc", "a.nc.partial/*", "--extend"),
        "chains of language models": Kind(chains, "run", "run/results.nc", "run/*/*/*/**/*"),
    }


def main(
    out: Path = Path(),
    quick: bool = False,
    only: tuple[str, ...] = tuple(FAULTS),
    seed: int = 0,
    overwrite: bool = False,
) -> None:
    """Makes faults, compares what comes of them, and writes the table.

    Args:
      out: the folder of faults.json.
      quick: a tenth of the faults.
      only: these of kills, full_disks, torn, pairs and shares; rows of the others stay in the file.
      seed: of moments, files and bytes.
      overwrite: replace an existing file.
    """
    path = out / "faults.json"
    check_output(path, (".json",), overwrite)
    for fault in only:
        checks.one_of("fault", fault, FAULTS)
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        folder = Path(name)
        # Compiled programs are kept between processes, as users' are.
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        campaign = Campaign(folder, kinds(folder), np.random.default_rng(seed))
        campaign.undisturbed()
        rows = []
        for fault in only:
            for kind, number in zip(campaign.kinds, FAULTS[fault], strict=True):
                make: Callable[[str, int], Counts] = getattr(campaign, fault)
                if not number:  # language models have no such processes
                    continue
                start = time.monotonic()
                counts = make(kind, max(1, number // 10) if quick else number)
                row = {"fault": fault, "kind": kind, **dataclasses.asdict(counts)}
                rows.append({**row, "seconds": round(time.monotonic() - start)})
                print(json.dumps(rows[-1]), flush=True)
                # Without the device: JAX must not begin to compute before all is forked.
                write(path, rows, {"seed": seed, **machine.versions(), **machine.commit()})
    write(path, rows, {"seed": seed, **machine.describe(), "settings": machine.settings()})
    print(table(rows))
    bad = sum(row[name] for row in rows for name in ("wrong", "lost", "left", "untold"))
    raise SystemExit(1 if bad else 0)


def write(path: Path, rows: list[dict[str, Any]], told: dict[str, Any]) -> None:
    """Writes rows, and keeps those in the file that are of other faults."""
    others = json.loads(path.read_text())["rows"] if path.exists() else []
    made = {(row["fault"], row["kind"]) for row in rows}
    rows = [*rows, *(row for row in others if (row["fault"], row["kind"]) not in made)]
    rows.sort(key=lambda row: list(FAULTS).index(row["fault"]))
    facts = {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **told,
        "columns": Counts.__doc__,
        "rows": rows,
    }
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(facts, indent=1) + "\n")


def table(rows: list[dict[str, Any]]) -> str:
    """Rows of counts as text."""
    heads = list(rows[0])
    cells = [heads, *([str(value) for value in row.values()] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(heads))]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]
    return "\n".join(lines)


if __name__ == "__main__":
    tyro.cli(main)
