"""Metrics of points against SciPy, scikit-learn and plain NumPy, known values, and in chains."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import standard_errors
from scipy import spatial, stats
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.neighbors import NearestNeighbors

import jaxcollapse as jc
from jaxcollapse import families, held_out, point_metrics, testing
from jaxcollapse.held_out import POINT_METRICS
from jaxcollapse.point_metrics import NEIGHBOURS
from jaxcollapse.sweeps import chains

H = 1.3
OF_ALL = [name for name in POINT_METRICS if name != "modes_covered"]


@functools.partial(jax.jit, static_argnames="fully")
def measured(points, real, fully=True):
    """All metrics of points and the scale of the real ones; or those of known means alone."""
    directions = point_metrics.unit_directions(jax.random.key(5), 20, points.shape[1])
    names = ("energy_distance", "precision", "recall", "density", "coverage", "nearest_real")
    found = {name: getattr(point_metrics, name)(points, real) for name in names}
    found["mmd"] = point_metrics.mmd(points, real, H)
    found["tail_mass"] = point_metrics.tail_mass(points, real, 0.1)
    if not fully:
        return found
    return found | {
        "sliced_wasserstein2": point_metrics.sliced_wasserstein2(points, real, directions),
        "vendi_score": point_metrics.vendi_score(points, H),
        "modes_covered": point_metrics.modes_covered(points, real[:5], H),
        "median_distance": point_metrics.median_distance(real),
        "directions": directions,
    }


@functools.cache
def sets(n, m, dim):
    """Two sets of points of laws that differ a little, and what is measured of them."""
    rng = np.random.default_rng(n + m + dim)
    points = (0.4 + 0.8 * rng.standard_normal((n, dim))).astype(np.float32)
    real = rng.standard_normal((m, dim)).astype(np.float32)
    found = {name: np.asarray(value) for name, value in measured(points, real).items()}
    return points.astype(np.float64), real.astype(np.float64), found


SHAPES = [(30, 40, 3), (25, 40, 1), (40, 30, 19)]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)


def of_different(values):
    """The mean over pairs of different rows."""
    return values[~np.eye(len(values), dtype=bool)].mean()


def radii(points):
    found = NearestNeighbors(n_neighbors=NEIGHBOURS + 1).fit(points).kneighbors(points)[0]
    return found[:, -1]


# Against others ---------------------------------------------------------------------------------


@shapes
def test_distances_of_laws(shape):
    x, y, found = sets(*shape)
    cross, among, real = (spatial.distance.cdist(*pair) for pair in ((x, y), (x, x), (y, y)))
    assert found["energy_distance"] == pytest.approx(
        2 * cross.mean() - of_different(among) - of_different(real), abs=2e-6
    )
    assert found["median_distance"] == pytest.approx(np.median(spatial.distance.pdist(y)), rel=1e-5)
    gamma = 1 / (2 * H**2)
    expected = of_different(rbf_kernel(x, gamma=gamma)) + of_different(rbf_kernel(y, gamma=gamma))
    assert found["mmd"] == pytest.approx(expected - 2 * rbf_kernel(x, y, gamma).mean(), abs=1e-6)


def test_energy_distance_is_that_of_scipy_but_for_its_bias():
    x, y, found = sets(25, 40, 1)
    biased = stats.energy_distance(x[:, 0], y[:, 0]) ** 2
    for points in (x, y):  # pairs of a point with itself
        biased -= of_different(spatial.distance.cdist(points, points)) / len(points)
    assert found["energy_distance"] == pytest.approx(biased, abs=2e-6)


@shapes
def test_sliced_wasserstein(shape):
    x, y, found = sets(*shape)
    n, m, _ = shape
    directions = found["directions"].astype(np.float64)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, rtol=1e-6)
    squares = [
        np.mean((np.sort(np.repeat(x @ one, m)) - np.sort(np.repeat(y @ one, n))) ** 2)
        for one in directions
    ]
    assert found["sliced_wasserstein2"] == pytest.approx(np.mean(squares) ** 0.5, rel=1e-5)


@shapes
def test_neighbours(shape):
    x, y, found = sets(*shape)
    cross = spatial.distance.cdist(x, y)
    inside = cross <= radii(y)[None, :]
    assert found["precision"] == pytest.approx(inside.any(axis=1).mean())
    assert found["coverage"] == pytest.approx(inside.any(axis=0).mean())
    assert found["density"] == pytest.approx(inside.sum() / (NEIGHBOURS * len(x)))
    assert found["recall"] == pytest.approx((cross <= radii(x)[:, None]).any(axis=0).mean())
    assert found["nearest_real"] == pytest.approx(cross.min(axis=1).mean(), rel=1e-5)
    assert found["modes_covered"] == (cross[:, :5] <= H).any(axis=0).sum()


@shapes
def test_vendi_score(shape):
    x, _, found = sets(*shape)
    shares = np.linalg.eigvalsh(rbf_kernel(x, gamma=1 / (2 * H**2)) / len(x))
    shares = shares[shares > 1e-12]
    assert found["vendi_score"] == pytest.approx(np.exp(-np.sum(shares * np.log(shares))), rel=1e-4)


@shapes
def test_tail(shape):
    x, y, found = sets(*shape)
    from_mean = np.linalg.norm(y - y.mean(axis=0), axis=1)
    radius = np.quantile(from_mean, 0.9, method="weibull")
    assert 0 < found["tail_mass"] <= 1 or shape[2] != 1
    beyond = np.linalg.norm(x - y.mean(axis=0), axis=1) > radius
    assert found["tail_mass"] == pytest.approx(beyond.mean())


def test_distances_of_points_that_have_collapsed():
    """Far from 0 expanded squares would leave nothing of them."""
    rng = np.random.default_rng(0)
    for dim in (2, 40):
        x = (100 + 1e-3 * rng.standard_normal((20, dim))).astype(np.float32)
        found = point_metrics.squared_distances(x, x)
        expected = spatial.distance.cdist(x.astype(np.float64), x, "sqeuclidean")
        np.testing.assert_allclose(found, expected, rtol=1e-5)


# Known values -----------------------------------------------------------------------------------


@functools.cache
def of_gaussians(mean, std, n=30, m=50, seeds=1000):
    """Metrics ``[S]`` of samples of N(mean, std^2) held against samples of N(0, 1), in one dim."""

    def one(key):
        ours, theirs = jax.random.split(key)
        points = mean + std * jax.random.normal(ours, (n, 1))
        return measured(points, jax.random.normal(theirs, (m, 1)), fully=False)

    return jax.device_get(jax.jit(jax.vmap(one))(jc.seed_keys(range(seeds))))


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.7, 0.5)])
def test_two_gaussians(mean, std):
    found = of_gaussians(mean, std)

    def apart(variance, mean=0.0):  # E|N(mean, variance)|
        s = variance**0.5
        shift = mean * (1 - 2 * stats.norm.cdf(-mean / s))
        return s * (2 / np.pi) ** 0.5 * np.exp(-0.5 * mean**2 / variance) + shift

    def kernel(variance, mean=0.0):
        total = H**2 + variance
        return H / total**0.5 * np.exp(-0.5 * mean**2 / total)

    energy = 2 * apart(1 + std**2, mean) - apart(2.0) - apart(2 * std**2)
    mmd = kernel(2.0) + kernel(2 * std**2) - 2 * kernel(1 + std**2, mean)
    assert standard_errors(found["energy_distance"], energy) < 5
    assert standard_errors(found["mmd"], mmd) < 5
    assert (energy, mmd) == pytest.approx((0, 0)) if std == 1 else min(energy, mmd) > 0.05


def test_two_samples_of_one_law():
    found = of_gaussians(0.0, 1.0)
    i = np.arange(1, NEIGHBOURS + 1)
    assert standard_errors(found["density"], 1.0) < 5
    assert standard_errors(found["coverage"], 1 - np.prod((50 - i) / (80 - i))) < 5
    assert standard_errors(found["tail_mass"], 0.1) < 5
    assert 0.9 < found["precision"].mean() < 1
    assert 0.9 < found["recall"].mean() < 1


def test_vendi_score_counts():
    alike, apart = jnp.ones((8, 2)), 100.0 * jnp.arange(16.0).reshape(8, 2)
    assert point_metrics.vendi_score(alike, 1.0) == pytest.approx(1, abs=1e-4)
    assert point_metrics.vendi_score(apart, 1.0) == pytest.approx(8, rel=1e-4)


def test_slopes_where_points_coincide():
    def loss(scale):
        points = scale * jnp.ones((7, 2))
        real = jnp.concatenate([points, jnp.arange(4.0).reshape(2, 2)])
        one = jnp.ones((1, 2)) / jnp.sqrt(2.0)
        return (
            point_metrics.energy_distance(points, real)
            + point_metrics.mmd(points, real, H)
            + point_metrics.sliced_wasserstein2(points, real, one)
        )

    assert np.isfinite(jax.jit(jax.grad(loss))(1.0))


# In chains --------------------------------------------------------------------------------------

TASKS = {
    "gaussian": lambda: jc.gaussian.task(2, 30, mean=[3.0, 0.0], cov=[1.0, 4.0], pool="points"),
    "kde": lambda: jc.kde.task("blobs", 0.5, 30, num_test=40, pool="points"),
    "own": lambda: jc.points_task(
        lambda key: (0.0, jax.random.normal(key, (30,))),
        lambda key, view: jnp.sum(view.weights * view.data) / jnp.sum(view.weights),
        lambda key, mean: mean + jax.random.normal(key, (30,)),
        lambda truth, mean: {"error": (mean - truth) ** 2},
        real=lambda key, truth: jax.random.normal(key, (30,)),
    ),
}
NAMES = {"gaussian": OF_ALL, "kde": list(POINT_METRICS), "own": ["mmd", "coverage"]}
GENERATIONS = 3


@functools.cache
def history(name):
    """The metrics of one seed, what it published, and the real points it was held against."""
    task = held_out.measured(TASKS[name](), NAMES[name])
    measures = {"published": lambda truth, model, published: published}
    chain = jc.make_chain(task, "replace", GENERATIONS, measures)
    state = jax.jit(chain.init)(jax.random.key(3))
    return jax.device_get((jax.jit(chain)(jax.random.key(3)), state.truth.held_out))


@pytest.mark.parametrize("name", TASKS)
def test_a_chain_measures_what_it_publishes(name):
    metrics, real = history(name)
    y = real.points.astype(np.float64)
    assert y.shape == {"gaussian": (500, 2), "kde": (40, 2), "own": (500, 1)}[name]
    bandwidth = np.median(spatial.distance.pdist(y))
    gamma = 1 / (2 * bandwidth**2)
    among_real = of_different(rbf_kernel(y, gamma=gamma))
    for t in range(GENERATIONS):
        x = metrics["published"][t].astype(np.float64).reshape(30, -1)
        cross = spatial.distance.cdist(x, y)
        mmd = of_different(rbf_kernel(x, gamma=gamma)) - 2 * rbf_kernel(x, y, gamma).mean()
        assert metrics["mmd"][t] == pytest.approx(mmd + among_real, abs=2e-6)
        inside = (cross <= radii(y)[None, :]).any(axis=0)
        assert metrics["coverage"][t] == pytest.approx(inside.mean())
        if name == "kde":
            centres = spatial.distance.cdist(x, real.modes.centres)
            assert metrics["modes_covered"][t] == (centres <= 3).any(axis=0).sum()
        if name != "own":
            assert metrics["nearest_real"][t] == pytest.approx(cross.min(axis=1).mean(), rel=1e-4)
    assert set(metrics) >= set(NAMES[name])


@pytest.mark.parametrize("name", TASKS)
def test_the_chain_is_the_same_without_them(name):
    metrics, _ = history(name)
    bare = jax.jit(jc.make_chain(TASKS[name](), "replace", GENERATIONS))(jax.random.key(3))
    for metric, values in bare.items():
        np.testing.assert_allclose(values, metrics[metric], rtol=2e-5, atol=1e-6, err_msg=metric)


def test_real_points_are_held_out_and_those_of_the_seed():
    task = held_out.measured(TASKS["gaussian"](), ["mmd"])
    noise = [task.noise(key) for key in jc.seed_keys([3, 3, 4])]
    begin = jax.jit(task.init)
    (one, batch), (again, _), (other, _) = (jax.device_get(begin(some)) for some in noise)
    np.testing.assert_array_equal(one.held_out.points, again.held_out.points)
    assert not np.isin(one.held_out.points, other.held_out.points).any()
    trained_on = task.coordinates.rows(one, batch)
    assert not np.isin(one.held_out.points, trained_on).any()
    assert np.abs(one.held_out.points.mean(axis=0) - [3, 0]).max() < 5 * 2 / 500**0.5


def test_a_law_that_is_kept_stays_near():
    """Under accumulate metrics stay near those of a sample of the real law; under replace not."""
    data = jc.sweep(
        "kde",
        ["replace", "accumulate"],
        {"dataset": ["blobs"], "bandwidth": [0.3], "num_samples": [12]},
        seeds=30,
        generations=20,
        metrics=["pool_variance", "energy_distance", "modes_covered", "vendi_score"],
        num_test=60,
    )
    last = data.isel(generation=-1).mean("seed").squeeze()
    replaced, kept = last.sel(workflow="replace"), last.sel(workflow="accumulate")
    assert replaced["energy_distance"] > 2 * kept["energy_distance"] > 0
    assert replaced["modes_covered"] < kept["modes_covered"] <= 3
    assert 1 < replaced["vendi_score"] < kept["vendi_score"] < 12
    label = POINT_METRICS["vendi_score"].label
    assert data["vendi_score"].attrs["long_name"] == label.long_name
    assert "nll" not in data


def test_what_is_no_number_has_no_count():
    task = jc.modify(TASKS["own"](), sample=lambda key, mean: jnp.full(30, jnp.nan))
    chain = jc.make_chain(held_out.measured(task, ["coverage", "tail_mass"]), "replace", 2)
    metrics = jax.jit(chain)(jax.random.key(0))
    assert np.isnan(metrics["coverage"]).all()
    assert np.isnan(metrics["tail_mass"]).all()


def test_contract():
    """No key is used twice, nothing leaks, and in 64 bits nothing is promoted unasked."""
    family = families.family_of(held_out.measured(TASKS["kde"](), list(POINT_METRICS)))
    (case,) = testing.cases(family, {}, ["fresh-real"])
    testing.check_keys_and_leaks(case)
    testing.check_promotion(case)
    testing.check_x64(case)


# Sweeps and refusals ----------------------------------------------------------------------------


def test_they_are_computed_where_they_are_named_alone():
    point = {"dim": [1], "num_samples": [20]}
    usual = chains.plan("gaussian", ["replace"], point)
    assert not set(POINT_METRICS) & set(usual.metrics)
    assert usual.of_points == []
    asked = chains.plan("gaussian", ["replace"], point, metrics=["mmd", "kl"])
    assert asked.metrics == ["mmd", "kl"]
    assert asked.options["pool"] == "points"
    metrics = jax.eval_shape(asked.function(asked.cells[0]), jax.eval_shape(jax.random.key, 0), {})
    assert "coverage" not in metrics


def test_a_metric_of_the_users_of_that_name_is_theirs():
    point = {"dim": [1], "num_samples": [20]}
    measures = {"mmd": lambda truth, model: model.mean[0]}
    found = chains.plan("gaussian", ["replace"], point, measures=measures, metrics=["mmd"])
    assert found.of_points == []


def test_a_measure_of_what_is_published_needs_points():
    measures = {"spread": lambda truth, model, published: published.std()}
    point = {"dim": [1], "num_samples": [20]}
    found = chains.plan("gaussian", ["replace"], point, measures=measures)
    assert found.options["pool"] == "points"
    assert "spread" in found.metrics
    with pytest.raises(ValueError, match="whose rows a metric looks at"):
        chains.plan("gaussian", ["replace"], point, measures=measures, pool="statistics")


REFUSED = {
    "unknown": ("gaussian", {}, ["mdd"], "metric: expected one of"),
    "of statistics": ("gaussian", {"pool": "statistics"}, ["mmd"], "pool for mmd: expected auto"),
    "of a regression": ("linear-regression", {}, ["mmd"], "whose batches are points"),
    "of counts": ("categorical", {}, ["coverage"], "whose batches are points"),
    "without modes": ("kde", {}, ["modes_covered"], "got that of dataset=moons"),
}
AXES = {
    "gaussian": {"dim": [1], "num_samples": [20]},
    "linear-regression": {"dim": [2], "noise_variance": [1.0], "num_samples": [20]},
    "categorical": {"num_outcomes": [3], "num_samples": [20]},
    "kde": {"dataset": ["moons"], "bandwidth": [0.1], "num_samples": [20]},
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    task, options, metrics, told = REFUSED[case]
    with pytest.raises(ValueError, match=told):
        jc.sweep(task, ["replace"], AXES[task], seeds=2, metrics=metrics, **options)


def test_refused_of_a_task():
    with pytest.raises(ValueError, match="one of mmd"):
        held_out.measured(TASKS["own"](), ["mdd"])
    with pytest.raises(ValueError, match="expected a list of names, got 'mmd'; write"):
        held_out.measured(TASKS["own"](), "mmd")
    with pytest.raises(ValueError, match="twice"):
        held_out.measured(TASKS["own"](), ["mmd", "mmd"])
    few = jc.gaussian.task(1, 5)
    with pytest.raises(ValueError, match="at least 6 points, got 5"):
        held_out.measured(few, ["recall"])
    unreal = jc.points_task(
        lambda key: (0.0, jnp.zeros(9)),
        lambda key, view: 0.0,
        lambda key, mean: jnp.zeros(9),
        lambda truth, mean: {},
    )
    with pytest.raises(ValueError, match="draws real points"):
        held_out.measured(unreal, ["mmd"])
