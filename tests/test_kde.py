"""The KDE task: against scikit-learn and SciPy, sums against direct evaluation, closed forms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import standard_errors
from scipy.special import logsumexp
from sklearn.neighbors import KernelDensity

import jaxcollapse as jc
from jaxcollapse import theory
from jaxcollapse.datasets.points import DATASETS, real_data
from jaxcollapse.pools import Points
from jaxcollapse.tasks.kde import family, kernels
from jaxcollapse.tasks.kde.bandwidths import bandwidth_at, bandwidth_rule

sweep = __import__("sys").modules["jaxcollapse.sweeps.chains"]


def chains(task, workflow, generations, seeds=50):
    keys = jc.seed_keys(range(seeds))
    return jax.device_get(jax.jit(jax.vmap(jc.make_chain(task, workflow, generations)))(keys))


@functools.cache
def arrays(dim):
    """Fixed points ``[316, D]`` and test points ``[200, D]``."""
    rng = np.random.default_rng(dim)
    points, test = rng.normal(size=(316, dim)), 1.5 * rng.normal(size=(200, dim))
    return points.astype(np.float32), test.astype(np.float32)


@pytest.mark.parametrize("bandwidth", [0.1, 0.4, 2.0])
@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("kernel", ["gaussian", "tophat"])
def test_log_density_is_that_of_scikit_learn(kernel, dim, bandwidth):
    points, test = arrays(dim)
    ours = family.log_density(test, points, bandwidth, kernel)
    # In one leaf: the bounds of its tree lose the tails (scikit-learn issues 7492, 25799, 27186).
    model = KernelDensity(bandwidth=bandwidth, kernel=kernel, leaf_size=len(points))
    theirs = model.fit(points).score_samples(test)
    np.testing.assert_array_equal(np.isneginf(ours), np.isneginf(theirs))
    covered = np.isfinite(theirs)
    np.testing.assert_allclose(ours[covered], theirs[covered], rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("bandwidth", [0.01, 0.1, 1.0])
def test_log_density_far_from_all_points(bandwidth):
    points, test = (x.astype(np.float64) for x in arrays(2))
    test = np.concatenate([test, 10 * test])
    squares = ((test[:, None] - points[None]) ** 2).sum(-1)
    exact = logsumexp(-squares / (2 * bandwidth**2), axis=1)
    exact -= np.log(len(points) * 2 * np.pi * bandwidth**2)
    ours = family.log_density(test, points, bandwidth)
    np.testing.assert_allclose(ours, exact, rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("bandwidth", ["scott", "silverman"])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_selectors_are_those_of_scikit_learn(bandwidth, dim):
    points, _ = arrays(dim)
    rule = bandwidth_rule(bandwidth, dim)
    theirs = KernelDensity(bandwidth=bandwidth).fit(points).bandwidth_
    assert float(bandwidth_at(rule, jnp.float32(len(points)), jnp.float32(5))) == pytest.approx(
        theirs
    )


@pytest.mark.parametrize("text", ["0.5*t^-0.25", "0.5 * t ** -0.25"])
def test_schedules(text):
    rule = bandwidth_rule(text, 2)
    assert float(bandwidth_at(rule, jnp.float32(10), jnp.float32(16))) == pytest.approx(0.25)


@pytest.mark.parametrize("value", ["0", -1.0, "scot", "t^-1", "1*t^1", "inf", float("nan"), None])
def test_bandwidths_refused(value):
    with pytest.raises(ValueError, match="bandwidth: expected a positive number, scott, silv"):
        bandwidth_rule(value, 2)


SUMS = [
    pytest.param(
        dataset,
        bandwidth,
        marks=[] if bandwidth == 0.1 or dataset == "moons" else [pytest.mark.slow],
    )
    for dataset in DATASETS
    for bandwidth in (0.1, "scott", "0.5*t^-0.4")
]


@pytest.mark.parametrize(("dataset", "bandwidth"), SUMS)
def test_sums_are_the_direct_evaluation(dataset, bandwidth):
    """The running log-sum, and for bandwidths that change the interpolation between two."""
    generations = 100
    sums = chains(jc.kde.task(dataset, bandwidth, 10), "accumulate", generations, 8)
    direct = chains(
        jc.kde.task(dataset, bandwidth, 10, pool="points"), "accumulate", generations, 8
    )
    for t in (1, 10, 100):
        for name in ("nll", "pool_variance", "second_moment"):
            a, b = sums[name][:, t - 1], direct[name][:, t - 1]
            np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-4, err_msg=f"{name} at {t}")


def test_tophat_counts():
    for workflow in ("replace", "accumulate"):
        sums = chains(jc.kde.task("moons", 0.3, 10, "tophat"), workflow, 10)
        direct = chains(jc.kde.task("moons", 0.3, 10, "tophat", pool="points"), workflow, 10)
        np.testing.assert_array_equal(sums["uncovered"], direct["uncovered"])
        assert (np.isinf(sums["nll"]) == (sums["uncovered"] > 0)).all()
    assert sums["uncovered"][:, -1].mean() < sums["uncovered"][:, 0].mean()
    changing = jc.kde.task("moons", "scott", 10, "tophat")
    assert changing.statistics is None


def test_interpolation_error_at_every_density():
    """Clusters on several scales, test points from their midst to 40 bandwidths away."""
    rng = np.random.default_rng(0)
    scales = np.asarray([0.02, 0.3, 1.0, 4.0])
    clouds = [s * rng.normal(size=(200, 2)) + rng.normal(size=2) for s in scales]
    points = np.concatenate(clouds)
    test = np.concatenate([points[::5], 3 * points[::7], 10 * rng.normal(size=(100, 2))])
    largest = 0.0
    with jax.enable_x64(True):
        for low in (0.5, 5.0, 200.0):
            sums = kernels.no_points(len(test), 2, 3)
            at = jnp.stack([low, low * kernels.WINDOW])
            for part in np.split(points, 4):
                sums = kernels.add_points(kernels.GAUSSIAN, sums, at, test, part)
            for where in (0.0, 0.2, 0.5, 0.8, 1.0):
                h = (0.5 / (low * kernels.WINDOW**where)) ** 0.5
                between = kernels.interpolated_log_density(sums, low, jnp.asarray(h), 800.0, 2)
                error = np.abs(between - family.log_density(test, points, h)).max()
                assert error < kernels.INTERPOLATION_ERROR
                if where in (0.0, 1.0):
                    assert error < 1e-9
                largest = max(largest, error)
    assert largest > 1e-8  # an interpolation was tested


@pytest.mark.parametrize("others", [1000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_interpolation_error_at_its_worst(others):
    """A lone point beside others that coincide at the distance where both weigh the same."""
    low = 2.0
    with jax.enable_x64(True):
        largest = 0.0
        at = jnp.stack([low, low * kernels.WINDOW])
        for balance in np.linspace(0.8, 1.6, 17):
            away = np.sqrt(balance * np.log(others) / low)
            points = np.concatenate([[[0.0]], np.full((others, 1), away)])
            test = np.zeros((1, 1))
            sums = kernels.no_points(1, 2, 3)
            sums = kernels.add_points(kernels.GAUSSIAN, sums, at, test, points)
            for where in (0.3, 0.5, 0.7):
                h = jnp.asarray((0.5 / (low * kernels.WINDOW**where)) ** 0.5)
                between = kernels.interpolated_log_density(sums, low, h, others + 1.0, 1)
                error = between - family.log_density(test, points, h)
                largest = max(largest, float(abs(error)[0]))
    assert 1e-6 < largest < kernels.INTERPOLATION_ERROR


def test_variance_where_points_are_close_and_far_away():
    """A thousand steps of a small bandwidth: the spread is a thousandth of the distance."""

    def spread(truth, model):
        return {"spread": jnp.mean(jnp.var(model.points, axis=0))}

    task = jc.kde.task("blobs", 0.01, 10)
    ours = chains(task, "replace", 300, 100)["pool_variance"]
    plain = chains(task._replace(evaluate=spread, statistics=None), "replace", 300, 100)["spread"]
    np.testing.assert_allclose(ours[:, -50:], plain[:, -50:], rtol=0.02)
    assert (ours > 0).all()


def test_data_far_from_the_origin():
    near = np.random.default_rng(0).normal(size=(600, 2))
    axes = {"dataset": ["mine"], "bandwidth": [0.05], "num_samples": [50]}
    nll = [jc.sweep("kde", ["replace"], axes, 3, 2, data=near + shift)["nll"] for shift in (0, 1e6)]
    np.testing.assert_allclose(nll[0], nll[1], rtol=1e-5)


def test_many_dimensions():
    task = jc.kde.task("blobs", "1*t^-0.5", 6, num_test=4, blob_dim=400)
    assert np.isfinite(chains(task, "accumulate", 4, 2)["nll"]).all()


def test_figures_of_own_data(tmp_path):
    """The file knows the data by their digest alone: no closed form is drawn."""
    from jaxcollapse.show import figures

    array = np.random.default_rng(0).normal(size=(600, 2))
    axes = {"dataset": ["mine"], "bandwidth": [0.5], "num_samples": [20]}
    result = jc.sweep("kde", ["replace"], axes, 3, 3, data=array)
    figures.grid(result, list(family.METRICS)).savefig(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("kernel", "bandwidth"),
    [("gaussian", 0.5), ("gaussian", "scott"), ("gaussian", "0.5*t^-0.5"), ("tophat", 0.5)],
)
@pytest.mark.parametrize("workflow", ["replace", "accumulate", "accumulate-subsample"])
def test_second_moment(workflow, bandwidth, kernel):
    """``v_0 + k_t + ...``: see theory.kde_second_moment."""
    task = jc.kde.task("moons", bandwidth, 8, kernel, num_test=2)
    metrics = chains(task, workflow, 20, 4000)
    t = np.arange(1, 21)
    options = {"kernel": kernel}
    for metric in ("second_moment", "pool_variance"):
        expected = family.FAMILY.theory(metric, workflow, t, options, "moons", bandwidth, 8)
        assert (expected is None) == (metric == "pool_variance" and workflow != "replace")
        for g in (1, 2, 7, 20):
            if expected is not None:
                assert standard_errors(metrics[metric][:, g - 1], expected[g - 1]) < 5


def test_harmonic_sum():
    """A fixed bandwidth under accumulate: ``v_0 + h^2 H_t``."""
    harmonic = np.cumsum(1 / np.arange(1, 31))
    moment = theory.kde_second_moment("accumulate", 2.0, np.full(30, 0.25))
    np.testing.assert_allclose(moment, 2 + 0.25 * harmonic)
    limit = theory.kde_replace_pool_variance(2.0, np.full(500, 0.25), 7)[-1]
    assert limit == pytest.approx(0.25 * 6)


def test_nll_grows_by_half_a_nat_a_generation_and_dimension():
    """Replace, once all points descend from one: its random walk moves h a generation."""
    task = jc.kde.task("moons", 0.2, 2, num_test=20)
    nll = chains(task, "replace", 400, 1000)["nll"].astype(np.float64)
    slope = (nll[:, 399] - nll[:, 99]) / 300
    assert standard_errors(slope, 2 * 0.5) < 5


PUBLISHED = {  # first-fit NLL, N = 100, means over 100 seeds
    "redrawn": {0.1: 1937, 0.5: 80.8, 1.0: 24.6},
    "shared": {0.1: 12.3, 0.5: 4.0, 1.0: 4.1},
}


@pytest.mark.parametrize("centres", PUBLISHED)
def test_published_first_fits_to_blobs(centres):
    for bandwidth, published in PUBLISHED[centres].items():
        task = jc.kde.task("blobs", bandwidth, 100, test_centres=centres)
        nll = chains(task, "replace", 1, 1000)["nll"][:, 0]
        error = nll.std() * (1 / 100 + 1 / 1000) ** 0.5 + 0.05  # theirs has one or two decimals
        assert abs(nll.mean() - published) < 5 * error, bandwidth


def test_presets():
    presets = family.FAMILY.presets
    assert presets["corrected"]["test_centres"] == "shared"
    assert presets["authors"]["test_centres"] == "redrawn"


def test_sample_is_a_point_and_noise():
    points = np.asarray([[0.0, 0.0], [100.0, 0.0]], np.float32)
    drawn = family.sample(jax.random.key(0), points, 0.5, 20_000)
    left = drawn[drawn[:, 0] < 50]
    assert abs(len(left) - 10_000) < 5 * 20_000**0.5 / 2
    assert standard_errors(left[:, 1] ** 2, 0.25) < 5
    ball = family.sample(jax.random.key(1), points[:1], 0.5, 20_000, "tophat")
    radius = np.linalg.norm(ball, axis=1)
    assert radius.max() <= 0.5
    assert standard_errors(radius**2, 0.5**2 / 2) < 5


def test_only_points_that_count_are_sampled():
    """A view of a workflow of one's own need not be the first rows."""
    points = Points(
        jnp.arange(6.0)[:, None], jnp.asarray([0, 1, 0, 1, 1, 0], bool), jnp.ones(6, bool)
    )
    model = family.fit(points, 1e-6, jnp.float32(1))
    batch = family._sample_model(jax.random.key(0), model, kernels.GAUSSIAN, 3000)
    values, counts = np.unique(np.round(batch.points[:, 0]), return_counts=True)
    assert values.tolist() == [1, 3, 4]
    assert (abs(counts - 1000) < 5 * 26).all()


def test_a_tophat_has_no_sums_for_a_bandwidth_that_changes():
    with pytest.raises(ValueError, match="pool of a tophat kernel whose bandwidth changes"):
        jc.kde.task("moons", "scott", 10, "tophat", pool="statistics")
    axes = {"dataset": ["moons"], "bandwidth": [0.3], "num_samples": [5]}
    jc.sweep("kde", ["replace", "accumulate"], axes, 2, 2, kernel="tophat", pool="statistics")


def test_no_bandwidth_compiles_a_program(compilations):
    axes = {"dataset": ["moons"], "num_samples": [5]}
    values = [0.1, 0.2, 0.7]
    workflows = ["replace", "accumulate", "accumulate-subsample"]
    result = jc.sweep("kde", workflows, {**axes, "bandwidth": values}, 3, 3)
    assert result.attrs["programs"] == 3
    assert len(compilations) <= 3
    assert result.attrs["approximations"] == "none"
    # Rules share one more under accumulate, where sums for a bandwidth that changes are others.
    rules = ["scott", "silverman", "1*t^-0.3", "2*t^-0.1", 0.1]
    result = jc.sweep("kde", workflows, {**axes, "bandwidth": rules}, 3, 3)
    assert result.attrs["programs"] == 4
    assert result["bandwidth"].values.tolist() == [str(rule) for rule in rules]
    assert "within 0.001 nats" in result.attrs["approximations"]


def test_slope_in_the_bandwidth():
    for pool in ("points", "statistics"):

        def nll(h, pool=pool):
            task = jc.kde.task("moons", h, 12, num_test=40, pool=pool)
            chain = jc.make_chain(task, "accumulate", 4)
            return jax.vmap(chain)(jc.seed_keys(range(8)))["nll"][:, -1].mean()

        with jax.enable_x64(True):
            slope = jax.jit(jax.grad(nll))(0.3)
            value = jax.jit(nll)
            difference = (value(0.3001) - value(0.2999)) / 2e-4
        np.testing.assert_allclose(slope, difference, rtol=1e-4)


def test_real_data_from_an_array():
    array = np.random.default_rng(0).normal(size=(600, 4))
    axes = {"dataset": ["mine"], "bandwidth": [0.5], "num_samples": [50]}
    result = jc.sweep("kde", ["replace"], axes, 3, 2, data=array)
    assert np.isfinite(result["nll"]).all()
    assert "sha256" in result.attrs["options"]
    with pytest.raises(ValueError, match="data: expected at least 700 rows"):
        jc.sweep("kde", ["replace"], {**axes, "num_samples": [200]}, 3, 2, data=array)
    assert real_data(array).dim == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kernel": "cosine"}, "kernel: expected one of gaussian, tophat"),
        ({"num_test": 0}, "num_test: expected at least 1"),
        ({"test_centres": "other"}, "test_centres: expected one of shared, redrawn"),
        ({"dataset": "spirals"}, "dataset: expected one of blobs"),
        ({"pool": "bag"}, "pool: expected one of auto"),
    ],
)
def test_refused(change, message):
    arguments = {"dataset": "blobs", "bandwidth": 0.1, "num_samples": 5} | change
    with pytest.raises(ValueError, match=message):
        jc.kde.task(**arguments)
    with pytest.raises(ValueError, match="test and points: expected"):
        jc.kde.log_density(np.zeros((3, 2)), np.zeros((3, 1)), 0.1)
    for bandwidth in (0.0, -1.0, "scott"):
        with pytest.raises(ValueError, match="bandwidth: expected a"):
            jc.kde.log_density(np.zeros((3, 2)), np.zeros((4, 2)), bandwidth)
    with pytest.raises(ValueError, match="kernel: expected one of gaussian, tophat"):
        jc.kde.sample(jax.random.key(0), np.zeros((3, 2)), 0.1, 5, "cosine")
