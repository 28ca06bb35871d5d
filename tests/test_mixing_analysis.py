"""The analysis of mixtures on losses that were made up, so that the answers are known."""

import csv

import numpy as np
import pytest
from scipy import optimize, stats

from jaxcollapse.analysis import mixtures, synthetic_counts
from jaxcollapse.show import mixture_figures as figures
from jaxcollapse.show import mixture_tables

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
    found = mixtures.analyse(made_up(loss, noise=1e-3, seeds=50))
    one = found.regressions[-1]
    both = one.fits[-1]
    assert both.exponent == pytest.approx(0.4, abs=0.03)
    assert both.coefficients == pytest.approx([2.0, 5.0, -0.1], rel=0.12)
    assert both.r_squared > 0.999
    assert all(test.p < 1e-6 for test in one.tests)
    assert len(one.intervals) == 3
    for (low, high), planted in zip(one.intervals, (5.0, -0.1, 0.4), strict=True):
        assert low < planted < high
        assert high - low < 0.2 * abs(planted)


@pytest.mark.parametrize("exponent", [0.05, 0.77, 3.0])
def test_a_fitted_exponent_is_the_best_one(exponent):
    loss = N**-exponent + 0.3 * SHARE + np.random.default_rng(4).normal(0, 1e-3, N.shape)
    *_, one = mixtures.regress(REAL, SYNTHETIC, loss[..., None])
    assert one.intervals is None
    for fit, shares in ((one.fits[0], []), (one.fits[-1], [SHARE.ravel()])):

        def residual(a, shares=shares):
            design = np.column_stack([np.ones(N.size), N.ravel() ** -a, *shares])
            return np.linalg.lstsq(design, loss.ravel(), rcond=None)[1][0]

        bounds = mixtures.EXPONENTS
        best = optimize.minimize_scalar(residual, bounds=bounds, method="bounded")
        assert fit.residual < best.fun * (1 + 1e-4)


def test_intervals_hold_where_cells_of_a_seed_share_data(monkeypatch):
    """Cells of a seed share the error of their real count: F-tests of it then reject too often."""
    monkeypatch.setattr(synthetic_counts, "RESAMPLES", 400)
    real, synthetic, seeds, trials = REAL[:3], SYNTHETIC[:4], 30, 200
    n, m = np.meshgrid(real, synthetic, indexing="ij")
    rng = np.random.default_rng(6)
    rejected, missed = [], []
    for _ in range(trials):
        shared = rng.standard_normal((3, 1, seeds))
        noise = shared + 0.3 * rng.standard_normal((3, 4, seeds))
        losses = 0.5 * (n / (n + m))[..., None] + noise
        logarithm = mixtures.regress(real, synthetic, losses)[0]
        rejected.append(logarithm.tests[0].p < 0.05)
        low, high = logarithm.intervals.T
        planted = np.asarray([0, 0.5])
        missed.append((planted < low) | (planted > high))
    assert np.mean(rejected) > 0.25
    # A bootstrap's quantiles are a normal law's, with squares over S in place of S - 1.
    expected = 2 * stats.t.sf(1.96 * np.sqrt((seeds - 1) / seeds), seeds - 1)
    rate = np.mean(missed, axis=0)
    assert (np.abs(rate - expected) < 5 * np.sqrt(expected * (1 - expected) / trials)).all()


def test_regressions_against_scipy():
    loss = 2.0 + 0.3 * np.log(N) + 0.2 * SHARE + np.random.default_rng(1).normal(0, 0.2, N.shape)
    logarithm = mixtures.regress(REAL, SYNTHETIC, loss[..., None])[0]
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


def test_p_values_are_uniform_where_a_term_has_no_effect_and_cells_are_independent():
    rng = np.random.default_rng(2)
    p = {mixtures.REAL: [], mixtures.SHARE: []}
    for _ in range(200):
        noise = rng.standard_normal(N.shape)
        for term, effect in ((mixtures.REAL, SHARE), (mixtures.SHARE, np.log(N))):
            losses = (effect + noise)[..., None]
            tests = mixtures.regress(REAL, SYNTHETIC, losses)[0].tests
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
        losses = made_up(mean, noise=0.05, seeds=40, rng=trial)["nll"].values
        for best in mixtures.best_counts(REAL, SYNTHETIC, losses):
            low, high = best.interval
            covered.append(low <= 1024 <= high)
            assert {1024, 4096} <= set(best.helps)
            assert 16384 in best.harms
            wrong += bool({256, 65536} & {*best.helps, *best.harms})
            for one in best.comparisons:
                assert (one.low <= 0 <= one.high) == (one.verdict == "-")
    assert np.mean(covered) > 0.95 - 5 * np.sqrt(0.05 * 0.95 / len(covered))
    assert wrong / len(covered) < 0.05 + 5 * np.sqrt(0.05 * 0.95 / len(covered))


def test_differences_are_paired():
    """What seeds share does not blur the difference of their cells."""
    dataset = made_up(np.where(M == 256, 0.99, 1.0), noise=1e-3, seeds=10)
    shared = np.random.default_rng(3).standard_normal(10)
    dataset = dataset.assign(nll=dataset["nll"] + xarray.DataArray(shared, dims="seed"))
    (first, *_) = mixtures.analyse(dataset).best
    assert (first.synthetic, first.interval) == (256, (256, 256))
    assert first.helps == (256,)
    values = dataset["nll"].values[0]
    expected = stats.ttest_rel(values[1], values[0])
    assert first.comparisons[0].p == pytest.approx(expected.pvalue)
    low, high = expected.confidence_interval(1 - 0.05 / 5)
    assert first.comparisons[0].low == pytest.approx(low)
    assert first.comparisons[0].high == pytest.approx(high)


def test_cells_that_are_not_finite_are_left_out_in_words():
    loss = 1.0 + N**-0.5 + 0.1 * SHARE
    loss[0, 0] = np.inf
    found = mixtures.analyse(made_up(loss, noise=1e-3))
    assert found.num_cells == 35
    assert "left out: 1 of 36 cells" in found.left_out
    assert "128 real and 0 synthetic" in found.left_out
    assert found.best[0].comparisons == ()
    assert "left out: 1 of 36" in mixture_tables.text(made_up(loss, noise=1e-3))


def test_one_seed_has_no_intervals_and_few_cells_no_regression():
    dataset = made_up(1.0 + N**-0.5, noise=0.1, seeds=1)
    found = mixtures.analyse(dataset.isel(real=[0], synthetic=[0, 1]))
    assert found.regressions == ()
    assert found.best[0].comparisons == ()
    assert "Best synthetic count" in mixture_tables.text(dataset)


def test_a_bootstrap_takes_ten_seeds():
    mean = 1.0 + N**-0.5 - 0.1 * SHARE
    for seeds, enough in ((9, False), (10, True)):
        dataset = made_up(mean, noise=0.01, seeds=seeds)
        found = mixtures.analyse(dataset)
        assert all((best.interval is not None) == enough for best in found.best)
        assert all((one.intervals is not None) == enough for one in found.regressions)
        shown = mixture_tables.text(dataset)
        assert ("bootstrap over seeds" in shown) == enough
        assert ("(-)" in shown) != enough
        assert "F-tests are descriptive" in shown


def test_answers_in_words():
    found = mixtures.analyse(made_up(1.0 + 5 * N**-0.4, noise=1e-4))
    explained, compared = mixture_tables.sentences(found)
    assert "alone, as n^-0.40 (fitted), explains 100% of" in explained
    assert "alone, linearly," in explained
    table = " ".join(mixture_tables.text(made_up(1.0 + 5 * N**-0.4, noise=1e-4)).split())
    assert "n^-a, a = 0.40; 0.40 with share" in table
    assert "\N{HORIZONTAL ELLIPSIS}" not in table
    assert compared.endswith(
        "(at 5% for each real count): none found; significantly worse: none found."
    )


def test_where_synthetic_data_are_from():
    sources = {
        "all": "of a model of all 9 real points",
        "subset": "of a model of the mixture's real points",
        "rows[1].jsonl (sha256 ab)": "synthetic data: rows[1].jsonl (sha256 ab)",
    }
    for source, words in sources.items():
        assert words in mixture_tables.text(
            made_up(1.0 + N**-0.5, noise=0.1, source=source, num_real=9)
        )


def test_tables_cells_and_figure_of_any_labelled_result(tmp_path):
    dataset = made_up(1.0 + N**-0.5 - 0.1 * SHARE, noise=0.01)
    dataset = xarray.concat([dataset, dataset + 1], dim="model", combine_attrs="override")
    dataset = dataset.assign_coords(model=["a", "b"])
    dataset = dataset.transpose("seed", "synthetic", "model", "real")
    shown = mixture_tables.text(dataset)
    for text in ("a: mean losses", "b: mean losses", "fitted", "F of share", "4096", "nats"):
        assert text in shown
    mixture_tables.write_csv(dataset, tmp_path / "cells.csv")
    with (tmp_path / "cells.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 36
    cell = dataset["nll"].sel(model="b", real=256, synthetic=1024)
    row = next(r for r in rows if (r["point"], r["real"], r["synthetic"]) == ("b", "256", "1024"))
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
        mixtures.analyse(dataset, metric)


def test_without_none_there_is_nothing_to_compare_with():
    dataset = made_up(1.0 + 5 * N**-0.4, noise=1e-4)
    *_, said = mixture_tables.sentences(mixtures.analyse(dataset.isel(synthetic=slice(1, None))))
    assert said == "No synthetic count is 0, so there is nothing to compare the others with."


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        ({"seed": slice(1)}, "There is one seed: synthetic counts are compared with none over two"),
        ({"synthetic": slice(1)}, "There is no synthetic count but 0, so there is nothing to com"),
        ({}, "Losses without synthetic data are not finite, so there is nothing to compare with."),
    ],
)
def test_why_nothing_is_compared_is_told(part, reason):
    dataset = made_up(1.0 + 5 * N**-0.4, noise=1e-4).isel(part)
    if not part:
        dataset["nll"][{"synthetic": 0}] = np.nan
    assert mixture_tables.sentences(mixtures.analyse(dataset))[-1].startswith(reason)
