"""Workflows as records: spelled, compared, and of the laws that their closed forms say."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import chains
from conftest import optimised_jit, standard_errors

import jaxcollapse as jc
from jaxcollapse import theory
from jaxcollapse.workflows import WORKFLOWS, Workflow, as_workflow, as_workflows, parse

GENERATIONS = (1, 2, 5, 12)
NEW = ("window:keep=2", "window:keep=5", "fixed-real", "fresh-real")


# Records ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spelling", "record"),
    [
        ("replace", Workflow(keep=1)),
        ("accumulate", Workflow()),
        ("accumulate-subsample", Workflow(draw=0)),
        ("accumulate-subsample:draw=50", Workflow(draw=50)),
        ("window:keep=3", Workflow(keep=3)),
        ("window:keep=3:draw=8", Workflow(keep=3, draw=8)),
        ("fixed-real", Workflow(keep=1, real="kept")),
        ("fixed-real:keep=all", Workflow(real="kept")),
        ("fresh-real", Workflow(keep=1, real="fresh")),
        ("fresh-real:keep=2:draw=0", Workflow(keep=2, real="fresh", draw=0)),
    ],
)
def test_a_spelling_is_its_record(spelling, record):
    assert parse(spelling) == record
    assert str(record) == spelling
    assert record.name == spelling
    assert hash(parse(spelling)) == hash(record)


def test_other_ways_to_say_a_workflow():
    assert as_workflow("accumulate_subsample") == jc.accumulate_subsample()
    assert as_workflow(jc.replace) == as_workflow("window:keep=1") == jc.replace() == jc.window(1)
    assert jc.accumulate_subsample(size=5) == parse("accumulate-subsample:draw=5")
    assert as_workflows("replace") == [jc.replace()]


@pytest.mark.parametrize(
    ("spelling", "message"),
    [
        ("replce", "workflow: expected one of replace, accumulate, .*, got 'replce'"),
        ("window", "workflow window: expected window:keep=..., got window; say keep"),
        ("window:keep=0", "keep: expected at least 1, got 0"),
        ("window:keep=two", "keep of a workflow: expected a whole number, got 'two'"),
        (
            "replace:size=3",
            "field of workflow replace: expected one of keep, real, draw, share, .*, got",
        ),
        ("replace:draw", "workflow replace:draw: expected NAME:FIELD=VALUE:..., .* got 'draw'"),
        ("fixed-real:real=never", "real: expected one of once, kept, fresh, got 'never'"),
        ("accumulate-subsample:draw=-1", "draw: expected at least 0, got -1"),
        (
            "no.such.module:Thing",
            "workflow no.such.module:Thing: expected MODULE:NAME .* no module",
        ),
    ],
)
def test_refused(spelling, message):
    with pytest.raises(ValueError, match=message):
        parse(spelling)
    with pytest.raises(ValueError, match="workflow: expected a Workflow, a function of one"):
        as_workflow(3)
    with pytest.raises(ValueError, match="workflow: expected at least one value, each once, got"):
        as_workflows(["replace", "window:keep=1"])


def test_how_many_batches_a_model_finds():
    t = np.arange(1, 7)
    expected = {
        "replace": [1, 1, 1, 1, 1, 1],
        "accumulate": [1, 2, 3, 4, 5, 6],
        "window:keep=3": [1, 2, 3, 3, 3, 3],
        "fixed-real": [1, 2, 2, 2, 2, 2],
        "fresh-real:keep=2": [1, 2, 3, 3, 3, 3],
    }
    for spelling, batches in expected.items():
        np.testing.assert_array_equal(parse(spelling).batches(t), batches)
        assert [parse(spelling).slots(g) for g in t] == batches
    assert parse("accumulate-subsample:draw=4").rows(5, 10) == 4
    assert parse("fixed-real").rows(5, 10) == 20


def test_a_record_can_be_written_and_read():
    record = parse("window:keep=3")
    assert Workflow(**record.describe()) == record
    assert Half(scale=0.5).describe() == {
        "class": f"{__name__}:Half",
        "keep": None,
        "real": "once",
        "draw": None,
        "scale": 0.5,
    }


@dataclasses.dataclass(frozen=True)
class Half(Workflow):
    """A workflow of one's own, for its spelling."""

    scale: float = 1.0

    def choose(self, key, rows):
        return rows.occupied


def test_one_of_ones_own_is_spelled_with_its_fields():
    assert str(Half()) == "half"
    assert str(Half(scale=2.0, keep=3)) == "half:keep=3:scale=2.0"
    assert parse(f"{__name__}:Half:scale=2") == Half(scale=2.0)
    jc.register(Half)
    assert parse("half:scale=2:keep=3") == Half(scale=2.0, keep=3)
    assert Half() != Half(scale=2.0)
    WORKFLOWS.forget("half")
    with pytest.raises(ValueError, match="name of workflows: expected one that is not built in"):
        jc.register(Half, name="replace")


# Laws -------------------------------------------------------------------------------------------


@functools.cache
def gaussians(spelling, pool, dim, num_samples):
    """Metrics ``[20000, 12]``."""
    task = jc.gaussian.task(dim, num_samples, pool=pool)
    chain = jc.make_chain(task, spelling, 12)

    def some(key):
        metrics = chain(key)
        return {name: metrics[name] for name in ("trace_ratio", "squared_error_of_mean")}

    return jax.device_get(optimised_jit(jax.vmap(some))(jc.seed_keys(range(20_000))))


@pytest.mark.parametrize("pool", ["points", "statistics"])
@pytest.mark.parametrize("spelling", NEW)
@pytest.mark.parametrize(
    ("dim", "num_samples"),
    [
        (3, 20),
        pytest.param(1, 6, marks=pytest.mark.slow),
        pytest.param(1, 20, marks=pytest.mark.slow),
        pytest.param(3, 6, marks=pytest.mark.slow),
    ],
)
def test_mean_and_variance_of_gaussians(spelling, pool, dim, num_samples):
    metrics = gaussians(spelling, pool, dim, num_samples)
    variance = metrics["trace_ratio"].astype(np.float64)
    error = metrics["squared_error_of_mean"].astype(np.float64) / dim
    workflow = parse(spelling)
    for t in GENERATIONS:
        expected = theory.gaussian_variance(workflow, t, num_samples)
        assert standard_errors(variance[:, t - 1], expected) < 5
        expected = theory.gaussian_mean_error(workflow, t, num_samples)
        assert standard_errors(error[:, t - 1], expected) < 5
        # What is lost of the variance is the error of the mean.
        assert standard_errors((variance + error)[:, t - 1], 1.0) < 5


def test_the_recursions_of_real_data_in_every_generation():
    """n real points and n synthetic ones, half the weight each: plain recursions."""
    n = 6
    for spelling, kept in (("fixed-real", True), ("fresh-real", False)):
        error, expected = 1 / n, []
        for _ in range(12):
            expected.append(error)
            of_real = (1 - 0.25 if kept else 0.25) / n
            error = of_real + 0.25 * (error + (1 - error) / n)
        metrics = gaussians(spelling, "statistics", 1, n)["squared_error_of_mean"]
        for t in GENERATIONS:
            assert standard_errors(metrics[:, t - 1], expected[t - 1]) < 5


@pytest.mark.slow
def test_a_window_collapses_for_a_thousand_generations_without_losing_digits():
    """Both pools: the log-determinant falls as a line, far below what floats can square."""
    logs = []
    for pool in ("points", "statistics"):
        chain = jc.make_chain(jc.gaussian.task(2, 4, pool=pool), jc.window(2), 1000)
        metrics = optimised_jit(jax.vmap(chain))(jc.seed_keys(range(40)))
        assert np.isfinite(metrics["kl"][:, :20]).all()
        log_det = np.asarray(metrics["log_det_ratio"], np.float64)
        assert np.isfinite(log_det).all()
        assert (log_det[:, -1] < -150).all()
        logs.append(log_det)
    fall = [(log[:, 999] - log[:, 499]) for log in logs]
    first = [(log[:, 499] - log[:, 19]) * 500 / 480 for log in logs]
    # As steep late as early, and on one pool as on the other.
    for one, other in ((fall[0], fall[1]), (fall[0], first[0]), (fall[1], first[1])):
        difference = one.mean() - other.mean()
        error = np.sqrt(one.var(ddof=1) / one.size + other.var(ddof=1) / other.size)
        assert abs(difference) < 5 * error


def test_fits_of_few_points_have_the_rank_of_what_they_see():
    """N = 4 points in D = 6: fresh real data bring directions, others do not."""
    expected = {"window:keep=2": [3, 3, 3], "fixed-real": [3, 3, 3], "fresh-real": [3, 6, 6]}
    for spelling, ranks in expected.items():
        chain = jc.make_chain(
            jc.gaussian.task(6, 4),
            spelling,
            3,
            measures={"spectrum": lambda truth, model: jnp.linalg.eigvalsh(model.cov)},
        )
        spectrum = np.asarray(jax.jit(jax.vmap(chain))(jc.seed_keys(range(20)))["spectrum"])
        found = (spectrum > 1e-5 * spectrum.max(axis=-1, keepdims=True)).sum(axis=-1)
        np.testing.assert_array_equal(found, np.tile(ranks, (20, 1)))


@pytest.mark.parametrize("spelling", NEW)
def test_second_moment_of_kernel_density_estimates(spelling):
    n, h, dim = 8, 0.5, 2
    cloud = jc.kde.task(
        "cloud", h, n, num_test=4, data=points_law(lambda key, n: jax.random.normal(key, (n, dim)))
    )
    chain = jc.make_chain(cloud, spelling, 8)
    keys = jc.seed_keys(range(20_000))
    found = optimised_jit(jax.vmap(lambda key: chain(key)["second_moment"]))(keys)
    t = np.arange(1, 9)
    known = theory.kde_second_moment(parse(spelling), 1 - 1 / n, 1 / n, np.full(8, h**2))
    for g in (1, 2, 3, 8):
        assert standard_errors(found[:, g - 1], known[g - 1]) < 5
    if spelling == "fresh-real":
        # A share of a half of fresh points: s^2 + h^2 (1 - (1 - a)^t) / a about the real mean, to
        # which the means of the batches add their own distances.
        plain = 1 + h**2 * (1 - 0.5**t) / 0.5
        apart = known - plain
        assert (np.abs(apart) < 2.5 / n).all()


def points_law(sample):
    from jaxcollapse.datasets.points import law

    return law(2, sample, variance=1.0)


# Against plain loops ----------------------------------------------------------------------------


def batches_seen(spelling, batches, fresh):
    """What the model of generation t sees of batches 0 to t - 1, newest last."""
    workflow = parse(spelling)
    if workflow.real == "once":
        return batches if workflow.keep is None else batches[-workflow.keep :]
    synthetic = batches[1:][-workflow.keep :] if len(batches) > 1 else []
    return [fresh if workflow.real == "fresh" else batches[0], *synthetic]


def loop_of_regressions(rng, spelling, design, n, d, noise, generations, seeds):
    """Squared errors ``[S, G]`` of least squares on the rows that each generation sees."""
    weights, x0 = rng.normal(size=(seeds, d)), rng.normal(size=(seeds, n, d))

    def batch(w):
        x = x0 if design == "fixed" else rng.normal(size=(seeds, n, d))
        return x, np.einsum("snd,sd->sn", x, w) + np.sqrt(noise) * rng.normal(size=(seeds, n))

    batches, errors = [batch(weights)], []
    for t in range(generations):
        seen = batches_seen(spelling, batches, batch(weights) if t else batches[0])
        x, y = (np.concatenate([b[i] for b in seen], axis=1) for i in (0, 1))
        moments = np.einsum("snd,sn->sd", x, y)[..., None]
        fitted = np.linalg.solve(np.einsum("snd,sne->sde", x, x), moments)[..., 0]
        errors.append(np.sum((fitted - weights) ** 2, axis=-1))
        batches.append(batch(fitted))
    return np.stack(errors, axis=-1)


@pytest.mark.parametrize("design", [pytest.param("fixed", marks=pytest.mark.slow), "fresh"])
@pytest.mark.parametrize("spelling", NEW)
def test_regressions_against_a_loop(spelling, design):
    n, d, noise, generations, seeds = 9, 2, 0.5, 7, 10_000
    rng = np.random.default_rng(0)
    loop = loop_of_regressions(rng, spelling, design, n, d, noise, generations, seeds)
    for pool in ("points", "statistics"):
        task = jc.linear_regression.task(d, n, noise, design=design, num_test=4, pool=pool)
        ours = chains(task, spelling, generations, seeds)["excess_risk"]
        for t in (1, 2, 5, 7):
            # Errors are heavy-tailed: logarithms are compared.
            assert same_mean(np.log(ours[:, t - 1]), np.log(loop[:, t - 1])) < 5


def same_mean(a, b):
    a, b = (np.asarray(x, np.float64) for x in (a, b))
    error = np.sqrt(a.var(ddof=1) / a.size + b.var(ddof=1) / b.size)
    return abs(a.mean() - b.mean()) / error


@pytest.mark.parametrize("spelling", NEW)
def test_categorical_data_against_a_loop(spelling):
    k, n, generations, seeds = 4, 10, 7, 20_000
    rng = np.random.default_rng(1)
    real = np.full((seeds, k), 1 / k)
    batches, left, heterozygosity = [rng.multinomial(n, real)], [], []
    for t in range(generations):
        fresh = rng.multinomial(n, real) if t else batches[0]
        counts = np.sum(batches_seen(spelling, batches, fresh), axis=0)
        p = counts / counts.sum(axis=-1, keepdims=True)
        left.append((p > 0).sum(axis=-1))
        heterozygosity.append((1 - np.sum(p**2, axis=-1)) / (1 - 1 / k))
        batches.append(rng.multinomial(n, p))
    for pool in ("points", "statistics"):
        ours = chains(jc.categorical.task(k, n, pool=pool), spelling, generations, seeds)
        for t in (1, 2, 5, 7):
            assert same_mean(ours["outcomes_left"][:, t - 1], left[t - 1]) < 5
            found = ours["heterozygosity_ratio"][:, t - 1]
            assert same_mean(found, heterozygosity[t - 1]) < 5
            known = theory.categorical_heterozygosity(parse(spelling), t, n)
            assert standard_errors(found, float(known)) < 5
