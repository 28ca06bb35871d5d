"""Publishers that cut tails, or choose the best of more than they publish."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import mean_task
from conftest import optimised_jit, standard_errors
from scipy import stats

import jaxcollapse as jc
from jaxcollapse import publishers, theory
from jaxcollapse.publishers import informed
from jaxcollapse.publishers.selection import number_of_candidates
from jaxcollapse.registry import as_family
from jaxcollapse.sweeps import chains
from jaxcollapse.tasks.categorical.fitting import nucleus
from jaxcollapse.tasks.gaussian.central import central_points, central_reach

QUICK = {"xla_backend_optimization_level": 0}


def run(task, workflow, generations, seeds=20, measures=None, jit=jax.jit):
    chain = jc.make_chain(task, workflow, generations, measures)
    return jax.device_get(jit(jax.vmap(chain))(jc.seed_keys(range(seeds))))


def published(name="rows"):
    """A measure: the rows that a generation publishes."""
    return {name: lambda truth, model, rows: rows}


# Tails ------------------------------------------------------------------------------------------


def test_the_central_mass_of_a_gaussian_is_cut_by_its_radius():
    masses, dims = (0.05, 0.5, 0.9, 0.999), (1, 2, 10)
    of_masses = jax.jit(jax.vmap(central_reach, (None, 0)), static_argnums=0)
    reach = [of_masses(dim, np.asarray(masses, np.float32)) for dim in dims]
    expected = [[stats.chi2.ppf(p, dim) for p in masses] for dim in dims]
    np.testing.assert_allclose(reach, expected, rtol=1e-3)
    draw = jax.jit(central_points, static_argnums=(1, 2), compiler_options=QUICK)
    for dim, p in ((1, 0.9), (3, 0.3)):
        radius = np.sum(np.asarray(draw(jax.random.key(0), 20_000, dim, p)) ** 2, axis=1)
        law = lambda x, p=p, dim=dim: np.minimum(stats.chi2.cdf(x, dim) / p, 1)  # noqa: E731
        assert stats.kstest(radius, law).pvalue > 1e-4
        direct = stats.chi2.ppf(p, dim)
        assert radius.max() <= direct * 1.001
        assert standard_errors(radius / dim, theory.truncated_gaussian_factor(p, dim)) < 5
    whole = draw(jax.random.key(0), 50, 2, 1.0)
    np.testing.assert_array_equal(whole, jc.draws.normal_points(jax.random.key(0), 50, 2))
    assert np.isnan(draw(jax.random.key(0), 5, 2, -1.0)).any()


def test_the_factor_of_one_dimension_is_the_one_that_is_known():
    for p in (0.1, 0.5, 0.9):
        z = stats.norm.ppf((1 + p) / 2)
        known = 1 - 2 * z * stats.norm.pdf(z) / p
        np.testing.assert_allclose(theory.truncated_gaussian_factor(p), known)
    np.testing.assert_allclose(theory.truncated_gaussian_factor(0.9), 0.623, atol=5e-4)
    np.testing.assert_array_equal(theory.truncated_gaussian_factor(1, np.arange(1, 4)), 1)


@pytest.mark.parametrize(
    "workflow", ["replace", pytest.param("window:keep=2", marks=pytest.mark.slow)]
)
def test_variances_shrink_by_the_mass_that_is_cut(workflow):
    point = {"dim": 2, "num_samples": 10, "mass": 0.8, "temperature": 1.3}
    family = publishers.offered(as_family("gaussian"), ["mass", "temperature"])
    found = run(family.make(point, {}), workflow, 4, 20_000, jit=optimised_jit)
    for metric in ("trace_ratio", "squared_error_of_mean"):
        wf = jc.workflows.as_workflow(workflow)
        expected = family.mean_of(metric, wf, np.arange(1, 5), {}, point)
        for t in range(4):
            assert standard_errors(found[metric][:, t], expected[t]) < 5


def test_a_nucleus_is_the_fewest_outcomes_that_hold_the_mass():
    counts = np.asarray([1, 5, 0, 3, 1, 10], np.int32)
    kept = {0.4: [5], 0.5: [5], 0.6: [1, 5], 0.75: [1, 5], 0.8: [1, 3, 5], 0.92: [0, 1, 3, 5]}
    for mass, places in kept.items():
        found = np.asarray(nucleus(counts, np.float32(mass)))
        np.testing.assert_array_equal(np.flatnonzero(found), places, err_msg=str(mass))
    np.testing.assert_array_equal(nucleus(counts, np.float32(1)), counts)
    task = jc.truncated(jc.categorical.task(3, 40_000, exponent=1.0), 0.65)
    left = run(task, "replace", 3, 1)["outcomes_left"]
    np.testing.assert_array_equal(left, [[3, 2, 1]])  # 6/11 does not hold it, then 2/3 does


# The best of more -------------------------------------------------------------------------------


def first(truth, model, rows):
    return rows[:, 0]


def test_the_best_by_a_score_of_ones_own_in_real_coordinates():
    """The upper tail of each sample; of N candidates all are published, so q = 1 is the task."""
    base = jc.gaussian.task(2, 200, mean=np.asarray([50.0, 0.0]), cov=np.diag([4.0, 1.0]))
    assert jc.verified(base, 1, first) is base
    task = jc.verified(base, 0.3, first)
    rows = run(task, "accumulate", 1, 400, published())["rows"][:, 0]
    assert rows.shape == (400, 200, 2)
    z = stats.norm.ppf(0.7)
    above = (rows[..., 0] - 50) / 2
    # Of a model of 200 points, not of the real law, whose variance is 1/200 less on average.
    assert abs(above.mean() - stats.norm.pdf(z) / 0.3) < 0.02
    assert (np.diff(rows[..., 0], axis=1) > 0).mean() == pytest.approx(0.5, abs=0.02)
    assert abs(rows[..., 1].mean()) < 0.02


@pytest.mark.slow
def test_the_best_by_name():
    """By the model's density they are its central mass; by the real one, also of tails far off."""
    base = jc.gaussian.task(1, 400)
    by_model = run(jc.verified(base, 0.5, "model"), "replace", 2, 400)["trace_ratio"]
    factor = theory.truncated_gaussian_factor(0.5)
    ratio = by_model[:, 1] / by_model[:, 0]
    assert abs(np.mean(ratio) - factor) < 5 * ratio.std() / 20 + 2 / 400
    regression = jc.linear_regression.task(2, 60, design="fresh", noise_variance=1.0)
    error = run(jc.verified(regression, 0.25, "real"), "replace", 6, 60)["excess_risk"][:, -1]
    unverified = theory.regression_error(jc.replace(), 6, 2, 60, 1.0, fixed_design=False)
    assert error.mean() < 0.3 * unverified
    kde = jc.verified(jc.kde.task("moons", 0.3, 20, num_test=5), 0.25, "model")
    variance = run(kde, "replace", 5, 60)["pool_variance"]
    assert np.median(variance[:, 4]) < 0.5 * np.median(variance[:, 0])
    categorical = jc.verified(jc.categorical.task(4, 30, exponent=1.0), 0.4, "real")
    rows = run(categorical, "accumulate-subsample", 1, 50, published())["rows"]
    assert (rows == 0).mean() > 0.9  # which is the most likely, by chance 0.48 of the candidates


def test_a_verifier_that_errs_accepts_as_many_bad_ones_as_it_says():
    q, a, b, n = 0.4, 0.2, 0.3, 60
    count = number_of_candidates(n, q, a, b)
    accepted = q * (1 - b) + (1 - q) * a
    mean, spread = count * accepted, np.sqrt(count * (q * b * (1 - b) + (1 - q) * a * (1 - a)))
    assert mean - 4 * spread >= n > (count - 1) * accepted - 4 * spread
    assert number_of_candidates(n, 0.3) == 200
    assert number_of_candidates(7, 0.3) == 24
    seen = {}

    def score(truth, model, rows):
        seen["candidates"] = rows.shape[0]
        return rows[:, 0]

    task = jc.verified(jc.gaussian.task(1, n), q, score, error_rates=(a, b))
    rows = run(task, "replace", 1, 3000, published())["rows"][:, 0, :, 0]
    assert seen["candidates"] == count
    # Of the good, above the quantile of q in the model's law, there are 0.7, but for those near it.
    assert q * (1 - b) / accepted == pytest.approx(0.7)
    reference = _verified_by_numpy(n, q, a, b, count, 3000)
    for statistic in (np.mean, np.std, np.median):
        ours, theirs = statistic(rows, axis=1), statistic(reference, axis=1)
        assert stats.ks_2samp(ours, theirs).pvalue > 1e-5


def _verified_by_numpy(n, q, a, b, count, seeds):
    rng = np.random.default_rng(0)
    published = []
    for _ in range(seeds):
        real = rng.standard_normal(n)
        x = real.mean() + real.std() * rng.standard_normal(count)
        good = np.zeros(count, bool)
        good[np.argsort(-x)[: round(q * count)]] = True
        accepted = np.where(good, rng.random(count) >= b, rng.random(count) < a)
        chosen = rng.permutation(np.flatnonzero(accepted))[:n]
        published.append(x[chosen])
    return np.asarray(published)


def test_a_score_that_is_no_number_is_the_lowest():
    def score(truth, model, rows):
        return jnp.where(rows[:, 0] < 0, jnp.nan, 1.0)

    task = jc.verified(jc.gaussian.task(1, 10), 0.1, score)
    assert (run(task, "replace", 1, 50, published())["rows"] >= 0).all()


# Users ------------------------------------------------------------------------------------------

REWARDS = np.asarray([[0.0, 1.0, 2.0, -1.0], [3.0, 0.0, 0.0, 1.0]])


def rewarded(index):
    values = jnp.asarray(REWARDS[index], np.float32)
    return lambda truth, model, rows: values[rows]


def test_of_two_candidates_users_choose_as_bradley_and_terry_say():
    """The law of what is published given the model, by all pairs of candidates."""
    task = jc.categorical.task(4, 50, exponent=1.0)
    odds = (0.25, 0.75)
    curated = jc.curated(task, [rewarded(0), rewarded(1)], best_of=2, odds=odds)

    def share(truth, counts, rows):
        p = counts / counts.sum()
        law = jnp.zeros(4)
        for chance, reward in zip(odds, REWARDS, strict=True):
            wins = 1 / (1 + np.exp(reward[None, :] - reward[:, None])).astype(np.float32)
            law = law + chance * 2 * p * (wins @ p)
        return jnp.bincount(rows, length=4) / rows.shape[0] - law

    found = run(curated, "replace", 2, 4000, {"apart": share})["apart"]
    for t in range(2):
        for outcome in range(4):
            assert standard_errors(found[:, t, outcome], 0.0) < 5


@pytest.mark.slow
def test_of_many_candidates_probabilities_are_multiplied_by_rewards():
    task = jc.curated(jc.categorical.task(4, 20_000), rewarded(0), best_of=200)
    measures = {"p": lambda truth, counts: counts / counts.sum()}
    p = run(task, "replace", 3, 1, measures)["p"][0]
    for t in range(3):
        expected = np.exp(t * REWARDS[0]) / np.exp(t * REWARDS[0]).sum()
        np.testing.assert_allclose(p[t], expected, atol=0.02)


@pytest.mark.slow
def test_samples_resampled_by_their_importance_are_of_the_real_law():
    """Of a model that is told wrong, at a temperature of 3: real over published chances."""
    p = np.arange(1.0, 5) ** -1
    p = jnp.asarray(p / p.sum(), np.float32)

    def weight(truth, counts, rows):
        flat = jnp.where(counts > 0, counts / counts.sum(), 0.0) ** (1 / 3)
        return (p / (flat / flat.sum()))[rows]

    def share(truth, counts, rows):
        return jnp.bincount(rows, length=4) / rows.shape[0]

    task = jc.resampled(jc.tempered(jc.categorical.task(4, 500, exponent=1.0), 3.0), weight, 64)
    found = run(task, "replace", 3, 100, {"share": share})["share"]
    # 64 candidates of bounded weights: a bias of some 1/64 of what there is to correct, 0.3.
    np.testing.assert_allclose(found.mean(axis=(0, 1)), p, atol=0.01)


# Sweeps and refusals ----------------------------------------------------------------------------


def test_shares_are_an_axis_and_one_of_1_is_the_task():
    axes = {"dim": [1], "num_samples": [12]}
    given = {"seeds": 5, "generations": 3, "progress": False}
    both = jc.sweep(
        "gaussian", ["replace"], {**axes, "keep_best": [0.5, 1]}, score="model", **given
    )
    assert both["keep_best"].attrs["symbol"] == "q"
    plain = jc.sweep("gaussian", ["replace"], axes, **given)
    alone = both["trace_ratio"].sel(keep_best=1).transpose(*plain["trace_ratio"].dims)
    np.testing.assert_array_equal(alone, plain["trace_ratio"])
    masses = chains.plan("gaussian", "replace", {**axes, "mass": [0.5, 0.9, 1.0]})
    assert len({masses.program(cell) for cell in masses.cells}) == 1
    message = "option score, without the axis keep_best: expected some values to sweep over, got"
    with pytest.raises(ValueError, match=message):
        chains.plan("gaussian", "replace", axes, score="model")
    with pytest.raises(ValueError, match=r"axis mass: .* give values for mass among the axes"):
        chains.plan("gaussian", "replace", axes, mass=0.5)
    with pytest.raises(ValueError, match="score: expected one of real, model, got <function"):
        chains.plan("gaussian", "replace", {**axes, "keep_best": [0.5]}, score=first)


def test_users_choices_are_an_axis_and_one_of_1_is_the_task():
    task = jc.categorical.task(4, 6)
    assert jc.curated(task, best_of=1) is task
    axes = {"num_outcomes": [4], "num_samples": [6], "best_of": [1, 2, 4]}
    plan = chains.plan("categorical", "replace", axes, rewards=("rising", "falling"))
    assert len({plan.program(cell) for cell in plan.cells}) == 3
    assert plan.options["rewards"] == ("rising", "falling")
    with pytest.raises(ValueError, match=r"rewards: expected one of real, .*, got <function"):
        chains.plan("categorical", "replace", axes, rewards=first)


@pytest.mark.parametrize(("name", "sign"), [("rising", 1), ("falling", -1)])
def test_a_reward_by_name_is_that_of_the_first_coordinate(name, sign):
    task = jc.categorical.task(4, 50)
    own = jc.curated(task, lambda truth, model, rows: sign * rows.astype(float), best_of=3)
    named = jc.curated(task, name, best_of=3)
    model = informed.Informed(jnp.ones(4, np.int32), None)
    rows = [one.sample(one.noise(jax.random.key(1)), model) for one in (own, named)]
    np.testing.assert_array_equal(*rows)
    assert sign * (rows[0].mean() - 1.5) > 0.3


GAUSSIAN = jc.gaussian.task(1, 8)


def tokens_task():
    """Whose rows have no first coordinate."""
    return jc.points_task(
        lambda key: (None, jnp.zeros((2, 3), jnp.int32)),
        lambda key, view: None,
        lambda key, model: jnp.zeros((2, 3), jnp.int32),
        lambda truth, model: {},
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: jc.verified(GAUSSIAN, 0),
            "keep_best: expected a number above 0 and up to 1, got",
        ),
        (lambda: jc.verified(GAUSSIAN, 1.5), "keep_best: expected a number above 0 and up to 1"),
        (lambda: jc.verified(GAUSSIAN, "half"), "keep_best: expected a number"),
        (lambda: jc.verified(GAUSSIAN, 0.5, "likely"), "score by name: expected real, model, got"),
        (lambda: jc.verified(mean_task(), 0.5), "score by name: expected none by name, got 'real'"),
        (lambda: jc.verified(GAUSSIAN, 0.5, lambda rows: rows), "function score: expected one of"),
        (lambda: jc.verified(GAUSSIAN, 0.5, error_rates=0.1), "error_rates: expected two chances"),
        (
            lambda: jc.verified(GAUSSIAN, 0.5, error_rates=(0, 2)),
            "error_rates: expected a number",
        ),
        (
            lambda: jc.verified(GAUSSIAN, 0.5, error_rates=(0, 1)),
            "of one that accepts something",
        ),
        (
            lambda: jc.verified(jc.gaussian.task(1, 8, pool="statistics"), 0.5),
            "pool of what is verified: expected auto or points, .* got statistics",
        ),
        (
            lambda: jc.verified(jc.linear_regression.task(1, 8), 0.5),
            "task whose rows are chosen: .* use design='fresh'",
        ),
        (lambda: jc.verified("gaussian", 0.5), "task of verified: expected a Task"),
        (lambda: jc.curated(GAUSSIAN, 3), "rewards: expected a function or some, got 3"),
        (lambda: jc.curated(GAUSSIAN, first, odds="a"), "odds: expected 1 chances that sum to 1"),
        (
            lambda: jc.curated(GAUSSIAN, "nice"),
            "reward by name: expected real, model, rising, falling, got 'nice'",
        ),
        (
            lambda: jc.curated(tokens_task(), "rising"),
            r"for the rewards rising and falling: .* got one of int32\[2, 3\]",
        ),
        (lambda: jc.curated(GAUSSIAN, []), "rewards: expected a function or some, got none"),
        (lambda: jc.curated(GAUSSIAN, first, odds=[0.5]), "odds: expected 1 chances that sum to 1"),
        (lambda: jc.curated(GAUSSIAN, first, best_of=0), "best_of: expected at least 1, got 0"),
        (lambda: jc.truncated(GAUSSIAN, 0), "mass: expected a number from 0.01 to 1, got 0"),
        (
            lambda: jc.truncated(jc.gaussian.task(1, 8, pool="statistics"), 0.5),
            "pool of what is truncated: expected auto or points, .* got statistics",
        ),
        (
            lambda: jc.truncated(jc.kde.task("moons", 0.3, 5), 0.5),
            "central mass of a task: expected one that says how its tails are cut",
        ),
        (
            lambda: jc.tempered(jc.verified(GAUSSIAN, 0.5), 0.5),
            "temper before other publishers do their part",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(make, message):
    with pytest.raises(ValueError, match=message) as error:
        make()
    assert "\n" not in str(error.value)


def test_a_score_of_another_shape_is_refused():
    task = jc.verified(GAUSSIAN, 0.5, lambda truth, model, rows: rows)
    message = r"score of rows: expected one number a row, shape \[16\], got float32\[16, 1\]"
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(jc.make_chain(task, "replace", 2), jax.random.key(0))
