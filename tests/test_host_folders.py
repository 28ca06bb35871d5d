"""What is kept of a chain of language models, when a disk or a machine has failed."""

import types

import jax
import numpy as np
import pytest

from jaxcollapse import files
from jaxcollapse.lm import pretrained
from jaxcollapse.lm.decoder.training import State
from jaxcollapse.lm.host import folders
from jaxcollapse.lm.host.folders import ChainFolder, SampleFolder, StateFolder
from jaxcollapse.lm.text.documents import Documents

TOKENIZER = types.SimpleNamespace(eos=1, decode=str)


@pytest.fixture
def chain(tmp_path):
    """Three generations, without weights."""
    folder = ChainFolder(tmp_path / "seed-0", "none")
    for number in (1, 2, 3):
        finish(folder, number)
    return folder


def finish(folder, number, token=7):
    documents = Documents.from_lists([[0, token, number, 1], [0, token, 1]])
    folder.finish(number, {"nll": 1.0 + number}, documents, TOKENIZER, None)


@pytest.mark.parametrize("name", ["metrics.json", "documents.npz", "samples.jsonl", "SHA256SUMS"])
def test_a_generation_of_which_a_file_is_changed_is_made_again(chain, name, capsys):
    assert chain.finished(2) == {"nll": 3.0}
    path = chain.generation(2) / name
    path.write_bytes(path.read_bytes()[:-3])
    assert chain.finished(2) is None
    assert f"{chain.generation(2)}" in capsys.readouterr().err
    finish(chain, 2)
    assert chain.finished(2) == {"nll": 3.0}
    # It has the same documents as before, so what follows stays.
    kept = ["generation-01", "generation-02", "generation-03"]
    assert sorted(path.name for path in chain.path.iterdir()) == kept


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_weights_that_are_changed_are_named_and_those_that_went_are_not_missed(
    name, tmp_path, monkeypatch, capsys
):
    def save(folder, config, params, **ends):
        for file in ("model.safetensors", "config.json"):
            (folder / file).write_bytes(params)

    monkeypatch.setattr(folders.checkpoints, "save", save)
    tokenizer = types.SimpleNamespace(bos=0, save=lambda folder: None, **vars(TOKENIZER))
    folder = ChainFolder(tmp_path / "seed-0")
    documents = Documents.from_lists([[0, 7, 1]])
    for number in (1, 2):
        folder.finish(number, {"nll": 1.0}, documents, tokenizer, (None, b"weights"))
    assert not (folder.generation(1) / name).exists()
    assert folder.finished(1) == folder.finished(2) == {"nll": 1.0}
    path = folder.generation(2) / name
    path.write_bytes(b"weighty")
    with pytest.raises(ValueError, match=f"{name}.* torn or changed; give the command of its run"):
        pretrained.load(path.parent)
    assert folder.finished(2) is None
    assert f"{path}: not as it was written" in capsys.readouterr().err


def test_generations_after_one_that_became_another_go_too(chain, capsys):
    path = chain.generation(2) / "metrics.json"
    path.write_text("{}")
    assert chain.finished(2) is None
    finish(chain, 2, token=8)
    assert "generation-03: of other documents than there are now" in capsys.readouterr().err
    assert chain.finished(3) is None
    assert chain.finished(1) == {"nll": 2.0}


def test_a_state_that_is_torn_gives_way_to_the_one_before(tmp_path, capsys):
    def state(step):
        return State(*(np.full(3, step, np.float32) for _ in State._fields))._replace(
            step=np.int32(step)
        )

    like = jax.tree.map(jax.numpy.asarray, state(0))
    folder = StateFolder(tmp_path / "training")
    folder.save_state("a", state(1))
    whole = next(folder.path.iterdir())
    kept = whole.rename(tmp_path / "kept")
    folder.save_state("a", state(2))
    kept.rename(whole)
    assert int(folder.load_state("a", like).step) == 2
    torn = folder.path / "a-step-0000002"
    found = [p for p in torn.rglob("*") if p.is_file() and p.name != files.SUMS]
    largest = max(found, key=lambda p: p.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-1])
    assert int(folder.load_state("a", like).step) == 1
    assert f"{largest}: not as it was written" in capsys.readouterr().err
    assert not torn.exists()
    (whole / files.SUMS).unlink()  # killed before it was known to be whole
    assert folder.load_state("a", like) is None


def test_samples_that_are_torn_are_written_again(tmp_path):
    folder = SampleFolder(tmp_path)
    folder.save("a", 0, {"tokens": np.arange(4)})
    np.testing.assert_array_equal(folder.load("a", 0)["tokens"], np.arange(4))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    assert folder.load("a", 0) is None


@pytest.mark.parametrize("content", ["", "[1]", '{"nll": 2.0}', '{"nll": 2.5, "sha256": "%s"}'])
def test_metrics_of_a_mixture_that_are_not_as_they_were_written(tmp_path, content, capsys):
    path = tmp_path / "a.json"
    files.write_sealed_json(path, {"nll": 2.0, "share": float("nan")})
    assert files.read_sealed_json(path)["nll"] == 2.0
    path.write_text(content)
    assert files.read_sealed_json(path) is None
    assert f"{path}: not as it was written" in capsys.readouterr().err
    assert files.read_sealed_json(path) is None
