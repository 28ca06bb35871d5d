"""Language models have floors of their own: imports run downwards, within them and out of them."""

import ast
from pathlib import Path

import jaxcollapse

PACKAGE = Path(jaxcollapse.__file__).parent
# From the ground up; rooms on one line do not know one another.
FLOORS = [
    {"decoder"},
    {"architectures", "hub"},
    {"checkpoints"},
    {"text", "base"},
    {"diversity", "host_rows"},
    {"arrays"},
    {"setup"},
    {"language_model"},
    {"fine_tuning", "tiny_base"},
    {"host"},
    {"plans", "pretrained"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def imported(path):
    """Modules that a file imports, anywhere in it, as ``jaxcollapse.a.b``."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_room_has_a_floor():
    rooms = {path.stem for path in (PACKAGE / "lm").iterdir() if not path.name.startswith("_")}
    assert rooms == set(FLOOR)


def test_imports_within_language_models_run_downwards():
    wrong = []
    for path in (PACKAGE / "lm").rglob("*.py"):
        room = path.relative_to(PACKAGE / "lm").parts[0].removesuffix(".py")
        for name in imported(path):
            parts = name.split(".")
            used = parts[2] if parts[:2] == ["jaxcollapse", "lm"] and len(parts) > 2 else room
            if used != room and FLOOR[used] >= FLOOR[room]:
                wrong.append(f"{path.relative_to(PACKAGE)} imports {used}")
    assert not wrong


def test_language_models_and_what_is_shown_do_not_know_one_another():
    for room, others in {"lm": ("show", "cli"), "show": ("lm", "cli")}.items():
        for path in (PACKAGE / room).rglob("*.py"):
            used = {
                name.split(".")[1] for name in imported(path) if name.startswith("jaxcollapse.")
            }
            assert not used & set(others), path
