"""How far a run is, where nobody looks: lines of a log, and of JSON."""

import json

import pytest

from jaxcollapse.sweeps import progress
from jaxcollapse.sweeps.progress import Progress, RunLog, reported


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    return now


def report_all(clock, told, *states):
    with reported(told) as report:
        for seconds, done in states:
            clock[0] = 100.0 + seconds
            report(Progress("replace dim=1", done, 8.0))


def test_lines_every_half_minute_where_there_is_no_terminal(clock, capsys):
    report_all(clock, True, (10, 1.0), (31, 2.0), (45, 3.0), (62, 4.0), (80, 8.0))
    lines = [line.split(" ", 2)[2] for line in capsys.readouterr().err.splitlines()]
    assert lines == [
        "████░░░░░░░░░░░░  25% 31 s, 93 s left  replace dim=1",
        "████████░░░░░░░░  50% 62 s, 62 s left  replace dim=1",
        "████████████████ 100% 80 s, 0 s left  replace dim=1",
    ]


def test_run_log(clock, tmp_path, capsys):
    path = tmp_path / "log.jsonl"
    report_all(clock, RunLog(path), (10, 1.0), (31, 2.0), (80, 8.0))
    with pytest.raises(ValueError, match="broken"), reported(RunLog(path)):
        raise ValueError("broken")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    events = [line["event"] for line in lines]
    assert events == ["begun", "running", "running", "ended", "begun", "failed"]
    assert [line["done"] for line in lines[:4]] == [0.0, 0.25, 1.0, 1.0]
    assert lines[1] | {"time": ""} == {
        "event": "running",
        "time": "",
        "seconds": 31.0,
        "done": 0.25,
        "seconds_left": 93.0,
        "what": "replace dim=1",
    }
    assert lines[-1]["error"] == "ValueError: broken"


def test_a_log_that_cannot_be_written_is_named(tmp_path):
    missing = tmp_path / "missing" / "log.jsonl"
    with pytest.raises(OSError, match="bring the folder back"), reported(RunLog(missing)):
        pass
