"""What a workflow, a task or a metric of one's own is promised, and what it is refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import standard_errors

import jaxcollapse as jc
from jaxcollapse.workflows import Workflow

TASKS = {
    "gaussian": lambda pool: jc.gaussian.task(2, 8, pool=pool),
    "kde": lambda pool: jc.kde.task("moons", 0.3, 8, num_test=20, pool=pool),
    "linear-regression": lambda pool: jc.linear_regression.task(2, 8, 0.5, num_test=20, pool=pool),
    "fresh design": lambda pool: jc.linear_regression.task(
        2, 8, 0.5, design="fresh", num_test=20, pool=pool
    ),
    "categorical": lambda pool: jc.categorical.task(5, 8, pool=pool),
}
QUICK = {"xla_backend_optimization_level": 0}


def run(task, workflow, generations=5, seed=0, **others):
    chain = jc.make_chain(task, workflow, generations, **others)
    compiled = jax.jit(chain, compiler_options=QUICK)
    return jax.device_get(compiled(jax.random.key(seed)))


def same(ours, theirs, rtol=2e-4, atol=2e-5):
    assert set(ours) == set(theirs)
    for name, values in theirs.items():
        np.testing.assert_allclose(ours[name], values, rtol=rtol, atol=atol, err_msg=name)


# Workflows of one's own -------------------------------------------------------------------------


class Newest(Workflow):
    """``replace``, said by a mask."""

    def choose(self, key, rows):
        return rows.generation == rows.now - 1


class Everything(Workflow):
    """``accumulate``, said by a mask."""

    def choose(self, key, rows):
        return rows.occupied


@dataclasses.dataclass(frozen=True)
class Weighted(Workflow):
    """``accumulate``, said by weights."""

    scale: float = 1.0

    def choose(self, key, rows):
        return self.scale * rows.occupied.astype(float)


@pytest.mark.parametrize("name", TASKS)
def test_a_workflow_of_ones_own_is_what_it_says_on_every_task(name):
    """Also where statistics would serve the record that it was made from."""
    same(run(TASKS[name]("auto"), Everything()), run(TASKS[name]("points"), "accumulate"))
    same(run(TASKS[name]("auto"), Newest(keep=1)), run(TASKS[name]("points"), "replace"))
    if name != "gaussian":  # whose replace starts anew in other coordinates
        same(run(TASKS[name]("auto"), Newest()), run(TASKS[name]("points"), "replace"))


@pytest.mark.parametrize("name", TASKS)
def test_weights_of_one_are_a_mask(name):
    if name != "categorical":  # which samples from floats otherwise than from counts
        same(run(TASKS[name]("auto"), Weighted()), run(TASKS[name]("points"), "accumulate"))
    ones = run(TASKS[name]("auto"), Weighted(), 2)
    np.testing.assert_allclose(ones["share_of_real_data"], [1.0, 0.5])


class Twice(Workflow):
    """The first half of each batch counts twice."""

    def choose(self, key, rows):
        n = 8
        first = jnp.arange(rows.occupied.shape[0], dtype=np.int32) % n < n // 2
        return jnp.where(first, 2.0, 1.0)


def test_a_weight_of_two_is_a_row_that_stands_there_twice():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 2)).astype(np.float32)
    y = rng.normal(size=8).astype(np.float32)
    weights = np.where(np.arange(8) < 4, 2.0, 1.0).astype(np.float32)
    doubled = np.repeat(np.arange(8), weights.astype(int))
    for ddof in (0, 1):
        ours = jc.gaussian.fit(x, ddof, weights)
        theirs = jc.gaussian.fit(x[doubled], ddof)
        np.testing.assert_allclose(ours.cov, theirs.cov, rtol=1e-5)
        np.testing.assert_allclose(ours.mean, theirs.mean, rtol=1e-5)
    np.testing.assert_allclose(
        jc.linear_regression.fit(x, y, weights),
        jc.linear_regression.fit(x[doubled], y[doubled]),
        rtol=1e-4,
    )
    counts = jc.categorical.fit(np.arange(8) % 3, 3, jnp.asarray(weights))
    np.testing.assert_array_equal(counts, jc.categorical.fit(np.arange(8)[doubled] % 3, 3))


@pytest.mark.parametrize("name", TASKS)
def test_weights_count_in_every_first_fit(name):
    """The first model under ``Twice`` is that of the doubled rows of the same real batch."""
    task = TASKS[name]("points")
    weighted = run(task, Twice(), 1)
    plain = run(task, "accumulate", 1)
    assert any(not np.allclose(weighted[k], plain[k], rtol=1e-3) for k in plain)
    assert all(np.isfinite(v).all() for v in weighted.values())


def test_a_density_of_weighted_points_is_that_of_points_that_stand_there_twice():
    from jaxcollapse.pools import Chosen
    from jaxcollapse.tasks.kde import fitting

    rng = np.random.default_rng(1)
    x = jnp.asarray(rng.normal(size=(8, 2)), np.float32)
    weights = jnp.where(jnp.arange(8) < 4, 2.0, 1.0)
    doubled = np.repeat(np.arange(8), np.asarray(weights, int))
    truth = fitting.Truth(jnp.asarray(rng.normal(size=(5, 2)), np.float32), jnp.zeros(2))
    ours = fitting.fit(Chosen(x, weights, weights > 0, np.int32(8)), 0.4, 1)
    rows = x[doubled]
    everything = jnp.ones(12, bool)
    theirs = fitting.fit(Chosen(rows, everything, everything, np.int32(12)), 0.4, 1)
    same(fitting.evaluate(truth, ours), fitting.evaluate(truth, theirs), rtol=1e-5)
    drawn = fitting.sample_model(jax.random.key(0), ours, fitting.GAUSSIAN, 40_000)
    mean = np.asarray(drawn, np.float64) - np.asarray(rows, np.float64).mean(axis=0)
    for axis in range(2):
        assert standard_errors(mean[:, axis], 0.0) < 5


@dataclasses.dataclass(frozen=True)
class Halves(Workflow):
    """Weights that are neither a mask nor numbers of rows."""

    answer: str = "int"

    def choose(self, key, rows):
        return {
            "int": rows.generation,
            "scalar": jnp.float32(1.0),
            "short": rows.occupied[1:],
        }[self.answer]


@pytest.mark.parametrize(
    ("answer", "got"),
    [("int", r"int32\[16\]"), ("scalar", r"float32\[\]"), ("short", r"bool\[15\]")],
)
def test_what_is_neither_a_mask_nor_weights_is_refused(answer, got):
    message = (
        rf"rows that a workflow chooses: expected a mask, bool \[16\], or weights, .* got {got}"
    )
    with pytest.raises(ValueError, match=message):
        run(TASKS["categorical"]("auto"), Halves(answer=answer), 2)


def test_a_fit_that_knows_no_weights_refuses_them():
    def fit(key, view):
        return jnp.sum(jnp.where(view.mask, view.data, 0.0)) / jnp.sum(view.mask, dtype=float)

    task = jc.points_task(
        lambda key: (0.0, jax.random.normal(key, (6,))),
        fit,
        lambda key, mean: mean + jax.random.normal(key, (6,)),
        lambda truth, mean: {"error": mean**2},
    )
    run(task, Everything())
    message = (
        "view.mask: expected a workflow whose rows count or do not, got one that weighs them; "
    )
    with pytest.raises(ValueError, match=message + "use view.weights"):
        run(task, Weighted())


class Counting(Workflow):
    """Sees one batch more after each generation whose data had a mean above 0."""

    def start(self):
        return jnp.int32(1)

    def choose(self, key, rows, state):
        newest = rows.generation >= rows.now - state
        mean = jnp.sum(jnp.where(rows.occupied, rows.data[:, 0], 0.0))
        return newest & rows.occupied, state + (mean > 0).astype(np.int32)


def test_a_workflow_may_keep_a_state_of_its_own():
    task = jc.gaussian.task(1, 6, mean=np.asarray([50.0]))
    share = run(task, Counting())["share_of_real_data"]
    # The mean is far above 0 in real coordinates, so that one batch more is seen each time.
    np.testing.assert_allclose(share, 1 / np.arange(1, 6), rtol=1e-6)
    share = run(jc.gaussian.task(1, 6, mean=np.asarray([-50.0])), Counting())["share_of_real_data"]
    np.testing.assert_allclose(share, [1, 0, 0, 0, 0])
    chain = jc.make_chain(task, Counting(), 5)
    state, _ = chain.run(chain.init(jax.random.key(0)), 3)
    assert int(state.workflow) == 4


class Near(Workflow):
    """Sees the rows that are nearest to where the real data are."""

    def choose(self, key, rows):
        data = rows.data if isinstance(rows.data, jax.Array) else rows.data.inputs
        return rows.occupied & (jnp.abs(data[:, 0] - 100.0) < 50.0)


@pytest.mark.parametrize(
    "task",
    [
        jc.gaussian.task(
            2, 6, mean=np.asarray([100.0, 0.0]), cov=np.asarray([[4.0, 1.0], [1.0, 2.0]])
        ),
        jc.gaussian.task(2, 6, mean=np.asarray([100.0, 0.0]), cov=4.0),
        jc.kde.task(
            "mine", 0.3, 6, num_test=4, data=np.random.default_rng(0).normal(size=(30, 2)) + 100
        ),
    ],
    ids=["gaussian", "isotropic", "kde"],
)
def test_what_a_workflow_sees_are_real_coordinates(task):
    np.testing.assert_allclose(
        run(task, Near())["share_of_real_data"], 1 / np.arange(1, 6), rtol=1e-6
    )


def test_a_fixed_design_is_seen_with_its_inputs():
    class Positive(Workflow):
        def choose(self, key, rows):
            assert rows.data.inputs.shape == (40, 2)
            return rows.data.inputs[:, 0] > 0

    metrics = run(jc.linear_regression.task(2, 8, 0.5, num_test=4), Positive())
    assert np.isfinite(metrics["mse"]).all()


def test_a_pool_never_counts_more_than_it_holds():
    """Every batch that comes to a full pool takes the place of the oldest."""
    from jaxcollapse.pools import points_pool

    pool = points_pool(jc.accumulate_subsample(3), 2)
    batches = jnp.arange(40.0).reshape(5, 8)
    state = pool.start(batches[0])
    for number in range(1, 5):
        state = pool.add(state, batches[number], number)
        view = pool.view(jax.random.key(number), state)
        rows = pool.rows(state, number + 1)
        assert rows.data.shape == (16,)
        assert bool(rows.occupied.all())
        held = set(np.asarray(batches[max(0, number - 1) : number + 1]).ravel().tolist())
        assert set(np.asarray(rows.data).tolist()) == held
        drawn = np.asarray(view.data).tolist()
        assert len(set(drawn)) == 3
        assert set(drawn) <= held


# Tasks and metrics of one's own -----------------------------------------------------------------


def scale_of(truth, model):
    leaves = [jnp.ravel(leaf).astype(float) for leaf in jax.tree.leaves(model)]
    return {"mine": jnp.sum(jnp.abs(jnp.concatenate(leaves)))}


@pytest.mark.parametrize("workflow", ["replace", "accumulate", "accumulate-subsample"])
@pytest.mark.parametrize("name", TASKS)
def test_an_evaluation_of_ones_own_reaches_both_pools(name, workflow):
    for pool in ("auto", "points"):
        task = TASKS[name](pool)
        for changed in (jc.modify(task, evaluate=scale_of), task._replace(evaluate=scale_of)):
            assert set(run(changed, workflow, 2)) == {"mine", "share_of_real_data"}


def shrunk(key, view, generation):
    """Half the weighted mean of squares, as a Gaussian about 0."""
    weights = view.weights
    second = jnp.sum(weights[:, None] * view.data**2, axis=0) / jnp.sum(weights)
    return jc.gaussian.Gaussian(jnp.zeros(2), jnp.eye(2), 0.5 * jnp.log(0.5 * second) * jnp.ones(2))


@pytest.mark.parametrize("workflow", ["replace", "accumulate", "window:keep=2", "fresh-real"])
def test_a_fit_of_ones_own_sees_rows_in_real_coordinates(workflow):
    task = jc.modify(jc.gaussian.task(2, 400, mean=np.asarray([3.0, 0.0]), cov=4.0), fit=shrunk)
    chain = jc.make_chain(task, workflow, 1, {"cov": lambda truth, model: jnp.diagonal(model.cov)})
    cov = np.asarray(jax.jit(jax.vmap(chain))(jc.seed_keys(range(50)))["cov"])[:, 0]
    # Half of 4 + 9, and of 4.
    assert standard_errors(cov[:, 0], 6.5) < 5
    assert standard_errors(cov[:, 1], 2.0) < 5
    metrics = run(task, workflow, 4)
    assert np.isfinite(metrics["kl"]).all()


def test_a_sample_of_ones_own_is_published_in_real_coordinates():
    def sample(key, model):
        return model.mean[None, :] + jax.random.normal(key, (20, 2))

    task = jc.gaussian.task(2, 20, mean=np.asarray([5.0, -5.0]), cov=np.asarray([[9.0, 2], [2, 4]]))
    seen = {}

    def published(truth, model, rows):
        seen["shape"] = rows.shape
        return {"mean": rows.mean(axis=0), "var": rows.var(axis=0)}

    changed = jc.modify(task, sample=sample)
    chain = jc.make_chain(changed, "replace", 2, published)
    found = jax.jit(jax.vmap(chain))(jc.seed_keys(range(400)))
    assert seen["shape"] == (20, 2)
    for t in range(2):
        for axis, mean in enumerate((5.0, -5.0)):
            assert standard_errors(found["mean"][:, t, axis], mean) < 5
            assert standard_errors(found["var"][:, t, axis], 1 - 1 / 20) < 5
    with pytest.raises(ValueError, match=r"sample of one's own: .* use design='fresh'"):
        jc.modify(jc.linear_regression.task(2, 8), sample=sample)


def test_what_reaches_points_alone_is_refused_of_statistics():
    task = jc.gaussian.task(2, 8, pool="statistics")
    with pytest.raises(ValueError, match="task to modify the fit of: expected one that may keep"):
        jc.modify(task, fit=shrunk)
    with pytest.raises(ValueError, match="what to replace of a task: expected one of fit, sample"):
        task._replace(pool=None)
    with pytest.raises(ValueError, match=r"pool for accumulate: .* whose rows a metric looks at"):
        jc.make_chain(task, "accumulate", 2, {"rows": lambda truth, model, rows: rows.sum()})


def test_measures_may_be_arrays_and_see_all_there_is():
    task = jc.gaussian.task(3, 10, mean=np.full(3, 7.0), cov=np.diag([1.0, 4.0, 9.0]))
    measures = {
        "cov": lambda truth, model: model.cov,
        "mean": jc.Metric("Fitted mean", "data units", of=lambda truth, model: model.mean),
        "off": lambda truth, model, rows: rows.mean(axis=0) - truth.mean,
        "noise": lambda truth, model, rows, key: jax.random.normal(key, ()),
        "tree": lambda truth, model: {"trace": jnp.trace(model.cov)},
    }
    found = run(task, "accumulate", 4, measures=measures)
    assert found["cov"].shape == (4, 3, 3)
    assert found["mean"].shape == found["off"].shape == (4, 3)
    assert (np.abs(found["mean"] - 7) < 6).all()
    assert len(set(found["noise"].tolist())) == 4
    np.testing.assert_allclose(
        found["tree"]["trace"], np.trace(found["cov"], axis1=1, axis2=2), rtol=1e-5
    )
    np.testing.assert_allclose(
        found["trace_ratio"], np.trace(found["cov"], axis1=1, axis2=2) / 14, rtol=1e-4
    )
    # One function of several is told as a dict.
    several = run(task, "replace", 2, measures=lambda truth, model: {"a": model.mean, "b": 1.0})
    assert set(several) >= {"a", "b"}


def test_a_fit_knows_its_generation_and_the_model_before():
    def init(key):
        return 0.0, jax.random.normal(key, (4,))

    def fit(key, view, generation, before):
        data = jnp.mean(view.data)
        if before is None:
            return {"mean": data, "generation": generation, "before": jnp.float32(-1.0)}
        return {"mean": data, "generation": generation, "before": before["mean"]}

    def sample(key, model):
        return model["mean"] + jax.random.normal(key, (4,))

    task = jc.points_task(init, fit, sample, lambda truth, model: dict(model))
    found = run(task, "replace", 5)
    np.testing.assert_array_equal(found["generation"], [1, 2, 3, 4, 5])
    np.testing.assert_allclose(found["before"][1:], found["mean"][:-1])
    assert found["before"][0] == -1
    chain = jc.make_chain(task, "replace", 5)
    state, first = chain.step(chain.init(jax.random.key(0)))
    state, second = chain.step(state)
    assert second["before"] == first["mean"]


# The halves of a chain --------------------------------------------------------------------------


@pytest.mark.parametrize("workflow", ["accumulate", "window:keep=2", "fresh-real"])
@pytest.mark.parametrize("name", ["gaussian", "kde"])
def test_a_chain_is_made_of_init_and_step(name, workflow):
    chain = jc.make_chain(TASKS[name]("auto"), workflow, 5)
    whole = run(TASKS[name]("auto"), workflow)
    key = jax.random.key(0)
    state = jax.jit(chain.init, compiler_options=QUICK)(key)
    step = jax.jit(chain.step, compiler_options=QUICK)
    found = []
    for number in range(1, 3):
        state, metrics = step(state)
        assert int(state.generation) == number
        found.append(metrics)
    state, rest = jax.lax.scan(lambda state, _: chain.step(state), state, length=3)
    first = jax.tree.map(lambda *x: np.stack(x), *found)
    same({k: np.concatenate([first[k], rest[k]]) for k in rest}, whole)
    with pytest.raises(ValueError, match=r"generations of a chain: expected at most 5, .* got 6"):
        chain.step(state)
    assert all(np.isnan(value) for value in step(state)[1].values())


def test_the_workflow_may_change_at_any_generation():
    """Accumulated for four generations, then replaced, then accumulated on from there."""
    task = jc.kde.task("moons", 0.3, 8, num_test=20, pool="points")
    accumulating, replacing = (jc.make_chain(task, w, 10) for w in ("accumulate", "replace"))
    state, _ = accumulating.run(accumulating.init(jax.random.key(0)), 4)
    state, metrics = replacing.run(replacing.resume(state), 3)
    np.testing.assert_array_equal(metrics["share_of_real_data"], 0)
    state, metrics = accumulating.run(accumulating.resume(state), 2)
    # Of all batches since there is no real one left.
    np.testing.assert_array_equal(metrics["share_of_real_data"], 0)
    assert int(state.generation) == 9
    kept = jc.make_chain(task, "fixed-real", 10)
    state, _ = accumulating.run(accumulating.init(jax.random.key(0)), 4)
    _, metrics = kept.run(kept.resume(state), 2)
    np.testing.assert_allclose(metrics["share_of_real_data"], 0.5)
    statistics = jc.make_chain(TASKS["kde"]("statistics"), "accumulate", 10)
    with pytest.raises(ValueError, match="state to go on from under another workflow"):
        statistics.resume(state)


def test_more_generations_go_on_from_where_fewer_ended():
    task = TASKS["gaussian"]("points")
    short, long = (jc.make_chain(task, "accumulate", g) for g in (3, 6))
    state, first = short.run(short.init(jax.random.key(0)), 3)
    _, rest = long.run(long.resume(state), 3)
    whole = run(task, "accumulate", 6)
    same({k: np.concatenate([first[k], rest[k]]) for k in rest}, whole)


# Refusals ---------------------------------------------------------------------------------------


def own(**changes):
    functions = {
        "init": lambda key: (0.0, jax.random.normal(key, (6,))),
        "fit": lambda key, view: jnp.mean(view.data),
        "sample": lambda key, mean: mean + jax.random.normal(key, (6,)),
        "evaluate": lambda truth, mean: {"error": mean**2},
    }
    return jc.points_task(**{**functions, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"evaluate": lambda truth, mean: mean**2},
            r"what evaluate returns: expected a dict of metrics by name, got float32\[\]",
        ),
        (
            {"evaluate": lambda truth, mean: {"share_of_real_data": mean}},
            "metric of evaluate: expected a name of its own, got share_of_real_data; rename it",
        ),
        (
            {"init": lambda key: jax.random.normal(key, (6,))},
            r"init of a task: expected \(truth, batch\), got float32",
        ),
        (
            {"init": lambda key: (0.0, (jax.random.normal(key, (6,)), jnp.float32(1)))},
            r"batch of init: expected arrays \[N, ...\], the same N .*, got .*float32\[\]",
        ),
        (
            {"init": lambda key: (0.0, (jnp.zeros(6), jnp.zeros(5)))},
            r"batch of init: expected arrays \[N, ...\], the same N .*float32\[6\].*float32\[5\]",
        ),
        (
            {"sample": lambda key, mean: mean + jax.random.normal(key, (5,))},
            r"batch of sample: expected the shapes and types .*, float32\[6\], got float32\[5\]",
        ),
        (
            {"fit": lambda view: 0.0},
            r"function fit: expected one of \(key, view, .*before\), .* got one of \(view\)",
        ),
        (
            {"evaluate": lambda a, b, c, d, e: {}},
            r"function evaluate: expected one of \(truth, model, .*\), .*\(a, b, c, d, e\)",
        ),
    ],
)
def test_what_ones_own_functions_must_not_return(changes, message):
    with pytest.raises(ValueError, match=message):
        run(own(**changes), "accumulate")


def test_what_is_no_key_no_task_and_no_measure():
    chain = jc.make_chain(own(), "replace", 2)
    with pytest.raises(ValueError, match=r"key of a chain: .* got 17 .* use jax.random.key\(17\)"):
        chain(17)
    with pytest.raises(
        ValueError, match=r"key of a chain: expected one key, got keys of shape \[3\]"
    ):
        chain(jc.seed_keys(range(3)))
    # Two words of an old key are the same key.
    same(jax.device_get(chain(jax.random.PRNGKey(5))), jax.device_get(chain(jax.random.key(5))))
    with pytest.raises(ValueError, match="task of a chain: expected a Task"):
        jc.make_chain("gaussian", "replace", 2)
    with pytest.raises(ValueError, match="measures: expected functions by name, got 3"):
        jc.make_chain(own(), "replace", 2, 3)
    with pytest.raises(ValueError, match="metric of error: expected a name of its own, got error"):
        run(own(), "replace", 2, measures={"error": lambda truth, model: 0.0})
    with pytest.raises(
        ValueError, match="task under a workflow of fresh real data: expected a func"
    ):
        run(own(), "fresh-real", 2)


def test_counts_that_are_traced_as_floats_are_refused():
    """Their gradient would be 0 without a word."""
    mixture = jc.make_mixture(jc.gaussian.task(1, 8), 8)
    key = jax.random.key(0)
    for loss in (lambda n: mixture(key, n, 4)["kl"], lambda n: mixture(key, 4, n)["kl"]):
        with pytest.raises(ValueError, match="points of a mixture: expected a whole number, got a"):
            jax.grad(loss)(4.0)


# Derivatives ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [7, 120])
def test_second_derivatives_of_a_density_in_its_bandwidth(rows):
    """Of one chunk of points, and of several with rows that fill the last one up."""
    rng = np.random.default_rng(0)
    points, test = rng.normal(size=(rows, 2)), rng.normal(size=(5, 2))

    def ours(h):
        return jc.kde.log_density(test, points, h).mean()

    def direct(h):
        u = jnp.sum((test[:, None] - points[None]) ** 2, axis=-1)
        log_kernels = -u / (2 * h**2) - jnp.log(2 * jnp.pi * h**2)
        return jnp.mean(jax.nn.logsumexp(log_kernels, axis=1) - np.log(rows))

    second = jax.jit(lambda h: (jax.hessian(ours)(h), jax.hessian(direct)(h)))
    with jax.enable_x64(True):
        for h in (0.1, 0.5, 3.0):
            np.testing.assert_allclose(*second(h), rtol=1e-6)
    np.testing.assert_allclose(*second(0.5), rtol=2e-3)


def test_second_derivatives_of_chains_are_right_or_refused():
    def loss(h):
        task = jc.kde.task("moons", h, 6, num_test=10)
        return jc.make_chain(task, jc.accumulate, 3)(jax.random.key(0))["nll"][-1]

    with jax.enable_x64(True):
        step = 1e-4
        found = jax.jit(jax.hessian(loss))(0.3)
        slope = jax.jit(jax.grad(loss))
        expected = (slope(0.3 + step) - slope(0.3 - step)) / (2 * step)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_second_derivatives_in_the_number_of_points_are_those_of_the_mean():
    """Draws of chi-squares are differentiated implicitly: right in the mean, forwards."""

    def trace(num_samples, key):
        task = jc.gaussian.task(1, num_samples)
        return jc.make_chain(task, jc.replace, 3)(key)["trace_ratio"][-1]

    def expected(n):
        return (1 - 1 / n) ** 3

    second = jax.jacfwd(jax.jacfwd(trace))
    found = jax.jit(jax.vmap(second, (None, 0)))(10.0, jc.seed_keys(range(20_000)))
    assert standard_errors(found, jax.grad(jax.grad(expected))(10.0)) < 5
    with pytest.raises(ValueError, match="Reverse-mode differentiation does not work"):
        jax.eval_shape(jax.grad(jax.grad(trace)), 10.0, jax.random.key(0))
