"""What is drawn, on results that are made up."""

import json

import numpy as np
import pytest

import jaxcollapse as jc
from jaxcollapse import theory
from jaxcollapse.show import against, captions, figures, style

xarray = pytest.importorskip("xarray")
METRIC = "squared_error_of_mean"
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


def bars(axis):
    return [c for c in axis.containers if type(c).__name__ == "ErrorbarContainer"]


def test_a_band_of_a_single_point_is_a_bar():
    dataset = made_up(("replace", "accumulate")).isel(generation=[0], num_samples=[0])
    (axis, _) = figures.grid(dataset).axes
    low, mean, high = (float(part[0, 0, 0, 0]) for part in figures.band(dataset, METRIC, "mean"))
    (bar,) = bars(axis)
    (ends,) = bar.lines[2][0].get_segments()
    np.testing.assert_allclose(ends[:, 1], [low, high])
    assert low < mean < high
    several = figures.grid(made_up(("replace", "accumulate"))).axes[0]
    assert not bars(several)
    assert several.collections


def test_laws_are_in_the_dark_shade_of_their_line():
    figure = figures.grid(made_up(("replace", "accumulate")))
    for drawn, law in zip(lines(figure), lines(figure, dashed=True), strict=True):
        shade = np.asarray(drawn.get_color()[:3]) * style.SHADE
        np.testing.assert_allclose(law.get_color()[:3], shade)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["N = 10", "N = 20", style.LAW]


def test_names_have_colours_that_all_can_tell_apart():
    to_hex = pytest.importorskip("matplotlib.colors").to_hex
    assert [to_hex(c) for c in style.colours_of(["replace", "accumulate"])] == [*style.NAMED[:2]]
    numbers = style.colours_of([10, 20, 40])
    # Numbers get lighter in order.
    assert (np.diff(numbers[:, :3] @ [0.2126, 0.7152, 0.0722]) > 0).all()


@pytest.mark.parametrize(
    ("limits", "numbers"),
    [
        ((0.9, 12), ["1", "2", "5", "10"]),
        ((0.55, 1.1), ["0.6", "0.8", "1"]),
        ((0.5, 2000), ["1", "10", "100", "1000"]),
    ],
)
def test_numbers_of_logarithmic_axes_are_written_out(limits, numbers):
    figure, axes = figures.empty_panels(1, 1, (3.0, 2.0))
    axes[0, 0].set(yscale="log", ylim=limits)
    style.plain_numbers(axes)
    figure.draw_without_rendering()
    shown = [
        label.get_text()
        for label in axes[0, 0].get_yticklabels()
        if limits[0] <= label.get_position()[1] <= limits[1] and label.get_text()
    ]
    assert shown == numbers


def test_a_journals_column_has_panels_below_one_another():
    dataset = made_up(("replace", "accumulate", "fixed-real"))
    figure = figures.grid(dataset, width=style.COLUMN_WIDTH)
    assert figure.get_size_inches()[0] == style.COLUMN_WIDTH
    figure.draw_without_rendering()
    places = [axis.get_position() for axis in figure.axes]
    assert len({round(place.x0, 2) for place in places}) == 1
    assert len({axis.get_ylim() for axis in figure.axes}) == 1
    wide = figures.grid(dataset, width=style.PAGE_WIDTH)
    wide.draw_without_rendering()
    assert len({round(axis.get_position().y0, 2) for axis in wide.axes}) == 1


def test_several_results_are_rows_with_their_names():
    one = made_up(("replace", "accumulate")).assign_attrs(preset="corrected")
    named = {"a.nc": one, "b.nc": one.isel(seed=[0, 1])}
    figure = figures.grid(named)
    assert [axis.get_title().splitlines()[1] for axis in figure.axes] == ["a.nc"] * 2 + ["b.nc"] * 2
    assert figure.legends[0].get_title().get_text() == "mean of 3 or 2 seeds, 95% confidence"
    said = captions.caption(named, figure, "mean")
    assert "Squared error of the mean. Lines: mean over 3 or 2 seeds; bands" in said
    assert "Dashes: the mean known in closed form. Task gaussian, dim = 1, preset" in said
    other = one.isel(num_samples=[0])
    with pytest.raises(ValueError, match=r"same values of num_samples, \[10, 20\], got \[10\]"):
        figures.grid({"a": one, "b": other})
