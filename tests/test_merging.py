"""Results that were run apart, as one."""

import json
import re

import numpy as np
import pytest
from cases import mean_family
from grids import made, mixed, planned

import jaxcollapse as jc
from jaxcollapse.cli.main import main
from jaxcollapse.sweeps import chains, results

PARTS = {
    "seeds": (planned(seeds=6), [planned(seeds=range(2)), planned(seeds=range(2, 6))]),
    "seeds, the last first": (planned(), [planned(seeds=[3, 2]), planned(seeds=2)]),
    "seeds that overlap": (planned(), [planned(seeds=3), planned(seeds=range(1, 4))]),
    "workflows": (planned(), [planned(["replace"]), planned(["accumulate"])]),
    "workflows of other fields": (
        planned(["accumulate", "fresh-real:share=0.1", "fresh-real:share=0.5*t^-1"]),
        [
            planned(["accumulate"]),
            planned(["fresh-real:share=0.1"]),
            planned(["fresh-real:share=0.5*t^-1"]),
        ],
    ),
    "an axis": (planned(dim=[1, 2, 3]), [planned(dim=[1, 3]), planned(dim=[2])]),
    "corners": (planned(), [planned(dim=[1]), planned(["replace"]), planned(dim=[2])]),
    "one alone": (planned(), [planned()]),
    "real counts": (mixed(), [mixed([4]), mixed([2])]),
    "an axis of mixtures": (mixed(outcomes=[3, 5]), [mixed(outcomes=[3]), mixed(outcomes=[5])]),
}


@pytest.mark.parametrize(("whole", "parts"), PARTS.values(), ids=PARTS)
def test_parts_are_the_whole(whole, parts):
    expected, found = made(whole), jc.merge(map(made, parts))
    assert json.loads(found.attrs["configuration"]) | {"seeds": 0} == json.loads(
        expected.attrs["configuration"]
    ) | {"seeds": 0}
    assert {k: v.dims for k, v in found.variables.items()} == {
        k: v.dims for k, v in expected.variables.items()
    }
    ordered = found.sel(seed=expected["seed"])
    for name in set(expected.variables) - {results.RUN_SECONDS}:
        np.testing.assert_array_equal(ordered[name], expected[name], err_msg=str(name))
        assert found[name].attrs == expected[name].attrs
    assert found.attrs["title"] == expected.attrs["title"]
    assert results.axes_of(found) == results.axes_of(expected)


def test_what_is_added_and_what_is_listed():
    one, other = made(planned(seeds=2)), made(planned(seeds=range(2, 4)))
    other.attrs |= {"device": "8 x H100 (gpu)", "approximations": "sums at two bandwidths"}
    other.attrs["peak_memory_bytes"] = 2 * one.attrs["peak_memory_bytes"]
    found = jc.merge([one, other, one])
    assert found.attrs["run_seconds"] == 24.0
    assert found.attrs["programs"] == 6
    np.testing.assert_array_equal(found[results.RUN_SECONDS], np.full((2, 2, 1), 6.0))
    assert found.attrs["device"] == f"{one.attrs['device']}; 8 x H100 (gpu)"
    assert found.attrs["approximations"] == "sums at two bandwidths"
    assert found.attrs["peak_memory_bytes"] == other.attrs["peak_memory_bytes"]
    again = jc.merge([found, made(planned(seeds=[9]))])
    assert again.attrs["device"] == found.attrs["device"]


def test_details_are_of_every_point():
    one, other = made(planned(dim=[2])), made(planned(dim=[1]))
    one.attrs["details"], other.attrs["details"] = '["of 2"]', '["of 1"]'
    assert jc.merge([one, other]).attrs["details"] == '["of 1", "of 2"]'


def changed(part, **attrs):
    part.attrs |= attrs
    return part


def other_numbers(part):
    part["kl"][0, 1, 0, 2, 1] *= 1.1
    return part


REFUSED = {
    "no part": (lambda: [], "results to merge: expected at least one, got none"),
    "holes": (
        lambda: [made(planned(["replace"], 4)), made(planned(["accumulate"], 2))],
        "got nothing of accumulate dim=1 num_samples=5 (seeds 2, 3); accumulate dim=2 "
        "num_samples=5 (seeds 2, 3); run what is missing",
    ),
    "other numbers": (
        lambda: [made(planned()), other_numbers(made(planned()))],
        "kl of replace dim=2 num_samples=5 seed=2, which is in two parts",
    ),
    "options": (
        lambda: [made(planned(seeds=2)), made(planned(seeds=[2], ddof=1))],
        "options of results to merge: expected the same in all",
    ),
    "metrics": (
        lambda: [made(planned()), made(planned(metrics=["kl"]))],
        "got trace_ratio, kl in part 1 and kl in part 2",
    ),
    "generations": (lambda: [made(planned()), made(planned(generations=4))], "got 3 in part 1"),
    "versions": (
        lambda: [made(planned(seeds=2)), changed(made(planned(seeds=[2])), jax_version="9.9")],
        "9.9 in part 2; run both with one of them, or pass --any-version",
    ),
    "what is new": (
        lambda: [made(planned(seeds=2)), changed(made(planned(seeds=[2])), generator="rbg")],
        "generator of results to merge: expected the same in all, got None in part 1 and rbg",
    ),
    "chains and mixtures": (lambda: [made(planned()), made(mixed())], "in all, got"),
    "one name of two workflows": (
        lambda: [
            made(planned()),
            changed(
                made(planned(seeds=[9])),
                configuration=json.dumps(
                    {**planned(seeds=[9]).configuration, "records": [{"keep": 7}, {"keep": 8}]}
                ),
            ),
        ],
        "workflow replace of results to merge",
    ),
}


@pytest.mark.parametrize(("parts", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(parts, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        jc.merge(parts())


def test_a_task_that_was_edited_is_another(monkeypatch):
    def result(seeds):
        return made(chains.plan(mean_family(), "replace", {"num_samples": [4]}, seeds, 3))

    one = result([0])
    jc.merge([one, result([1])])
    monkeypatch.setattr(results, "source_digest", lambda function: "edited")
    with pytest.raises(ValueError, match="task_source of results to merge"):
        jc.merge([one, result([1])])


def test_other_versions_are_listed_where_they_may_differ():
    parts = [made(planned(seeds=2)), changed(made(planned(seeds=[2])), jax_version="9.9")]
    found = jc.merge(parts, any_version=True)
    assert found.attrs["jax_version"] == f"{parts[0].attrs['jax_version']}; 9.9"


def test_rounding_is_no_conflict():
    one, other = made(planned()), made(planned())
    other["kl"] *= 1 + 1e-6
    np.testing.assert_array_equal(jc.merge([one, other])["kl"], one["kl"])


def test_the_command(tmp_path, capsys):
    for name, seeds in (("a.nc", range(2)), ("b.nc", range(2, 4))):
        results.save(made(planned(seeds=seeds)), tmp_path / name)
    files = [str(tmp_path / name) for name in ("a.nc", "b.nc")]
    main(["merge", *files, "--out", str(tmp_path / "c.nc")])
    assert capsys.readouterr().out.endswith("gaussian: 4 seeds, 3 generations, of 2 files\n")
    np.testing.assert_array_equal(jc.load(tmp_path / "c.nc")["kl"], made(planned())["kl"])
    main(["info", str(tmp_path / "c.nc")])
    with pytest.raises(SystemExit):
        main(["merge", *files, "--out", str(tmp_path / "c.nc")])
    assert "which exists" in capsys.readouterr().err
