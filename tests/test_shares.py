"""Shares of real rows, weights of them, and sizes of batches: said, traced, and of known laws."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import mean_task
from conftest import MICRO, optimised_jit, random_text, standard_errors

import jaxcollapse as jc
from jaxcollapse import parts, theory
from jaxcollapse.rows import Rows, batch_rows, row_counts
from jaxcollapse.schedules import Decay
from jaxcollapse.sweeps import chains, kept
from jaxcollapse.sweeps.closed_forms import closed_form
from jaxcollapse.theory import counted, moments
from jaxcollapse.theory.workflows import record_of, rows_of_batch
from jaxcollapse.workflows import Workflow, as_workflow, parse

SEEDS = 20_000
AXES = {"dim": [1], "num_samples": [6]}
KINDS = {
    "fixed-real": jc.fixed_real,
    "fresh-real": jc.fresh_real,
    "window:keep=3": functools.partial(jc.window, 3),
    "accumulate": jc.accumulate,
}


# Records ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spelling", "record"),
    [
        ("fresh-real:share=0.1", jc.fresh_real(share=0.1)),
        ("fixed-real:weight=0.618", jc.fixed_real(weight=0.618)),
        ("fixed-real:weight=0.9,0.5,0.1", jc.fixed_real(weight=(0.9, 0.5, 0.1))),
        ("accumulate:weight=0.5*t^-0.25", jc.accumulate(weight=Decay(0.5, 0.25))),
        ("window:keep=3:share=1:sizes=10,20,40", jc.window(3, 1, sizes=[10, 20, 40])),
        ("replace:sizes=5", jc.replace(sizes=5)),
        ("fixed-real:share=0.5:weight=0", jc.fixed_real(share=0.5, weight=np.float32(0))),
    ],
)
def test_a_spelling_is_its_record(spelling, record):
    assert parse(spelling) == record
    assert str(record) == spelling
    assert hash(parse(spelling)) == hash(record)
    assert Workflow(**json.loads(json.dumps(record.describe()))) == record


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: jc.fixed_real(weight=1.5), "weight: expected a number from 0 to 1, .* got 1.5; "),
        (lambda: jc.fixed_real(share=(0.5, -0.1)), "share: expected a number from 0 to 1"),
        (lambda: jc.fixed_real(share=()), "share: expected a number from 0 to 1, one for each"),
        (lambda: jc.fixed_real(share=float("nan")), "share: expected a number from 0 to 1"),
        (lambda: parse("fresh-real:share=half"), "share: .* got 'half'; choose one of those"),
        (lambda: parse("fresh-real:share=2*t^-1"), r"share: .* got '2\*t\^-1'"),
        (lambda: parse("replace:sizes=5,0"), "sizes: expected at least 1, got 0"),
        (lambda: parse("replace:sizes=5,half"), "sizes: expected a whole number, got 'half'"),
        (lambda: parse("replace:weight=0.5"), "weight: expected a workflow whose models see real "),
        (lambda: parse("accumulate-subsample:share=0.5"), "share: .* got draw=0; leave out draw"),
        (lambda: Own(weight=0.5), "workflow Own: expected its choose alone, got weight"),
    ],
)
def test_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@dataclasses.dataclass(frozen=True)
class Own(Workflow):
    """Says itself how much rows count."""

    def choose(self, key, rows):
        return rows.occupied


def test_what_does_not_fit_is_refused():
    task = jc.gaussian.task(2, 6)
    with pytest.raises(ValueError, match=r"sizes of .*: expected at most 6, .* got 7; lower it"):
        jax.eval_shape(jc.make_chain(task, "accumulate:sizes=3,7", 2), jax.random.key(0))
    with pytest.raises(ValueError, match=r"sizes of .*: expected at most 6"):
        jc.sweep("gaussian", "replace:sizes=7", AXES, 1, 2)
    counted = jc.categorical.task(2, 6, pool="statistics")
    with pytest.raises(ValueError, match=r"sizes of .*: expected at most 6, .* got 7; lower it"):
        jax.eval_shape(jc.make_chain(counted, "accumulate:sizes=3,7", 2), jax.random.key(0))
    with pytest.raises(ValueError, match="weight of a sweep's workflow: expected numbers known"):
        jax.jit(lambda w: jc.sweep("gaussian", jc.fixed_real(weight=w), AXES))(0.5)


@pytest.mark.parametrize(
    ("task", "workflow", "why"),
    [
        ("gaussian", "accumulate:share=0.5", "models see rows drawn of batches that stay"),
        ("categorical", "accumulate-subsample", "models see rows drawn of batches that stay"),
        ("linear-regression", "fixed-real:share=0.5", "its statistics are those of whole batches"),
        (
            "gaussian",
            "fixed-real:share=0.5*t^-1",
            "real rows stay of which each model sees another",
        ),
        (
            "gaussian",
            "window:keep=2:sizes=6,3",
            "its statistics are not right there, or not of so",
        ),
        (
            "gaussian",
            jc.window(2, sizes=(6, 3)),
            "its statistics are not right there, or not of so",
        ),
    ],
)
def test_statistics_that_do_not_serve_say_why(task, workflow, why):
    made = {
        "gaussian": jc.gaussian.task(2, 6, pool="statistics"),
        "categorical": jc.categorical.task(2, 6, pool="statistics"),
        "linear-regression": jc.linear_regression.task(2, 6, pool="statistics"),
    }[task]
    with pytest.raises(ValueError, match=f"pool for .*: expected auto or points, since {why}"):
        jc.make_chain(made, workflow, 2)


def test_where_statistics_serve():
    """Gaussians with real data of a share, a weight or fresh where N >= 2 D, other tasks always."""

    def on_statistics(task, workflow):
        return task.under(as_workflow(workflow)) is not task

    for workflow in ("fresh-real", "fixed-real:weight=0", "fixed-real:share=0.3,0.5"):
        assert on_statistics(jc.gaussian.task(3, 6), workflow)
        assert not on_statistics(jc.gaussian.task(3, 5), workflow)
    assert on_statistics(jc.gaussian.task(3, 5), "accumulate:sizes=2,5,1")
    assert on_statistics(jc.gaussian.task(3, 5), "replace:sizes=4,1")
    assert on_statistics(jc.gaussian.task(1, 100), jc.fixed_real(share=(0.5, 0.2) * 50))
    assert not on_statistics(jc.gaussian.task(30, 100), jc.fixed_real(share=(0.5, 0.2) * 50))
    for task in (jc.categorical.task(3, 5), jc.linear_regression.task(3, 2, design="fresh")):
        assert on_statistics(task, "fresh-real:share=0.5*t^-1:sizes=2,1")
        assert not on_statistics(task, "fixed-real:share=0.5*t^-1")
    traced = jax.jit(lambda n: on_statistics(jc.gaussian.task(1, 5), jc.window(2, sizes=n)) * 1)
    assert traced(3) == 0  # which may be too few
    assert not on_statistics(
        jc.kde.task("cloud", 0.5, 8, num_test=2, data=cloud()), "replace:sizes=3"
    )


@pytest.mark.parametrize("spelling", ["share=0.26", "share=0.5,0.5,0.31,1,0:sizes=9,9,5,7"])
def test_rows_of_a_part_count_alike(spelling):
    """Each as the row of a batch in its place, whose parts have all rows that are wanted."""
    kept, fresh = (as_workflow(f"{name}:{spelling}") for name in ("fixed-real", "fresh-real"))
    n = 9

    @jax.jit
    @jax.vmap
    def told(now):
        wanted = parts.wanted(kept, now, n)
        of_kept = parts.counts(kept, now, n), parts.of_first(kept, n)
        of_fresh = parts.counts(fresh, now, n), parts.of_fresh(fresh, now, n)
        return wanted, *of_kept, *of_fresh, parts.of_published(kept, now - 1, n)

    found = jax.device_get(told(jnp.arange(1, 7, dtype=jnp.int32)))
    for now in range(6):
        wanted, of_kept, first, of_fresh, fresh_rows, made = jax.tree.map(
            lambda x, now=now: x[now], found
        )
        assert first.sum() == n
        for count, rows, want in (
            (of_kept[0], first, wanted[0]),
            (of_kept[1], made, wanted[1]),
            (of_fresh[0], fresh_rows, wanted[0]),
            (of_fresh[1], made, wanted[1]),
        ):
            each = np.repeat(count, rows)
            np.testing.assert_allclose(each, np.clip(want - np.arange(each.size), 0, 1), atol=1e-6)
            assert each.sum() == pytest.approx(want, abs=1e-5)


def test_sizes_may_decay():
    workflow = parse("replace:sizes=100*t^-0.5")
    assert str(workflow) == "replace:sizes=100*t^-0.5"
    batches = np.arange(400)
    for decay in (Decay(100.0, 0.5), Decay(15.0, 1.0), Decay(5.0, 1.0), Decay(7.0, 0.0)):
        record = jc.replace(sizes=decay)
        seen = np.asarray(batch_rows(record, jnp.asarray(batches, np.int32), 100))
        np.testing.assert_array_equal(seen, rows_of_batch(record, batches, 100))
        exact = decay.scale * (batches + 1.0) ** -decay.power
        np.testing.assert_array_equal(seen, np.maximum(np.floor(exact * (1 + 1e-9) + 0.5), 1))
    with pytest.raises(
        ValueError, match=r"sizes: expected c\*t\^-a of finite c and a of at least 0"
    ):
        jc.replace(sizes=Decay(100, -1))
    with pytest.raises(ValueError, match=r"sizes of .*: expected at most 6, .* got 100"):
        jax.eval_shape(jc.make_chain(jc.gaussian.task(1, 6), workflow, 2), jax.random.key(0))


def test_how_much_rows_count():
    """Three real rows and three of each of two models, with room for four."""

    def counts(workflow, now=3):
        generation = np.repeat([0, 1, 2], 4)
        rows = Rows(None, generation, np.ones(12, bool), np.int32(now))
        return row_counts(as_workflow(workflow), jax.random.key(0), rows, 4).reshape(3, 4)

    np.testing.assert_array_equal(
        counts("accumulate:sizes=3,1,2"), [[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 0, 0]]
    )
    real, *synthetic = counts("accumulate:share=0.4")
    np.testing.assert_allclose(real, [1, 0.6, 0, 0], rtol=1e-6)
    drawn = np.sort(np.ravel(synthetic))
    np.testing.assert_allclose(drawn, [0, 0, 0, 0, 0, 0.4, 1, 1], rtol=1e-6)
    weighted = counts("accumulate:weight=0.5")
    np.testing.assert_allclose(weighted, [[1.5] * 4, [0.75] * 4, [0.75] * 4])
    np.testing.assert_allclose(counts("accumulate:weight=1,1,0.5"), weighted)
    np.testing.assert_allclose(counts("accumulate:weight=1.0*t^-1")[0], [1.0] * 4, rtol=1e-6)
    both = counts("accumulate:share=0.25:weight=0.5")
    np.testing.assert_allclose([both.sum(), both[0].sum(), both[0, 0]], [4, 2, 2], rtol=1e-6)
    # Real rows run short: of 2 a share of 0.8 is of 2.5 in all.
    short = counts("accumulate:share=0.8:sizes=2,4")
    np.testing.assert_allclose([short[0].sum(), short[1:].sum()], [2, 0.5], rtol=1e-6)
    assert np.isnan(np.asarray(counts(jc.accumulate(weight=0.5)))).sum() == 0
    beyond = jax.jit(lambda w: counts(jc.accumulate(weight=w)))(1.5)
    assert np.isnan(np.asarray(beyond)).all()


# Laws -------------------------------------------------------------------------------------------


@functools.cache
def gaussians(kind, field, values, pool, dim, num_samples, generations, ddof=0):
    """Variance and mean error ``[V, S, G]`` of chains with each of some numbers, in one program."""
    task = jc.gaussian.task(dim, num_samples, ddof, pool=pool)

    def chain(value, key):
        workflow = KINDS[kind](**{field: value})
        metrics = jc.make_chain(task, workflow, generations)(key)
        return {name: metrics[name] for name in ("trace_ratio", "squared_error_of_mean")}

    mapped = jax.vmap(jax.vmap(chain, (None, 0)), (0, None))
    found = optimised_jit(mapped)(np.asarray(values, np.float32), jc.seed_keys(range(SEEDS)))
    variance, error = (np.asarray(x, np.float64) for x in found.values())
    names = list(found)
    if names[0] != "trace_ratio":
        variance, error = error, variance
    return variance, error / dim


QUICK = [("fixed-real", "weight", (0.0, 0.3, 1.0), pool, 1, 6) for pool in ("points", "statistics")]
QUICK += [("fixed-real", "share", (0.25, 0.5), "statistics", 1, 6)]
QUICK += [("accumulate", "share", (0.3,), "points", 1, 4)]
LONG = [
    (kind, field, (0.0, 0.15, 0.5, 1.0), pool, dim, n)
    for kind in KINDS
    for field in ("weight", "share")
    for pool in ("points", "statistics")
    for dim, n in ((1, 6), (3, 20))
    if (field, pool) != ("share", "statistics") or kind in ("fixed-real", "fresh-real")
]


@pytest.mark.parametrize(
    ("kind", "field", "values", "pool", "dim", "num_samples"),
    [*QUICK, *(pytest.param(*case, marks=pytest.mark.slow) for case in LONG)],
)
def test_mean_and_variance_of_gaussians(kind, field, values, pool, dim, num_samples):
    generations = 4 if kind == "accumulate" else 8
    variances, errors = gaussians(kind, field, values, pool, dim, num_samples, generations)
    for value, variance, error in zip(values, variances, errors, strict=True):
        workflow = KINDS[kind](**{field: value})
        for t in (1, 2, 3, generations):
            seen = variance[:, t - 1], error[:, t - 1]
            assert standard_errors(sum(seen), 1.0) < 5, (workflow, t)
            expected = theory.gaussian_variance(workflow, t, num_samples)
            assert standard_errors(seen[0], expected) < 5, (workflow, t)
            expected = theory.gaussian_mean_error(workflow, t, num_samples)
            assert standard_errors(seen[1], expected) < 5, (workflow, t)


@functools.cache
def others(task, spelling, generations, seeds=SEEDS):
    """Metrics ``[S, G]``."""
    chain = jc.make_chain(TASKS[task], spelling, generations)
    return jax.device_get(optimised_jit(jax.vmap(chain))(jc.seed_keys(range(seeds))))


def cloud():
    from jaxcollapse.datasets.points import law

    return law(2, lambda key, n: jax.random.normal(key, (n, 2)), variance=1.0)


TASKS = {
    "gaussian": jc.gaussian.task(1, 6),
    "ddof": jc.gaussian.task(1, 6, 1),
    "gaussian on points": jc.gaussian.task(1, 6, pool="points"),
    "counts": jc.categorical.task(3, 8, pool="statistics"),
    "outcomes": jc.categorical.task(3, 8, pool="points"),
    "kde": jc.kde.task("cloud", 0.5, 8, num_test=2, data=cloud()),
    "regression on points": jc.linear_regression.task(2, 9, 0.5, num_test=3, pool="points"),
    "regression": jc.linear_regression.task(2, 9, 0.5, num_test=3, pool="statistics"),
}
T = np.arange(1, 6)


@pytest.mark.parametrize(
    ("task", "spelling"),
    [
        ("gaussian", "fixed-real:share=0.4:sizes=3,6,5"),
        ("counts", "fresh-real:weight=0.3"),
        ("kde", "fresh-real:share=0.3"),
        ("regression", "fixed-real:weight=0.3"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                *(
                    (pool, spelling)
                    for pool in ("gaussian", "gaussian on points")
                    for spelling in (
                        "replace:sizes=6,3,5",
                        "window:keep=2:sizes=3,6,5",
                        "accumulate:sizes=3,6,2",
                        "accumulate:weight=0.2:sizes=6,4,2",
                        "fixed-real:keep=2:weight=0.7:sizes=3,6,5",
                        "fixed-real:share=0.9,0.2,0.5:weight=0.3",
                        "fresh-real:share=0.9,0.2,0.5",
                        "fresh-real:share=0.8*t^-1:sizes=6*t^-0.5",
                    )
                ),
                ("gaussian", "window:keep=3:share=0.35:weight=0.5"),
                ("gaussian on points", "fixed-real:share=0.4:sizes=3,6,5"),
                ("counts", "fixed-real:share=0.3"),
                ("counts", "fresh-real:share=0.55:weight=0.3:sizes=8,5"),
                ("counts", "window:keep=2:sizes=8,4"),
                ("ddof", "accumulate:share=0.5*t^-1"),
                ("ddof", "window:keep=3:weight=0.7"),
                ("counts", "accumulate:weight=0.7,0.4"),
                ("outcomes", "fresh-real:weight=0.3"),
                ("outcomes", "fixed-real:share=0.3"),
                ("outcomes", "window:keep=2:share=0.6:sizes=8,4"),
                ("kde", "fixed-real:weight=0.3"),
                ("kde", "window:keep=3:share=0.5:sizes=4,8"),
                ("regression on points", "fixed-real:weight=0.3"),
                ("regression", "window:keep=2:weight=0.2"),
                ("regression", "accumulate:weight=0.2"),
            )
        ),
    ],
)
def test_closed_forms(task, spelling):
    found, workflow = others(task, spelling, 5), parse(spelling)
    known = {
        "gaussian": lambda name: theory.gaussian_metric(name, workflow, T, 1, 6),
        "ddof": lambda name: theory.gaussian_metric(name, workflow, T, 1, 6, 1),
        "counts": lambda name: theory.categorical_metric(name, workflow, T, 3, 8),
        "outcomes": lambda name: theory.categorical_metric(name, workflow, T, 3, 8),
        "kde": lambda name: theory.kde_metric(name, workflow, 7 / 8, 1 / 8, np.full(5, 0.25), 8),
        "regression": lambda name: theory.regression_error(workflow, T, 2, 9, 0.5),
    }[task.partition(" ")[0]]
    names = {"g": ("trace_ratio", "squared_error_of_mean"), "k": ("second_moment", "pool_variance")}
    names |= {"d": names["g"], "r": ("excess_risk",)}
    for name in names.get(task[0], ("heterozygosity_ratio", "squared_error")):
        expected = known(name)
        for t in T:
            off = standard_errors(found[name][:, t - 1], expected[t - 1])
            assert off < 5, (name, t)
    share = theory.share_of_real_data(workflow, T)
    np.testing.assert_allclose(found["share_of_real_data"][0], share, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dim", "num_samples", "spelling"),
    [
        (2, 9, "fixed-real:share=0.3,0.8"),
        (2, 9, "fresh-real:share=0.3:weight=0.6"),
        (4, 3, "fixed-real:share=0.5"),
        (3, 9, "accumulate:sizes=9,4,2"),
        (3, 6, "fresh-real:weight=0.2:sizes=3,6"),
        (6, 4, "window:keep=2:sizes=4,2"),
    ],
)
def test_both_pools_have_one_law_of_regressions(dim, num_samples, spelling):
    """Of logarithms, whose variance is finite: N < D too."""
    keys = jc.seed_keys(range(SEEDS))
    found = []
    for pool in ("points", "statistics"):
        task = jc.linear_regression.task(dim, num_samples, 0.5, "fresh", num_test=3, pool=pool)
        metrics = jax.jit(jax.vmap(jc.make_chain(task, spelling, 5)))(keys)
        found.append(np.log(np.asarray(metrics["excess_risk"], np.float64)))
    for ours, theirs in zip(*(pool.T for pool in found), strict=True):
        spread = np.sqrt((ours.var() + theirs.var()) / ours.size)
        assert abs(ours.mean() - theirs.mean()) < 5 * spread


@pytest.mark.slow
def test_both_pools_have_one_law_under_a_weight():
    """Where only one kind counts, too: of regressions with other inputs each time, N < D."""
    for weight in (0.0, 1.0):
        pools = []
        for pool in ("points", "statistics"):
            task = jc.linear_regression.task(6, 4, 0.5, "fresh", num_test=3, pool=pool)
            chain = jc.make_chain(task, jc.fixed_real(weight=weight), 3)
            keys = jc.seed_keys(range(2000))
            pools.append(np.asarray(jax.jit(jax.vmap(chain))(keys)["excess_risk"], np.float64))
        for ours, theirs in zip(*(pool.T for pool in pools), strict=True):
            spread = np.sqrt((ours.var() + theirs.var()) / ours.size)
            assert abs(ours.mean() - theirs.mean()) < 5 * spread


@pytest.mark.slow
@pytest.mark.parametrize("spelling", ["fixed-real:share=0.3,0.6", "fresh-real:share=0.4:sizes=8,5"])
@pytest.mark.parametrize("task", ["gaussian", "categorical", "regression"])
def test_parts_go_on_from_a_state(task, spelling):
    made = {
        "gaussian": jc.gaussian.task(2, 8, pool="statistics"),
        "categorical": jc.categorical.task(3, 8, pool="statistics"),
        "regression": jc.linear_regression.task(2, 8, 0.5, "fresh", 3, pool="statistics"),
    }[task]
    key = jax.random.key(3)
    whole = jax.jit(jc.make_chain(made, spelling, 4))(key)
    chain = jc.make_chain(made, spelling, 6)
    state, first = jax.jit(lambda key: chain.run(chain.init(key), 1))(key)
    _, rest = jax.jit(lambda state: chain.run(state, 3))(state)
    for name, values in whole.items():
        ours = np.concatenate([first[name], rest[name]])
        np.testing.assert_allclose(ours, values, rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    ("pool", "workflow"), [("points", jc.fresh_real), ("statistics", jc.fixed_real)]
)
def test_a_weight_of_nothing_loses_no_digits(pool, workflow):
    """Real data that count for nothing are ``replace``, however far it has gone.

    Of statistics where N is traced, as it is in a sweep.
    """

    def log_det(num_samples, key):
        n = num_samples if pool == "statistics" else 5
        chain = jc.make_chain(jc.gaussian.task(2, n, pool=pool), workflow(weight=0), 400)
        return chain(key)["log_det_ratio"]

    log = np.asarray(jax.jit(jax.vmap(log_det, (None, 0)))(5, jc.seed_keys(range(200))))
    expected = 400 * theory.gaussian_replace_log_det_drift(5, 2)
    assert expected < -500
    assert standard_errors(log[:, -1], expected) < 5


def test_records_that_say_the_same():
    """A weight that rows have anyway, and sizes of N, leave every chain what it is."""
    keys = jc.seed_keys(range(3))
    task = jc.gaussian.task(2, 6, pool="points")

    def run(spelling):
        return jax.jit(jax.vmap(jc.make_chain(task, spelling, 4)))(keys)

    for plain, same in (
        ("accumulate", "accumulate:sizes=6"),
        ("accumulate", "accumulate:weight=1*t^-1"),
    ):
        ours, theirs = run(same), run(plain)
        for name, values in theirs.items():
            np.testing.assert_allclose(ours[name], values, rtol=2e-3, atol=1e-5, err_msg=same)


def test_rows_and_batches_have_one_recursion():
    """Where all rows count alike, with kernels, temperatures and real data of any law."""
    added = (0.1, 0.2, 0.3, 0.4, 0.5)
    for spelling in ("replace", "accumulate", "window:keep=2", "fixed-real", "fresh-real:keep=2"):
        record = record_of(parse(spelling))
        for n, ddof in ((2, 0), (6, 1), (20, 0)):
            given = (5, n, ddof, (0.7, 0.4), added, 0.8)
            ours, theirs = counted.counted(record, *given), moments.recursion(record, *given)
            np.testing.assert_allclose(ours.mean_error, theirs.mean_error, rtol=1e-9)
            np.testing.assert_allclose(ours.variance, theirs.variance, rtol=1e-9)


def test_the_golden_ratio():
    k = np.asarray([0.25, 1.0, 4.0])
    n = 1e6
    weights = np.linspace(0.01, 1, 991)[:, None]
    errors = theory.golden_ratio_mean_error(weights, n, n / k)
    best = theory.golden_ratio_weight(k)
    np.testing.assert_allclose(weights[np.argmin(errors, axis=0), 0], best, atol=2e-3)
    np.testing.assert_allclose(theory.golden_ratio_mean_error(best, n, n / k), best / n)
    assert best[1] == pytest.approx(2 / (1 + 5**0.5))
    # Where the numbers are finite, it is what the recursion ends at.
    late = theory.gaussian_mean_error(jc.fresh_real(weight=0.3), 300, 7)
    assert late == pytest.approx(theory.gaussian_fresh_real_mean_error(7, 7, 0.3), rel=1e-9)
    late = theory.gaussian_mean_error(jc.fixed_real(weight=0.3), 300, 7)
    assert late == pytest.approx(theory.gaussian_fixed_real_mean_error(7, 7, 0.3), rel=1e-9)


def test_no_closed_form_is_a_wrong_one():
    t = np.asarray([2])
    for spelling in ("fixed-real:weight=0.3", "accumulate:share=0.3", "replace:sizes=4,2"):
        assert theory.categorical_metric("outcomes_left", parse(spelling), t, 3, 8) is None
        assert theory.regression_error(parse(spelling), t, 2, 9, 1.0, False) is None
    assert theory.regression_error(parse("fixed-real:share=0.3"), t, 2, 9, 1.0) is None
    assert theory.regression_error(parse("replace:sizes=9,5"), t, 2, 9, 1.0) is None
    assert np.isnan(theory.gaussian_variance(parse("replace:sizes=9"), t, 5))

    @dataclasses.dataclass(frozen=True)
    class More:
        keep: int = 1
        real: str = "once"
        draw: None = None
        another: float = 0.5

    assert theory.gaussian_variance(More(), t, 5) is None
    traced = jax.jit(lambda w: theory.gaussian_variance(jc.fixed_real(weight=w), t, 5) is None)
    assert traced(0.5)


# Gradients --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pool", "field", "at"),
    [
        pytest.param("points", "weight", 0.3, marks=pytest.mark.slow),
        ("statistics", "weight", 0.3),
        pytest.param("points", "share", 0.55, marks=pytest.mark.slow),
        ("statistics", "share", 0.55),
        ("statistics", "share", 0.5),
    ],
)
def test_gradients(pool, field, at):
    """Of the error of the mean of many seeds, against the slope of its closed form.

    Where a share is a number of rows: against the mean of those to either side.
    """
    task = jc.gaussian.task(1, 10, pool=pool)

    def error(value, key):
        workflow = jc.fixed_real(**{field: value})
        return jc.make_chain(task, workflow, 3)(key)["squared_error_of_mean"][-1]

    slopes = jax.jit(jax.vmap(jax.grad(error), (None, 0)))(at, jc.seed_keys(range(4000)))

    def known(value):
        return theory.gaussian_mean_error(jc.fixed_real(**{field: value}), 3, 10)

    slope = (known(at + 1e-5) - known(at - 1e-5)) / 2e-5
    assert abs(slope) > 0.05
    assert standard_errors(slopes, slope) < 5


@pytest.mark.parametrize(
    ("task", "pool"),
    [
        ("gaussian", "points"),
        ("regression", "points"),
        pytest.param("regression", "statistics", marks=pytest.mark.slow),
    ],
)
def test_the_slope_where_a_share_is_a_number_of_rows(task, pool):
    """The mean of the slopes to either side: rows that do not count yet have one."""
    made, metric = {
        "gaussian": (jc.gaussian.task(2, 8, pool=pool), "trace_ratio"),
        "regression": (jc.linear_regression.task(1, 8, 0.5, "fresh", 2, pool), "excess_risk"),
    }[task]

    def last(value, key):
        return jc.make_chain(made, jc.fixed_real(share=value), 2)(key)[metric][-1]

    slopes = jax.jit(jax.vmap(jax.grad(last), (None, 0)))
    keys = jc.seed_keys(range(8 if pool == "points" else 4000))
    step = 1e-3
    above, below, here = (slopes(0.5 + x, keys) for x in (step, -step, 0.0))
    if pool == "points":  # whose rows are the same at all shares
        np.testing.assert_allclose(here, (above + below) / 2, rtol=0.05, atol=0.02)
    else:
        assert standard_errors(here - (above + below) / 2, 0.0) < 5
        assert standard_errors(here, 0.0) > 2


# Sweeps -----------------------------------------------------------------------------------------


def test_shares_and_weights_are_one_program():
    workflows = [jc.fixed_real(share=a, weight=w) for a in (0.2, 0.5, 1.0) for w in (0.1, 0.9)]
    workflows += ["fixed-real:share=0.5,0.2:weight=0.5", "fixed-real:share=0.1,0.9:weight=0.3"]
    result = jc.sweep("gaussian", workflows, AXES, 20, 3, progress=False)
    assert result.attrs["programs"] == 2  # of numbers, and of pairs of them
    assert list(result["weight"].values) == [0.1, 0.9] * 3 + [0.5, 0.3]
    assert result["share"].values.tolist()[-2:] == ["0.5,0.2", "0.1,0.9"]
    assert np.isnan(result["sizes"].values).all()
    names = [str(as_workflow(workflow)) for workflow in workflows]
    assert list(result["workflow"].values) == names
    for name in (names[2], names[-1]):
        line = result.sel(workflow=name, dim=1, num_samples=6)
        alone = jc.make_chain(jc.gaussian.task(1, 6), name, 3)(jax.random.key(7))
        for metric in ("trace_ratio", "share_of_real_data"):
            np.testing.assert_allclose(line[metric][7], alone[metric], rtol=1e-5)
        expected = theory.gaussian_variance(parse(name), line["generation"].values, 6)
        np.testing.assert_array_equal(closed_form(line, "trace_ratio"), expected)
        share = closed_form(line, "share_of_real_data")
        np.testing.assert_allclose(share, line["share_of_real_data"][0], rtol=1e-6)


def test_what_is_kept_knows_the_numbers(tmp_path):
    """Finished cells are those of their weight; programs, kept between processes too, serve all."""
    plans = [chains.plan("gaussian", jc.fixed_real(weight=w), AXES, 4, 3) for w in (0.1, 0.9)]
    (one,), (other,) = (plan.cells for plan in plans)
    assert plans[0].program(one) == plans[1].program(other)
    assert plans[0].configuration != plans[1].configuration
    assert plans[0].traced(one)["workflow"] == {"weight": 0.1}
    paths = [kept.Programs(tmp_path, plan)._path(plan.cells[0], True) for plan in plans]
    assert paths[0] == paths[1]


def test_sizes_are_coordinates():
    workflows = ["replace:sizes=3,6", "replace:sizes=4", "replace"]
    result = jc.sweep("gaussian", workflows, AXES, 2, 2, progress=False, pool="points")
    assert result["sizes"].values.tolist() == ["3,6", "4", ""]
    assert jnp.isnan(result["share"].values).all()


@pytest.mark.parametrize("real", ["kept", "fresh"])
def test_rows_of_a_share_are_drawn_from_sorted_data_too(real):
    """Real rows 0, ..., 0, 1, ..., 1, as of a data set of two parts."""
    size, share, seeds = 40, 0.25, 400
    batch = jnp.repeat(jnp.asarray([0.0, 1.0]), size // 2)

    def fit(key, view):
        real = jnp.where(view.real, view.weights, 0.0)
        return jnp.sum(real * view.data) / jnp.sum(real)

    task = jc.points_task(
        init=lambda key: (batch, batch),
        fit=fit,
        sample=lambda key, model: jnp.zeros(size),
        evaluate=lambda truth, model: {"mean": model},
        real=lambda key, truth: truth,
    )
    workflow = jc.Workflow(keep=1, real=real, share=share)
    mean = np.asarray(
        jax.vmap(jc.make_chain(task, workflow, 4))(jc.seed_keys(range(seeds)))["mean"]
    )
    assert (mean[:, 0] == 0.5).all()
    # Of a finite population: 10 of 40, Cochran 1977, theorem 2.2.
    variance = 0.25 / 10 * (size - 10) / (size - 1)
    for t in (1, 2, 3):
        error = np.sqrt(variance / seeds)
        assert abs(mean[:, t].mean() - 0.5) < 5 * error
        assert abs(mean[:, t].var() / variance - 1) < 5 * np.sqrt(2 / seeds)
    same = (mean[:, 1] == mean[:, 2]).mean()
    assert same == 1 if real == "kept" else same < 0.5


def test_a_decay_is_of_floats_whatever_it_was_made_of():
    """So that it shares its program with others; what is no number is refused."""
    assert type(jc.fixed_real(weight=Decay(1, np.int64(1))).weight.power) is float
    with pytest.raises(ValueError, match="weight: expected a number from 0 to 1"):
        jc.fixed_real(weight=Decay("a", 1))


@pytest.mark.parametrize("several", [lambda task: task, lambda task: jc.ensemble(task, 2)])
def test_a_generation_does_not_depend_on_how_many_follow(several):
    """Nor on the room that there is for them, also of so many rows that JAX sorts them twice."""
    task = several(mean_task(1000))
    workflow = "accumulate:share=0.5"
    alone = jax.jit(jc.make_chain(task, workflow, 2))(jax.random.key(0))
    longer = jax.jit(jc.make_chain(task, workflow, 3))(jax.random.key(0))
    np.testing.assert_allclose(alone["error"], longer["error"][:2], rtol=1e-3)


@pytest.mark.parametrize("workflow", ["fresh-real:share=0.5", "fixed-real:weight=0.5"])
def test_documents_of_language_models_are_whole(workflow):
    task = jc.language_model.task(MICRO, 10, random_text())
    with pytest.raises(ValueError, match="expected one of whole documents"):
        jc.make_chain(task, workflow, 2)(jax.random.key(0))
