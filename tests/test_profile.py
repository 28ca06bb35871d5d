"""Collapse profiles: made-up series whose truth is known, and small sweeps."""

import json
import math

import numpy as np
import pytest
import xarray
from cases import mean_task

import jaxcollapse as jc
from jaxcollapse.analysis.profile import profile as analysis
from jaxcollapse.analysis.profile.definitions import DEFINITIONS, Thresholds
from jaxcollapse.analysis.profile.growth import growth
from jaxcollapse.analysis.profile.resamples import chosen_generations, medians
from jaxcollapse.held_out import POINT_METRICS
from jaxcollapse.metrics import TOLD, Metric
from jaxcollapse.registry import as_family

SEEDS = 60
CURVES = {
    "bounded": lambda t: 1 + 2 * (1 - np.exp(-6 * t / t[-1])),
    "logarithmic": lambda t: 1 + np.log(t),
    "root": lambda t: np.sqrt(t),
    "linear": lambda t: 1 + 5 * t / t[-1],
    "power": lambda t: 1 + t**2,
    "exponential": lambda t: np.exp(5 * t / t[-1]),
}


def series(curve, generations, noise=0.05, seeds=SEEDS, seed=0):
    """Chains ``[S, G]`` about a curve, each wandering over a tenth of its length."""
    t = np.arange(1.0, generations + 1)
    rng = np.random.default_rng(seed)
    keep = math.exp(-10 / generations)
    wander = np.empty((seeds, generations))
    wander[:, 0] = rng.standard_normal(seeds)
    for g in range(1, generations):
        fresh = rng.standard_normal(seeds)
        wander[:, g] = keep * wander[:, g - 1] + math.sqrt(1 - keep**2) * fresh
    return curve(t) * np.exp(noise * wander)


def result(values, speaks_for="loss law", real=0.0, units="1", **sizes):
    """A result of one workflow with one metric: values ``[S, G]``, or ``[N, S, G]``."""
    values = np.asarray(values, np.float64)
    values = values[None, None] if values.ndim == 2 else values[None]
    labels = {"long_name": "Made up", "units": units, "speaks_for": speaks_for}
    if real is not None:
        labels["real"] = real
    coords = {
        "workflow": ["replace"],
        "num_samples": sizes.get("num_samples", [10]),
        "seed": np.arange(values.shape[2]),
        "generation": np.arange(1, values.shape[3] + 1),
    }
    return xarray.Dataset({"metric": (tuple(coords), values, labels)}, coords)


def finding(dataset, definition, **thresholds):
    """The one finding of a definition."""
    found = analysis.profile(dataset, thresholds=Thresholds(**thresholds))
    [one] = found.of(definition, "replace")
    return one


# Growth -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("generations", [10, 30, 100])
@pytest.mark.parametrize("kind", CURVES)
def test_a_growth_class_is_found(kind, generations):
    curves = medians(series(CURVES[kind], generations, noise=0.02))
    found = growth(curves, np.arange(1, generations + 1), relative=True)
    assert found.kind == kind
    assert found.support[kind] >= 0.95


@pytest.mark.parametrize("kind", CURVES)
def test_noise_never_names_another_class(kind):
    """Where errors are as large as the growth itself it is undecided, or right."""
    wrong = 0
    for seed in range(12):
        curves = medians(series(CURVES[kind], 20, noise=1.0, seed=seed))
        found = growth(curves, np.arange(1, 21), relative=True)
        wrong += found.kind not in (kind, "undecided")
    assert wrong <= 1


@pytest.mark.slow
@pytest.mark.parametrize("generations", [6, 12, 25, 100])
def test_wrong_classes_are_rare(generations):
    """At every noise: of 240 curves 2% at most are given a class that is not theirs."""
    named = {"right": 0, "wrong": 0, "undecided": 0}
    for kind, curve in CURVES.items():
        for number in range(40):
            noise = (0.02, 0.1, 0.3, 1.0)[number % 4]
            curves = medians(series(curve, generations, noise, seed=number))
            found = growth(curves, np.arange(1, generations + 1), relative=True).kind
            outcome = found if found == "undecided" else "right" if found == kind else "wrong"
            named[outcome] += 1
    assert named["wrong"] <= 0.02 * 240, named
    assert named["right"] >= 0.3 * 240, named


def test_too_much_noise_is_undecided():
    curves = medians(series(CURVES["logarithmic"], 10, noise=1.5))
    assert growth(curves, np.arange(1, 11), relative=True).kind == "undecided"
    assert growth(curves[:, :4], np.arange(1, 5), relative=True) is None


def test_a_loss_in_nats_may_be_negative():
    curves = medians(series(CURVES["linear"], 40, noise=0.02) - 3)
    assert growth(curves, np.arange(1, 41), relative=False).kind == "linear"


def test_a_curve_that_is_flat_is_bounded():
    for noise in (0.0, 0.02):
        curves = medians(series(lambda t: 1 + 0 * t, 30, noise))
        found = growth(curves, np.arange(1, 31), relative=True)
        assert (found.kind, found.at_least("logarithmic")) == ("bounded", False)


def test_the_limit_of_a_bounded_curve():
    sums = lambda t: np.cumsum(1 / t**2)  # noqa: E731
    curves = medians(series(sums, 100, noise=0.02))
    found = growth(curves, np.arange(1, 101), relative=True)
    assert found.kind == "bounded"
    assert found.limit == pytest.approx(math.pi**2 / 6, rel=0.02)


def test_medians_are_those_of_numpy():
    values = np.random.default_rng(1).standard_normal((7, 3))
    values[:3, 2] = np.inf
    np.testing.assert_array_equal(medians(values)[0], np.median(values, axis=0))
    np.testing.assert_array_equal(medians(values[1:])[0, :2], np.median(values[1:, :2], axis=0))
    again = medians(values)
    np.testing.assert_array_equal(medians(values), again)
    assert np.ptp(again[1:, 0]) > 0


def test_long_chains_are_looked_at_in_places():
    places = chosen_generations(5000)
    assert (places[0], places[-1]) == (0, 4999)
    assert places.size <= 128
    np.testing.assert_array_equal(chosen_generations(100), np.arange(100))


# Definitions ------------------------------------------------------------------------------------

FALLS = lambda t: np.exp(-0.2 * t)  # noqa: E731
STAYS = lambda t: 1 - 0.2 * (1 - 1 / t)  # noqa: E731
SPOKEN = {
    "beyond-use": (
        result(series(lambda t: t, 30)),
        result(series(lambda t: 1 + t / 30, 30)),
    ),
    "diverges": (
        result(series(CURVES["logarithmic"], 50, 0.02)),
        result(series(CURVES["bounded"], 50, 0.02)),
    ),
    "growth": (
        result(series(CURVES["linear"], 50, 0.02)),
        result(series(CURVES["logarithmic"], 50, 0.02)),
    ),
    "variance": (
        result(series(FALLS, 40), "variance", 1.0),
        result(series(STAYS, 40), "variance", 1.0),
    ),
    "modes": (
        result(series(lambda t: 10 / t, 20), "modes", 10.0),
        result(series(lambda t: 10 + 0 * t, 20, 0.01), "modes", 10.0),
    ),
    "diversity": (
        result(series(lambda t: -0.3 * t, 20, 0.0), "diversity", None, "nats"),
        result(series(lambda t: -0.01 / t, 20, 0.0), "diversity", None, "nats"),
    ),
    "law": (
        result(series(CURVES["linear"], 30)),
        result(series(lambda t: np.cumsum(1 / t**2), 60, 0.02)),
    ),
}


@pytest.mark.parametrize("definition", SPOKEN)
def test_one_result_collapses_by_it_and_one_does_not(definition):
    collapses, does_not = (finding(dataset, definition) for dataset in SPOKEN[definition])
    assert (collapses.verdict, does_not.verdict) == ("yes", "no"), (collapses, does_not)
    assert collapses.threshold
    assert collapses.because


def test_when_it_collapses():
    found = finding(result(series(FALLS, 40)), "variance")
    assert found.verdict == "not told"  # a loss says nothing of the variance
    found = finding(result(series(FALLS, 40), "variance", 1.0), "variance")
    assert found.when == math.ceil(math.log(100) / 0.2)
    low, high = found.when_interval
    assert low <= found.when <= high
    later = finding(result(series(FALLS, 40), "variance", 1.0), "variance", variance=0.001)
    assert later.when == math.ceil(math.log(1000) / 0.2)
    never = finding(result(series(STAYS, 40), "variance", 1.0), "variance")
    assert never.when == math.inf


def test_a_variance_that_only_heads_for_zero():
    slow = lambda t: np.exp(-0.03 * t)  # noqa: E731
    found = finding(result(series(slow, 60, 0.02), "variance", 1.0), "variance")
    assert (found.verdict, found.when, found.growth) == ("yes", math.inf, "linear")
    assert found.value > 0.01


def test_a_loss_in_nats_is_compared_by_its_exponential():
    rises = series(lambda t: 1 + 2.5 * t / t[-1], 20, 0.005)
    assert finding(result(rises, units="nats/token"), "beyond-use").verdict == "yes"
    assert finding(result(rises), "beyond-use").verdict == "no"


def test_an_interval_about_the_threshold_is_undecided():
    about = finding(result(series(lambda t: t, 10, 0.3)), "beyond-use")
    assert about.verdict == "undecided"
    low, high = about.interval
    assert low < 10 < high


def test_one_seed_decides_nothing():
    found = finding(result(series(FALLS, 40, seeds=1), "variance", 1.0), "variance")
    assert found.verdict == "undecided"
    assert "one seed has no interval" in found.because
    assert all(math.isnan(end) for end in found.interval)


def test_few_seeds_tell_no_class():
    found = finding(result(series(CURVES["linear"], 30, 0.001, seeds=5)), "diverges")
    assert (found.verdict, found.growth) == ("undecided", "")
    assert "or 6 seeds tell no class" in found.because
    assert finding(result(series(CURVES["linear"], 30, 0.001, seeds=6)), "diverges").growth


def test_chains_that_are_not_finite_count_as_collapsed():
    values = series(CURVES["bounded"], 20)
    values[: SEEDS * 3 // 4, 12:] = np.nan
    found = finding(result(values), "diverges")
    assert (found.verdict, found.when, found.nonfinite) == ("yes", 13, SEEDS * 3 // 4)
    found = finding(result(values, "variance", 1.0), "variance")
    assert (found.verdict, found.value) == ("yes", 0)
    values[:, :12] = np.inf
    assert finding(result(values), "beyond-use").verdict == "undecided"


def test_the_exponent_in_the_number_of_points():
    sizes = [10, 30, 100, 300]
    t = np.arange(1.0, 21)
    powers = {"stays": 1.0 + 0 * t, "changes": 1.0 - 0.4 * t / 20}
    for name, exponent in powers.items():
        values = [
            n**-exponent * series(lambda t: 1 + 0 * t, 20, seed=k) for k, n in enumerate(sizes)
        ]
        found = finding(result(values, num_samples=sizes), "scaling")
        assert found.verdict == {"stays": "no", "changes": "yes"}[name]
        assert found.value == pytest.approx(exponent[-1] - exponent[0], abs=0.03)
        assert "num_samples" not in found.point
    alone = finding(result(values[0]), "scaling")
    assert (alone.verdict, "values of N" in alone.because) == ("not told", True)


def test_a_law_whose_real_value_is_not_known():
    grows, stays = series(lambda t: 1 + t, 40, 0.01), series(lambda t: 5 + 1 / t, 40, 0.01)
    assert finding(result(grows, "law", None), "law").verdict == "yes"
    assert finding(result(1 / grows, "law", None), "law").verdict in ("yes", "undecided")
    assert finding(result(stays, "law", None), "law").verdict == "no"


# Sweeps -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gaussian():
    axes = {"dim": [1], "num_samples": [8, 16, 32]}
    return jc.sweep("gaussian", ["replace", "accumulate"], axes, seeds=50, generations=80)


@pytest.fixture(scope="module")
def profiled(gaussian):
    return jc.profile(gaussian)


def verdicts(profiled, definition, workflow):
    return [found.verdict for found in profiled.of(definition, workflow)]


def test_gaussians_lose_their_variance_under_replace_alone(profiled):
    assert verdicts(profiled, "variance", "replace") == ["yes"] * 3
    assert "yes" not in verdicts(profiled, "variance", "accumulate")
    assert "yes" not in verdicts(profiled, "beyond-use", "accumulate")
    assert profiled.of("beyond-use", "replace")[0].metric == "kl"
    assert verdicts(profiled, "law", "replace")[:2] == ["yes"] * 2


def test_every_cell_has_every_definition(profiled, gaussian):
    for definition in DEFINITIONS:
        cells = 1 if definition.name == "scaling" else 3
        assert len(profiled.of(definition.name, "replace")) == cells
    assert set(verdicts(profiled, "modes", "replace")) == {"not told"}


def test_closed_forms_are_beside_it(profiled):
    found = profiled.of("law", "replace")[0].theory
    assert found.metric == "squared_error_of_mean"
    assert found.closed_form == pytest.approx(1 - (1 - 1 / 8) ** 80)
    assert abs(found.mean - found.closed_form) < 5 * found.standard_error
    assert found.later == 800


def test_metrics_that_were_asked_for_speak_first(gaussian):
    names = ["squared_error_of_mean", "trace_ratio"]
    found = jc.profile(gaussian, metrics=names)
    assert found.of("growth", "replace")[0].metric == "squared_error_of_mean"
    assert verdicts(found, "diversity", "replace") == ["not told"] * 3


def test_a_metric_of_ones_own_speaks():
    left = Metric("Left", "1", of=lambda truth, mean: 0 * mean + 3, speaks_for=("modes",), real=4.0)
    swept = jc.sweep(mean_task(), "replace", seeds=4, generations=6, measures={"left": left})
    [found] = jc.profile(swept).of("modes", "replace")
    assert (found.metric, found.verdict, found.value, found.when) == ("left", "yes", 0.75, 1)


def test_what_built_in_metrics_tell():
    labels = [point.label for point in POINT_METRICS.values()]
    for name in ("gaussian", "kde", "linear-regression", "categorical", "language-model"):
        family = as_family(name)
        labels += family.metrics.values()
        told = {what for label in family.metrics.values() for what in label.speaks_for}
        assert "loss" in told
        for label in family.metrics.values():
            assert not isinstance(label.real, str) or label.real in family.axes
            assert label.per in ("", *family.axes)
    assert {what for label in labels for what in label.speaks_for} == set(TOLD)


def test_files_of_before_are_told_by_their_task(gaussian, profiled):
    old = gaussian.copy()
    for name in old.data_vars:
        old[name].attrs = {k: v for k, v in old[name].attrs.items() if k in ("long_name", "units")}
    assert jc.profile(old).records() == profiled.records()


def test_json_has_no_numbers_that_are_none(profiled):
    told = json.loads(json.dumps(profiled.as_json(), allow_nan=False))
    assert told["format"] == "jaxcollapse profile 1"
    assert set(told["thresholds"]) == set(Thresholds._fields)
    assert len(told["findings"]) == 2 * (3 * 7 + 1)
    keys = {"definition", "workflow", "point", "verdict", "because", "metric", "threshold"}
    keys |= {"value", "interval", "when", "when_interval", "growth", "support", "nonfinite"}
    for found in told["findings"]:
        assert set(found) == keys | {"theory"}
        assert found["verdict"] in ("yes", "no", "undecided", "not told")


@pytest.mark.parametrize(
    ("thresholds", "message"),
    [
        ({"variance": 1.5}, "threshold variance: expected a number above 0 and below 1, got 1.5"),
        ({"beyond_use": 0.5}, "threshold beyond_use: expected a number above 1, got 0.5"),
        (
            {"growth": "bounded"},
            "growth: expected one of logarithmic, root, linear, power, exponential",
        ),
    ],
)
def test_thresholds_that_are_none(gaussian, thresholds, message):
    with pytest.raises(ValueError, match=message):
        jc.profile(gaussian, **thresholds)


def test_what_is_no_result_of_chains(gaussian):
    mixed = xarray.Dataset({"kl": (("real", "synthetic", "seed"), np.ones((2, 2, 3)))})
    with pytest.raises(ValueError, match=r"result to profile: expected chains: .* got mixtures"):
        jc.profile(mixed)
    with pytest.raises(ValueError, match="generations to profile: expected at least 2"):
        jc.profile(gaussian.isel(generation=[0]))
    with pytest.raises(ValueError, match="metric to profile: expected one of"):
        jc.profile(gaussian, metrics=["nll"])
    with pytest.raises(ValueError, match="speaks for: expected one of loss, variance"):
        analysis.profile(result(np.ones((3, 4)), "lose"))
