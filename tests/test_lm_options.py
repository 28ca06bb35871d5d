"""Options of language models: declared once, read as sentences, the same in every command."""

import ast
import dataclasses
import re
from pathlib import Path

import pytest

import jaxcollapse
from jaxcollapse.cli import asked, lm_options
from jaxcollapse.cli import main as cli
from jaxcollapse.lm import plans
from jaxcollapse.lm.setup import PARTS
from jaxcollapse.parameters import parameters_of

PACKAGE = Path(jaxcollapse.__file__).parent
OF_PARTS = {name for part in PARTS for name in parameters_of(part)}
COMMANDS = list(lm_options.DECLARED)


def names_in(path):
    """Names that a file gives to fields of classes and to arguments of functions with a default."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id
        elif isinstance(node, ast.FunctionDef):
            given = node.args.args[len(node.args.args) - len(node.args.defaults) :]
            yield from (argument.arg for argument in given)


def test_options_of_training_sampling_and_protocol_are_written_once():
    assert len(OF_PARTS) > 25
    above = [PACKAGE / "lm" / f"{name}.py" for name in ("language_model", "fine_tuning", "plans")]
    for path in (*(PACKAGE / "cli").glob("*.py"), *above):
        # Evaluation has a batch of its own, and real data a schedule.
        others = {"batch_size", "schedule"} if path.stem == "optimum" else {"batch_size"}
        assert not OF_PARTS & (set(names_in(path)) - others), path


@pytest.mark.parametrize("kind", COMMANDS)
def test_a_command_has_no_option_that_is_declared_elsewhere(kind):
    own = {field.name for field in dataclasses.fields(kind)}
    declared = set(lm_options.DECLARED[kind][0]())
    # What every sweep has, in its own spelling.
    assert own & declared <= {"seeds", "preset", "generations"}


@pytest.mark.parametrize("kind", COMMANDS)
def test_help_is_sentences(kind):
    for field in dataclasses.fields(lm_options.options_class(kind)):
        told = [extra.help for extra in getattr(field.type, "__metadata__", ()) if extra.help]
        for sentence in told:
            assert re.fullmatch(r"[A-Z].*\.", sentence), field.name
            assert len(sentence.split()) > 3, field.name


@pytest.mark.parametrize("words", ["lm pretrain", "lm finetune", "lm mix"])
def test_options_of_the_task_are_options_of_the_command(words):
    args = cli.parse([*words.split(), "--out", "a", "--learning-rate", "0.1", "--top-k", "3"])
    assert args.learning_rate == 0.1
    assert asked.options_of(args) == {"learning_rate": 0.1, "top_k": 3}
    assert asked.options_of(args, plans.load_base) == {}


def test_sweeps_and_mixtures_of_language_models_have_them_too():
    given = "--out a.nc --data-order shared --matched-compute --batch-size 8 --lora-targets qkv up"
    expected = {
        "data_order": "shared",
        "matched_compute": True,
        "batch_size": 8,
        "lora_targets": ("qkv", "up"),
    }
    for word in ("run", "mix"):
        args = cli.parse([word, "language-model", *given.split()])
        assert asked.options_of(args) == expected
        assert {"temperature", "param_dtype", "max_attempts", "schedule"} <= set(args.parameters)
    assert cli.parse(["run", "language-model", "--out", "a.nc"]).generations == 5


def test_a_choice_of_an_option_is_checked_as_it_is_declared():
    with pytest.raises(
        ValueError, match="schedule: expected one of constant, linear, cosine, got 'step'"
    ):
        cli.parse(["lm", "pretrain", "--out", "a", "--schedule", "step"])


def test_fine_tuning_publishes_conversations_unless_told_otherwise():
    fields = {f.name: f for f in dataclasses.fields(lm_options.options_class(lm_options.Finetune))}
    (extra,) = fields["format"].type.__metadata__
    assert extra.help.endswith("By default conversation.")
