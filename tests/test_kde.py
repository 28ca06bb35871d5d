"""The KDE task: against scikit-learn and SciPy, sums against direct evaluation, closed forms."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import chains
from conftest import optimised_jit, standard_errors
from scipy.special import logsumexp
from sklearn.neighbors import KernelDensity

import jaxcollapse as jc
from jaxcollapse import sweeps, theory
from jaxcollapse.datasets.points import DATASETS, law, real_data
from jaxcollapse.pools import View
from jaxcollapse.show import figures
from jaxcollapse.tasks.kde import family, fitting, kernels
from jaxcollapse.tasks.kde.bandwidths import Bandwidth, bandwidth_at, bandwidth_rule
from jaxcollapse.workflows import as_workflow


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
    ours = fitting.log_density(test, points, bandwidth, kernel)
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
    ours = fitting.log_density(test, points, bandwidth)
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
        marks=[] if dataset == "moons" else [pytest.mark.slow],
    )
    for dataset in DATASETS.names()
    for bandwidth in (0.1, "scott", "0.5*t^-0.4")
]


@functools.cache
def mapped(workflow, dataset, num_samples, generations, seeds, kernel, num_test, pool, fixed):
    """Chains as a function of the bandwidth, a number or a rule, which one program serves."""

    def many(bandwidth):
        task = jc.kde.task(dataset, bandwidth, num_samples, kernel, num_test, pool=pool)
        return jax.vmap(jc.make_chain(task, workflow, generations))(jc.seed_keys(range(seeds)))

    return jax.jit(many)


def chains_at(bandwidth, *given, num_test=500, pool="auto"):
    """Metrics ``[S, G]``; where all kernels are computed anew, a number is a rule too."""
    rule = bandwidth_rule(bandwidth, real_data(given[1]).dim)
    fixed = not isinstance(rule, Bandwidth)
    if fixed and pool == "points":
        rule, fixed = Bandwidth(rule), False
    rule = np.float32(rule) if fixed else Bandwidth(*map(np.float32, rule))
    return jax.device_get(mapped(*given, num_test, pool, fixed)(rule))


@pytest.mark.parametrize(("dataset", "bandwidth"), SUMS)
def test_sums_are_the_direct_evaluation(dataset, bandwidth):
    """The running log-sum, and for bandwidths that change the interpolation between two."""
    given = ("accumulate", dataset, 10, 100, 8, "gaussian")
    sums, direct = (chains_at(bandwidth, *given, pool=pool) for pool in ("auto", "points"))
    for t in (1, 10, 100):
        for name in ("nll", "pool_variance", "second_moment"):
            a, b = sums[name][:, t - 1], direct[name][:, t - 1]
            np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-4, err_msg=f"{name} at {t}")


@pytest.mark.slow
def test_tophat_counts():
    for workflow in ("replace", "accumulate"):
        sums = chains(jc.kde.task("moons", 0.3, 10, "tophat"), workflow, 10, 50)
        direct = chains(jc.kde.task("moons", 0.3, 10, "tophat", pool="points"), workflow, 10, 50)
        np.testing.assert_array_equal(sums["uncovered"], direct["uncovered"])
        assert (np.isinf(sums["nll"]) == (sums["uncovered"] > 0)).all()
    assert sums["uncovered"][:, -1].mean() < sums["uncovered"][:, 0].mean()
    changing = jc.kde.task("moons", "scott", 10, "tophat")
    assert changing.statistics is None


def test_interpolation_error_at_every_density():
    """Clusters on several scales, test points from their midst to 40 bandwidths away."""
    between_two = jax.jit(kernels.interpolated_log_density, static_argnums=4)
    exact = jax.jit(fitting.log_density)
    add_points = jax.jit(kernels.add_points, static_argnums=0)
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
                sums = add_points(kernels.GAUSSIAN, sums, at, test, part)
            for where in (0.0, 0.2, 0.5, 0.8, 1.0):
                h = (0.5 / (low * kernels.WINDOW**where)) ** 0.5
                between = between_two(sums, low, h, 800.0, 2)
                error = np.abs(between - exact(test, points, h)).max()
                assert error < kernels.INTERPOLATION_ERROR
                if where in (0.0, 1.0):
                    assert error < 1e-9
                largest = max(largest, error)
    assert largest > 1e-8  # an interpolation was tested


@pytest.mark.parametrize("others", [1000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_interpolation_error_at_its_worst(others):
    """A lone point beside others that coincide at the distance where both weigh the same."""
    low = 2.0
    test = np.zeros((1, 1))

    @jax.jit
    def errors(away, bandwidths):
        points = jnp.concatenate([jnp.zeros((1, 1)), jnp.full((others, 1), away)])
        at = jnp.stack([low, low * kernels.WINDOW])
        sums = kernels.add_points(kernels.GAUSSIAN, kernels.no_points(1, 2, 3), at, test, points)

        def error(h):
            between = kernels.interpolated_log_density(sums, low, h, others + 1.0, 1)
            return between - fitting.log_density(test, points, h)

        return jax.vmap(error)(bandwidths)

    bandwidths = (0.5 / (low * kernels.WINDOW ** np.asarray([0.3, 0.5, 0.7]))) ** 0.5
    with jax.enable_x64(True):
        largest = max(
            float(jnp.abs(errors(np.sqrt(balance * np.log(others) / low), bandwidths)).max())
            for balance in np.linspace(0.8, 1.6, 17)
        )
    assert 1e-6 < largest < kernels.INTERPOLATION_ERROR


def test_variance_where_points_are_close_and_far_away():
    """A thousand steps of a small bandwidth: the spread is a thousandth of the distance."""

    def both(truth, model):
        spread = jnp.mean(jnp.var(model.points, axis=0))
        return {"spread": spread, **fitting.evaluate(truth, model)}

    task = jc.kde.task("blobs", 0.01, 10, num_test=2)._replace(evaluate=both)
    metrics = chains(task, "replace", 300, 100)
    ours, plain = metrics["pool_variance"], metrics["spread"]
    np.testing.assert_allclose(ours[:, -50:], plain[:, -50:], rtol=0.02)
    assert (ours > 0).all()


def test_data_far_from_the_origin():
    near = np.random.default_rng(0).normal(size=(600, 2))
    nll = [
        chains(jc.kde.task("mine", 0.05, 50, data=near + shift), "replace", 2, 3)["nll"]
        for shift in (0, 1e6)
    ]
    np.testing.assert_allclose(nll[0], nll[1], rtol=1e-5)


@pytest.mark.slow
def test_many_dimensions():
    task = jc.kde.task("blobs", "1*t^-0.5", 6, num_test=4, blob_dim=200)
    assert np.isfinite(chains(task, "accumulate", 4, 2)["nll"]).all()


@pytest.fixture(scope="module")
def of_own_data():
    array = np.random.default_rng(0).normal(size=(600, 4))
    axes = {"dataset": ["mine"], "bandwidth": [0.5], "num_samples": [50]}
    return jc.sweep("kde", ["replace"], axes, 3, 3, data=array)


def test_figures_of_own_data(of_own_data, tmp_path):
    """The file knows the data by their digest alone: no closed form is drawn."""
    figures.grid(of_own_data, list(fitting.METRICS)).savefig(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("kernel", "bandwidth"),
    [("gaussian", 0.5), ("gaussian", "scott"), ("gaussian", "0.5*t^-0.5"), ("tophat", 0.5)],
)
@pytest.mark.parametrize("workflow", ["replace", "accumulate", "accumulate-subsample"])
def test_second_moment(workflow, bandwidth, kernel):
    """``v_0 + k_t + ...``: see theory.kde_second_moment."""
    metrics = chains_at(bandwidth, workflow, "moons", 8, 20, 4000, kernel, num_test=2)
    t = np.arange(1, 21)
    options = {"kernel": kernel}
    point = {"dataset": "moons", "bandwidth": bandwidth, "num_samples": 8}
    for metric in ("second_moment", "pool_variance"):
        record = as_workflow(workflow)
        expected = family.FAMILY.closed_form(metric, record, t, options, **point)
        for g in (1, 2, 7, 20):
            assert standard_errors(metrics[metric][:, g - 1], expected[g - 1]) < 5


def test_harmonic_sum():
    """A fixed bandwidth under accumulate: ``v_0 + h^2 H_t``."""
    harmonic = np.cumsum(1 / np.arange(1, 31))
    moment = theory.kde_second_moment(jc.accumulate(), 2.0, np.nan, np.full(30, 0.25))
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
    def first_fits(bandwidth):
        task = jc.kde.task("blobs", bandwidth, 100, test_centres=centres)
        return jax.vmap(jc.make_chain(task, "replace", 1))(jc.seed_keys(range(1000)))["nll"][:, 0]

    compiled = optimised_jit(first_fits)
    for bandwidth, published in PUBLISHED[centres].items():
        nll = np.asarray(compiled(np.float32(bandwidth)))
        error = nll.std() * (1 / 100 + 1 / 1000) ** 0.5 + 0.05  # theirs has one or two decimals
        assert abs(nll.mean() - published) < 5 * error, bandwidth


def test_presets():
    presets = family.FAMILY.presets
    assert presets["corrected"]["test_centres"] == "shared"
    assert presets["authors"]["test_centres"] == "redrawn"


def test_sample_is_a_point_and_noise():
    points = np.asarray([[0.0, 0.0], [100.0, 0.0]], np.float32)
    drawn = fitting.sample(jax.random.key(0), points, 0.5, 20_000)
    left = drawn[drawn[:, 0] < 50]
    assert abs(len(left) - 10_000) < 5 * 20_000**0.5 / 2
    assert standard_errors(left[:, 1] ** 2, 0.25) < 5
    ball = fitting.sample(jax.random.key(1), points[:1], 0.5, 20_000, "tophat")
    radius = np.linalg.norm(ball, axis=1)
    assert radius.max() <= 0.5
    assert standard_errors(radius**2, 0.5**2 / 2) < 5


def test_only_points_that_count_are_sampled():
    """A view of a workflow of one's own need not be the first rows."""
    shown = View(jnp.arange(6.0)[:, None], jnp.asarray([0, 1, 0, 1, 1, 0], bool), jnp.ones(6, bool))
    model = fitting.fit(shown, 1e-6, jnp.float32(1))
    drawn = fitting.sample_model(jax.random.key(0), model, kernels.GAUSSIAN, 3000)
    values, counts = np.unique(np.round(drawn[:, 0]), return_counts=True)
    assert values.tolist() == [1, 3, 4]
    assert (abs(counts - 1000) < 5 * 26).all()


def test_a_tophat_has_no_sums_for_a_bandwidth_that_changes():
    with pytest.raises(ValueError, match="pool of a tophat kernel whose bandwidth changes"):
        jc.kde.task("moons", "scott", 10, "tophat", pool="statistics")
    axes = {"dataset": ["moons"], "bandwidth": [0.3], "num_samples": [5]}
    given = {"kernel": "tophat", "pool": "statistics"}
    plan = sweeps.chains.plan("kde", ["replace", "accumulate"], axes, 2, 2, **given)
    for cell in plan.cells:
        assert "nll" in jax.eval_shape(plan.function(cell), jax.random.key(0), plan.traced(cell))


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
    result = jc.sweep("kde", workflows[:2], {**axes, "bandwidth": rules}, 3, 3)
    assert result.attrs["programs"] == 3
    assert len(compilations) <= 4
    assert result["bandwidth"].values.tolist() == [str(rule) for rule in rules]
    assert "within 0.001 nats" in result.attrs["approximations"]


def test_slope_in_the_bandwidth():
    for pool in ("points", "statistics"):

        def nll(h, pool=pool):
            task = jc.kde.task("moons", h, 12, num_test=40, pool=pool)
            chain = jc.make_chain(task, "accumulate", 4)
            return jax.vmap(chain)(jc.seed_keys(range(8)))["nll"][:, -1].mean()

        with jax.enable_x64(True):
            at = np.asarray([0.3, 0.3001, 0.2999])
            values, slopes = jax.device_get(jax.jit(jax.vmap(jax.value_and_grad(nll)))(at))
        np.testing.assert_allclose(slopes[0], (values[1] - values[2]) / 2e-4, rtol=1e-4)


def test_real_data_from_an_array(of_own_data):
    assert np.isfinite(of_own_data["nll"]).all()
    assert "sha256" in of_own_data.attrs["options"]
    array = np.random.default_rng(0).normal(size=(600, 4))
    axes = {"dataset": ["mine"], "bandwidth": [0.5], "num_samples": [200]}
    with pytest.raises(ValueError, match="data: expected at least 700 rows"):
        jc.sweep("kde", ["replace"], axes, 3, 2, data=array)
    assert real_data(array).dim == 4


def test_real_data_from_a_law_of_ones_own():
    """Drawn anew for each seed, with a closed form from its variance."""
    cloud = law(3, lambda key, n: 2.0 * jax.random.normal(key, (n, 3)), variance=4.0, name="cloud")
    axes = {"dataset": ["mine"], "bandwidth": [0.5], "num_samples": [20]}
    result = jc.sweep("kde", ["replace"], axes, 2000, 2, data=cloud, num_test=2)
    assert json.loads(result.attrs["options"])["data"] == {"law": "cloud"}
    moment = result["second_moment"].values.reshape(2000, 2)
    for t in (1, 2):
        assert standard_errors(moment[:, t - 1], 4.0 * (1 - 1 / 20) + t * 0.25) < 5
    flat = law(3, lambda key, n: jax.random.normal(key, (n, 2)))
    with pytest.raises(ValueError, match=r"points of .*: expected shape \[500, 3\]"):
        jc.sweep("kde", ["replace"], axes, 2, 2, data=flat)
    with pytest.raises(ValueError, match=r"data: expected an array .* or a PointDataset, got a fu"):
        jc.sweep("kde", ["replace"], axes, 2, 2, data=lambda key, n: None)


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
