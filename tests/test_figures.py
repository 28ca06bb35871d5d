"""What is drawn, on results that are made up."""

import json

import numpy as np
import pytest

import jaxcollapse as jc
from jaxcollapse import theory
from jaxcollapse.show import against, figures

xarray = pytest.importorskip("xarray")
SHARES = (0.1, 0.2, 0.4, 0.8, 1.0)


def made_up(workflows=tuple(f"fresh-real:share={share}" for share in SHARES)):
    """Metrics that tell where they stand: their seed's number, and 10 times their workflow's."""
    records = [jc.workflows.as_workflow(name) for name in workflows]
    shape = len(workflows), 1, 2, 3, 4
    values = np.zeros(shape) + np.arange(3)[:, None]
    values += 10.0 * np.arange(len(workflows))[:, None, None, None, None]
    dims = ("workflow", "dim", "num_samples", "seed", "generation")
    told = {"long_name": "Squared error of the mean", "units": "1", "scale": "linear"}
    shares = [np.nan if r.share is None else float(np.squeeze(r.share)) for r in records]
    configuration = {
        "axes": {"dim": [1], "num_samples": [10, 20]},
        "workflow": [r.name for r in records],
        "records": [r.describe() for r in records],
    }
    return xarray.Dataset(
        {"squared_error_of_mean": (dims, values, told)},
        {
            "workflow": [r.name for r in records],
            "dim": [1],
            "num_samples": ("num_samples", [10, 20], {"symbol": "N"}),
            "generation": np.arange(1, 5),
            "share": ("workflow", shares),
        },
        {"task": "gaussian", "configuration": json.dumps(configuration), "options": "{}"},
    )


def lines(figure, dashed=False):
    (axis, *_) = figure.axes
    return [line for line in axis.lines if (line.get_linestyle() == "--") == dashed]


def test_many_shares_are_drawn_against_them():
    dataset = made_up()
    assert against.natural(dataset) == "share"
    assert against.natural(dataset.isel(workflow=slice(4))) is None
    figure = against.against(dataset, "share")
    assert len(figure.axes) == 1
    assert "Share of real rows, generation 4" in figure.axes[0].get_xlabel()
    assert [line.get_label() for line in lines(figure)] == ["N = 10", "N = 20"]
    for line in lines(figure):
        np.testing.assert_allclose(line.get_xdata(), SHARES)
        np.testing.assert_allclose(line.get_ydata(), 1 + 10 * np.arange(5))
    known, _ = lines(figure, dashed=True)
    law = [theory.gaussian_mean_error(jc.fresh_real(share=s), [4], 10)[0] for s in SHARES]
    np.testing.assert_allclose(known.get_ydata(), law)


def test_an_axis_is_drawn_against_with_a_colour_for_each_workflow():
    dataset = made_up(("replace", "accumulate", "fresh-real:share=0.5", "fresh-real:share=0.2"))
    figure = against.against(dataset, "num_samples", hue="workflow", statistic="median")
    drawn = lines(figure)
    assert [line.get_label() for line in drawn] == dataset["workflow"].values.tolist()
    for place, line in enumerate(drawn):
        np.testing.assert_allclose(line.get_xdata(), [10, 20])
        np.testing.assert_allclose(line.get_ydata(), 1 + 10.0 * place)
    # Of the workflows those that have a share, by it.
    (line, _) = lines(against.against(dataset, "share"))
    np.testing.assert_allclose(line.get_xdata(), [0.2, 0.5])
    np.testing.assert_allclose(line.get_ydata(), [31, 21])


def test_workflows_are_told_apart_by_colours_in_one_column():
    figure = figures.grid(made_up(), hue="workflow")
    assert len(figure.axes) == 2  # a row each N
    assert [line.get_label() for line in lines(figure)] == made_up()["workflow"].values.tolist()


@pytest.mark.parametrize("x", ["weight", "workflow", "generations"])
def test_what_is_no_number_is_not_drawn_against(x):
    with pytest.raises(ValueError, match="an axis of numbers or a workflow's number, dim, num_sam"):
        against.against(made_up(), x)
    with pytest.raises(ValueError, match="hue: expected one of workflow, dim, num_samples, got"):
        against.against(made_up(), "share", hue="colour")
