"""One process at a time writes what has a name; another one is told who does, and stops.

The lock is a file beside it, ``NAME.lock``, which one process alone can have made, also on network
file systems without locking. It says whose it is, and is touched as long as that one lives, so that
the lock of a process that was killed is taken over: at once on the same machine, and on others
after two minutes of silence.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from jaxcollapse import checks, files

BEAT = 10.0  # seconds between two signs of life
SILENCE = 120.0  # seconds after which a lock is nobody's
_held: dict[Path, _Lock] = {}


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """A block in which no other process writes ``path``; blocks of one thread may be nested.

    What killed processes had not finished of it is removed.

    Raises:
      ValueError: another one writes it, or has taken it over while this one was silent.
      files.UnwrittenError: its folder cannot be written.
    """
    lock = _held.get(path.absolute())
    if lock is not None and lock.is_mine():
        lock.check()
        yield
        return
    lock = _Lock(path)
    lock.take()
    _held[path.absolute()] = lock
    try:
        files.forget_unfinished(path.parent, path.name)
        yield
    finally:
        _held.pop(path.absolute(), None)
        lock.give_back()


def is_locked(path: Path) -> bool:
    """Whether a path has a lock, of a process that lives or of one that is gone."""
    return _lock_of(path).exists()


def _lock_of(path: Path) -> Path:
    return path.absolute().with_name(f"{path.name}.lock")


class _Lock:
    """The lock of a path, of the thread that makes it."""

    def __init__(self, path: Path):
        self.path = _lock_of(path)
        self._named = path
        self._maker = os.getpid(), threading.get_ident()
        now = datetime.datetime.now().astimezone().isoformat(" ", "minutes")
        facts = {"host": socket.gethostname(), "pid": os.getpid(), "since": now}
        self._mine = {**facts, "started": _started(os.getpid()), "place": _place()}
        self._mine["token"] = uuid.uuid4().hex
        self._ended = threading.Event()

    def is_mine(self) -> bool:
        """Whether it is of this thread; a forked process has none of its parent's."""
        return self._maker == (os.getpid(), threading.get_ident())

    def take(self) -> None:
        """Makes the file; refused where another process that lives has made it."""
        while not self._make():
            other = self._read()
            if other is None:
                continue  # given back meanwhile
            silent = self._silence()
            if not other and silent < 1:  # it is being written
                time.sleep(0.05)
                continue
            if _lives(other, silent):
                raise self._refusal(other, silent)
            self._take_away(other)
        threading.Thread(target=self._beat, name=f"lock of {self._named}", daemon=True).start()

    def check(self) -> None:
        """Refuses to go on if the lock is another's by now, as of a machine that was asleep."""
        other = self._read()
        if other != self._mine:
            raise self._refusal(other or {}, self._silence())

    def give_back(self) -> None:
        """Removes the file, unless it is another's by now."""
        self._ended.set()
        if self._maker[0] == os.getpid() and self._read() == self._mine:
            with contextlib.suppress(OSError):
                self.path.unlink()

    def _make(self) -> bool:
        with files.written_to(self.path):
            try:
                handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
            except FileExistsError:
                return False
            try:
                os.write(handle, json.dumps(self._mine).encode() + b"\n")
            except BaseException:
                self.path.unlink(missing_ok=True)
                raise
            finally:
                os.close(handle)
        return True

    def _read(self) -> dict[str, Any] | None:
        """What the file says; nothing while it is being written, None if there is none."""
        try:
            told = json.loads(self.path.read_text() or "{}")
        except FileNotFoundError:
            return None
        except ValueError:  # torn, by a machine that failed
            return {}
        return told if isinstance(told, dict) else {}

    def _silence(self) -> float:
        """Seconds since the last sign of life, by the clock of the file system."""
        with contextlib.suppress(OSError):
            last = self.path.stat().st_mtime
            with tempfile.TemporaryFile(dir=self.path.parent) as file:
                file.write(b".")
                file.flush()
                return max(0.0, os.fstat(file.fileno()).st_mtime - last)
        return 0.0

    def _take_away(self, other: dict[str, Any]) -> None:
        """Removes the lock of a process that is gone; one process at a time, and no later lock."""
        turn = self.path.with_name(f"{self.path.name}.turn")
        try:
            turn.mkdir()
        except FileExistsError:
            with contextlib.suppress(OSError):
                if time.time() - turn.stat().st_mtime > SILENCE:  # killed in its turn
                    turn.rmdir()
            time.sleep(0.05)
            return
        try:
            if self._read() == other:
                self.path.unlink(missing_ok=True)
        finally:
            turn.rmdir()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT):
            if self._read() != self._mine:
                return  # the next block to begin is told
            with contextlib.suppress(OSError):
                os.utime(self.path)

    def _refusal(self, other: dict[str, Any], silent: float) -> ValueError:
        who = f"process {other.get('pid', '?')} on {other.get('host', 'some machine')}"
        since = f"since {other['since']}" if "since" in other else "since just now"
        return checks.refusal(
            "output",
            "one that nobody else writes",
            f"{self._named}, which {who} writes {since} (last sign of life {silent:.0f} s ago)",
            "wait for it or end it, or choose another name",
        )


def _lives(other: dict[str, Any], silent: float) -> bool:
    """Whether the process that made a lock still runs, as far as it can be told from here."""
    if other.get("place") != _place() or os.name != "posix":
        return silent < SILENCE
    try:
        os.kill(other["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    started = _started(other["pid"])
    return started != "gone" and started == other["started"]


def _started(pid: int) -> str:
    """When a process started, as the system counts, so that another of its number is told apart.

    "gone" of one that has ended and waits for its parent to ask, "" where the system does not tell.
    """
    try:
        told = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "gone" if told[0] in "ZX" else told[19]


@cache
def _place() -> str:
    """Where numbers of processes mean the same: this machine, since it started, this container."""
    told = [socket.gethostname()]
    with contextlib.suppress(OSError):
        told.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        told.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(told)
