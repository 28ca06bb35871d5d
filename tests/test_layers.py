"""Imports run downwards: a room uses those on lower floors, and its own folder."""

import ast
from pathlib import Path

import jaxcollapse as jc

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "jaxcollapse"
# From the ground up; rooms on one line do not know one another.
FLOORS = [
    {"checks", "products"},
    {"decompositions", "draws", "machine", "metrics", "plugins", "schedules"},
    {"files", "inputs", "descent", "parameters", "theory", "datasets", "analysis", "point_metrics"},
    {"locks", "spelling", "workflow_checks"},
    {"workflows", "keys", "subsamples"},
    {"ring", "rows"},
    {"pools", "parts"},
    {"statistics"},
    {"task"},
    {"chain"},
    {"families", "mixture", "held_out"},
    {"publishers"},
    {"tasks", "registry"},
    {"sweeps"},
    {"optimum"},
    {"lm", "show", "testing"},
    {"bench"},
    {"cli"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def modules(folder=PACKAGE):
    return [path for path in folder.rglob("*.py") if "__pycache__" not in path.parts]


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path):
    """Modules of the package that a file imports, anywhere in it: also inside functions."""
    known = {name_of(other) for other in modules()}
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in known else node.module for name in inside]
        yield from (name for name in names if name.startswith("jaxcollapse."))


def test_every_room_has_a_floor():
    rooms = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in modules()}
    assert rooms - {"__init__", "__main__"} == set(FLOOR)


def test_imports_run_downwards():
    wrong = []
    for path in modules():
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for used in imported(path) if room in FLOOR else ():
            other = used.split(".")[1]
            if other != room and FLOOR[other] >= FLOOR[room]:
                wrong.append(f"{path.relative_to(PACKAGE)} imports {used}")
    assert not wrong


def test_tasks_do_not_know_one_another():
    for path in modules(PACKAGE / "tasks"):
        folder = path.relative_to(PACKAGE / "tasks").parts[0]
        for used in imported(path):
            if used.startswith("jaxcollapse.tasks."):
                assert used.split(".")[2] == folder, f"{path} imports {used}"


def test_no_module_is_in_a_circle():
    uses = {name_of(path): set(imported(path)) for path in modules()}
    # A folder's __init__ gathers what is in it.
    done, under_way = set(), []

    def visit(name):
        assert name not in under_way, " -> ".join([*under_way, name])
        if name in done:
            return
        under_way.append(name)
        for used in sorted(uses.get(name, ())):
            if used != name and not name.startswith(f"{used}."):
                visit(used)
        under_way.pop()
        done.add(name)

    for name in sorted(uses):
        visit(name)


def test_experiments_and_benchmarks_do_not_use_the_command_line():
    for folder in ("experiments", "benchmarks"):
        for path in modules(ROOT / folder):
            assert not [name for name in imported(path) if name.startswith("jaxcollapse.cli")], path


def test_no_public_name_hides_a_module():
    rooms = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in modules()}
    for name in jc.__all__:
        if name in rooms:
            assert getattr(jc, name).__name__ == f"jaxcollapse.{name}"
