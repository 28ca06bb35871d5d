"""The analysis of mixtures on losses that were made up, so that the answers are known."""

import csv

import numpy as np
import pytest
from scipy import stats

from jaxcollapse.mixing import analysis, report
from jaxcollapse.mixing import figure as figures

xarray = pytest.importorskip("xarray")

REAL = np.asarray([128, 256, 512, 1024, 4096, 12000])
SYNTHETIC = np.asarray([0, 256, 1024, 4096, 16384, 65536])
N, M = np.meshgrid(REAL.astype(float), SYNTHETIC.astype(float), indexing="ij")
SHARE = N / (N + M)


def made_up(mean, noise=0.0, seeds=20, rng=0, **attrs):
    draws = np.random.default_rng(rng).standard_normal((*np.shape(mean), seeds))
    values = np.asarray(mean)[..., None] + noise * draws
    labels = {"long_name": "Loss", "units": "nats", "scale": "log"}
    return xarray.Dataset(
        {"nll": (("real", "synthetic", "seed"), values, labels)},
        {"real": REAL, "synthetic": SYNTHETIC, "seed": np.arange(seeds)},
        {"loss": "nll", **attrs},
    )


def test_planted_exponent_and_coefficients_are_found():
    loss = 2.0 + 5.0 * N**-0.4 - 0.1 * SHARE
    found = analysis.analyse(made_up(loss, noise=1e-3, seeds=50))
    one = found.regressions[-1]
    both = one.fits[-1]
    assert one.exponent == pytest.approx(0.4, abs=0.03)
    assert both.coefficients == pytest.approx([2.0, 5.0, -0.1], rel=0.12)
    assert both.r_squared > 0.999
    assert all(test.p < 1e-6 for test in one.tests)


def test_regressions_against_scipy():
    loss = 2.0 + 0.3 * np.log(N) + 0.2 * SHARE + np.random.default_rng(1).normal(0, 0.2, N.shape)
    logarithm = analysis.regress(REAL, SYNTHETIC, loss)[0]
    assert logarithm.transform == "log n"
    y = loss.ravel()
    alone = [stats.linregress(x.ravel(), y) for x in (np.log(N), SHARE)]
    for fit, expected in zip(logarithm.fits, alone, strict=False):
        assert fit.r_squared == pytest.approx(expected.rvalue**2)
        assert fit.coefficients == pytest.approx([expected.intercept, expected.slope])
    design = np.column_stack([np.ones(y.size), np.log(N).ravel(), SHARE.ravel()])
    beta = np.linalg.solve(design.T @ design, design.T @ y)
    residual = y - design @ beta
    variance = residual @ residual / (y.size - 3)
    t = beta / np.sqrt(variance * np.diag(np.linalg.inv(design.T @ design)))
    # For one coefficient F is the square of Student's t.
    for test, value in zip(logarithm.tests, t[1:], strict=True):
        assert test.f == pytest.approx(value**2)
        assert test.p == pytest.approx(2 * stats.t.sf(abs(value), y.size - 3))
        assert test.dof == (1, y.size - 3)


def test_p_values_are_uniform_where_a_term_has_no_effect():
    rng = np.random.default_rng(2)
    p = {analysis.REAL: [], analysis.SHARE: []}
    for _ in range(200):
        noise = rng.standard_normal(N.shape)
        for term, effect in ((analysis.REAL, SHARE), (analysis.SHARE, np.log(N))):
            tests = analysis.regress(REAL, SYNTHETIC, effect + noise)[0].tests
            p[term] += [test.p for test in tests if test.term == term]
    for values in p.values():
        assert len(values) == 200
        assert stats.kstest(values, "uniform").pvalue > 1e-3


def test_best_synthetic_count_is_covered_and_verdicts_are_right():
    """Two losses are close: the interval of the best holds the true one in 95 of 100."""
    mean = np.full(N.shape, 1.0)
    mean[:, 2], mean[:, 3], mean[:, 4], mean[:, 5] = 0.90, 0.905, 1.3, 1.0
    covered, wrong = [], 0
    for trial in range(60):
        found = analysis.analyse(made_up(mean, noise=0.05, seeds=40, rng=trial))
        for best in found.best:
            covered.append(best.low <= 1024 <= best.high)
            assert {1024, 4096} <= set(best.helps)
            assert 16384 in best.harms
            wrong += bool({256, 65536} & {*best.helps, *best.harms})
    assert np.mean(covered) > 0.95 - 5 * np.sqrt(0.05 * 0.95 / len(covered))
    assert wrong / len(covered) < 0.05 + 5 * np.sqrt(0.05 * 0.95 / len(covered))


def test_differences_are_paired():
    """What seeds share does not blur the difference of their cells."""
    dataset = made_up(np.where(M == 256, 0.99, 1.0), noise=1e-3, seeds=10)
    shared = np.random.default_rng(3).standard_normal(10)
    dataset = dataset.assign(nll=dataset["nll"] + xarray.DataArray(shared, dims="seed"))
    (first, *_) = analysis.analyse(dataset).best
    assert (first.synthetic, first.low, first.high) == (256, 256, 256)
    assert first.helps == (256,)
    values = dataset["nll"].values[0]
    expected = stats.ttest_rel(values[1], values[0])
    assert first.comparisons[0].p == pytest.approx(expected.pvalue)
    low, high = expected.confidence_interval(0.95)
    assert first.comparisons[0].low == pytest.approx(low)
    assert first.comparisons[0].high == pytest.approx(high)


def test_cells_that_are_not_finite_are_left_out_in_words():
    loss = 1.0 + N**-0.5 + 0.1 * SHARE
    loss[0, 0] = np.inf
    found = analysis.analyse(made_up(loss, noise=1e-3))
    assert found.num_cells == 35
    assert "left out: 1 of 36 cells" in found.left_out
    assert "128 real and 0 synthetic" in found.left_out
    assert found.best[0].comparisons == ()
    assert "left out: 1 of 36" in report.text(made_up(loss, noise=1e-3))


def test_one_seed_has_no_intervals_and_few_cells_no_regression():
    dataset = made_up(1.0 + N**-0.5, noise=0.1, seeds=1)
    found = analysis.analyse(dataset.isel(real=[0], synthetic=[0, 1]))
    assert found.regressions == ()
    assert found.best[0].comparisons == ()
    assert "Best synthetic count" in report.text(dataset)


def test_tables_cells_and_figure_of_any_labelled_result(tmp_path):
    dataset = made_up(1.0 + N**-0.5 - 0.1 * SHARE, noise=0.01)
    dataset = xarray.concat([dataset, dataset + 1], dim="model", combine_attrs="override")
    dataset = dataset.assign_coords(model=["a", "b"])
    dataset = dataset.transpose("seed", "synthetic", "model", "real")
    shown = report.text(dataset)
    for text in ("model = a", "model = b", "fitted", "F of share", "4096", "nats"):
        assert text in shown
    report.write_csv(dataset, tmp_path / "cells.csv")
    with (tmp_path / "cells.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 36
    cell = dataset["nll"].sel(model="b", real=256, synthetic=1024)
    row = next(
        r for r in rows if (r["point"], r["real"], r["synthetic"]) == ("model = b", "256", "1024")
    )
    assert float(row["mean_loss"]) == pytest.approx(float(cell.mean()))
    drawn = figures.figure(dataset)
    assert len(drawn.axes) == 4
    labels = [tick.get_text() for tick in drawn.axes[2].get_xticklabels()]
    assert labels == [str(count) for count in SYNTHETIC]
    drawn.savefig(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: (d, "loss"), "metric: expected one of nll, got 'loss'"),
        (lambda d: (d.expand_dims(model=["a", "b"]), None), "dimensions of nll: expected real"),
        (lambda d: (d.isel(real=0, drop=True), None), "dimensions of nll: expected real"),
    ],
)
def test_refused(change, message):
    dataset, metric = change(made_up(1.0 + N**-0.5, noise=0.1))
    with pytest.raises(ValueError, match=message):
        analysis.analyse(dataset, metric)
