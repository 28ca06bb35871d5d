"""Point data sets against scikit-learn's, and arrays of one's own."""

import jax
import numpy as np
import pytest
from conftest import standard_errors
from scipy import stats
from sklearn import datasets as sklearn_datasets

import jaxcollapse as jc
from jaxcollapse import draws
from jaxcollapse.datasets import points

SEEDS, N = 300, 41
CENTRES = np.asarray([[0.0, 0.0], [5.0, 1.0], [-4.0, 3.0]], np.float32)
OURS = {
    "circles": points.circles,
    "moons": points.moons,
    "swiss-roll": points.swiss_roll,
    "blobs": lambda key, n: points.blobs(key, n, CENTRES),
}
THEIRS = {
    "circles": lambda n, s: sklearn_datasets.make_circles(
        n, noise=0.05, factor=0.8, random_state=s
    ),
    "moons": lambda n, s: sklearn_datasets.make_moons(n, noise=0.05, random_state=s),
    "swiss-roll": lambda n, s: sklearn_datasets.make_swiss_roll(n, noise=0.05, random_state=s),
    "blobs": lambda n, s: sklearn_datasets.make_blobs(n, centers=CENTRES, random_state=s),
}


@pytest.mark.parametrize("name", OURS)
def test_coordinates_and_radii_are_those_of_scikit_learn(name):
    keys = jc.seed_keys(range(SEEDS))
    ours = np.asarray(jax.jit(jax.vmap(lambda key: OURS[name](key, N)))(keys))
    theirs = np.stack([THEIRS[name](N, seed)[0] for seed in range(SEEDS)])
    assert ours.shape == theirs.shape

    def features(x):
        return {
            "radius": np.linalg.norm(x, axis=-1).ravel(),
            "pair": np.linalg.norm(x[:, ::2][:, :20] - x[:, 1::2][:, :20], axis=-1).ravel()
            if name == "swiss-roll"  # whose rows are independent
            else np.zeros(2),
            **{f"coordinate {axis}": x[..., axis].ravel() for axis in range(x.shape[-1])},
        }

    reference = features(theirs)
    for feature, values in features(ours).items():
        assert stats.ks_2samp(values, reference[feature]).pvalue > 1e-3, feature


@pytest.mark.parametrize("n", [3, 10, 41])
def test_positions_without_noise_are_those_of_scikit_learn(n):
    circles, _ = sklearn_datasets.make_circles(n, noise=None, factor=0.8, shuffle=False)
    np.testing.assert_allclose(points.circle_positions(n), circles, atol=1e-12)
    moons, _ = sklearn_datasets.make_moons(n, noise=None, shuffle=False)
    np.testing.assert_allclose(points.moon_positions(n), moons, atol=1e-12)


def test_blobs_are_shared_out_as_in_scikit_learn():
    _, cluster = sklearn_datasets.make_blobs(11, centers=CENTRES, random_state=0)
    ours = points.blobs(jax.random.key(0), 11, 100 * CENTRES)
    nearest = np.argmin(((ours[:, None] - 100 * CENTRES[None]) ** 2).sum(-1), axis=1)
    np.testing.assert_array_equal(np.bincount(nearest), np.bincount(cluster))


def both(data, key, num_samples, num_test):
    """Training points and the test set of one seed."""
    test, source = data.begin(key, num_samples, num_test)
    return data.draw(key, source, num_samples), test


@pytest.mark.parametrize("dim", [1, 4])
def test_blobs_of_any_number_and_dimension(dim):
    data = points.real_data("blobs", num_clusters=5, blob_dim=dim)
    train, test = both(data, jax.random.key(0), 12, 7)
    assert train.shape == (12, dim)
    assert test.shape == (7, dim)


def test_test_points_share_the_clusters_unless_redrawn():
    def distance(test_centres):
        data = points.real_data("blobs", test_centres=test_centres)

        def chain(key):
            train, test = both(data, key, 60, 60)
            gaps = ((test[:, None, :] - train[None, :, :]) ** 2).sum(-1)
            return jax.numpy.sqrt(gaps.min(axis=1)).mean()

        return float(jax.jit(jax.vmap(chain))(jc.seed_keys(range(200))).mean())

    assert distance("shared") < 1 < distance("redrawn")


@pytest.mark.parametrize("n", [3, 20])
@pytest.mark.parametrize("name", [*points.DATASETS.names(), "array"])
def test_expected_variance(name, n):
    array = np.random.default_rng(0).normal(size=(40, 2)) * [1, 3]
    data = points.real_data(array if name == "array" else name)

    def variance(key):
        return both(data, key, n, 1)[0].var(axis=0).mean()

    values = jax.jit(jax.vmap(variance))(jc.seed_keys(range(20_000)))
    assert standard_errors(values, data.variance(n)) < 5


def test_rows_of_an_array_are_used_once():
    array = np.arange(30.0).reshape(30, 1)
    data = points.real_data(array)
    train, test = both(data, jax.random.key(0), 12, 18)
    used = [*train[:, 0].tolist(), *test[:, 0].tolist()]
    assert sorted(used) == (np.arange(30) - 14.5).tolist()
    other, _ = both(data, jax.random.key(1), 12, 18)
    assert not np.array_equal(train, other)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((5, 2, 2)), "data: expected points"),
        (np.zeros((1, 2)), "data: expected points"),
        (np.full((5, 2), np.nan), "data: expected finite numbers"),
    ],
)
def test_arrays_refused(array, message):
    with pytest.raises(ValueError, match=message):
        points.real_data(array)


def test_too_few_rows_are_refused():
    with pytest.raises(ValueError, match="data: expected at least 14 rows, 10 to train on and 4"):
        points.real_data(np.zeros((13, 2))).check(10, 4)
    with pytest.raises(ValueError, match="dataset: expected one of blobs, circles, moons"):
        points.real_data("spirals")


def test_a_law_of_ones_own_is_real_data_as_it_is():
    cloud = points.law(2, lambda key, n: 3.0 * jax.random.normal(key, (n, 2)), variance=9.0)
    assert points.real_data(cloud) is cloud
    keys = jc.seed_keys(range(2000))
    train, test = jax.jit(jax.vmap(lambda key: both(cloud, key, 5, 4)))(keys)
    assert (train.shape, test.shape) == ((2000, 5, 2), (2000, 4, 2))
    assert standard_errors(train.var(axis=1).mean(axis=1), cloud.variance(5)) < 5
    assert standard_errors(train.mean(axis=1)[:, 0] ** 2, cloud.variance_of_mean(5)) < 5
    assert abs(stats.spearmanr(train[:, 0, 0], test[:, 0, 0]).statistic) < 5 / 2000**0.5
    with pytest.raises(ValueError, match="or a PointDataset, got a function; make a law of one's"):
        points.real_data(lambda key, n: None)


def test_whole_numbers_below_a_count():
    drawn = draws.integers(jax.random.key(0), (70_000,), 7)
    assert stats.chisquare(np.bincount(drawn, minlength=7)).pvalue > 1e-3
    big = 2**31 - 1
    assert int(draws.integers(jax.random.key(1), (1000,), big).min()) >= 0
    a = np.random.default_rng(0).integers(0, 2**32, 1000, dtype=np.uint64)
    exact = (a * np.uint64(big)) >> np.uint64(32)
    high = draws.high_word(a.astype(np.uint32), np.uint32(big))
    np.testing.assert_array_equal(high, exact)
