"""What stands between a sample and the pool: temperatures, as publishers and as axes of sweeps."""

import functools

import jax
import numpy as np
import pytest
from cases import mean_task
from conftest import optimised_jit, standard_errors

import jaxcollapse as jc
from jaxcollapse import publishers, theory
from jaxcollapse.cli import main as cli
from jaxcollapse.registry import as_family
from jaxcollapse.sweeps import chains
from jaxcollapse.sweeps.closed_forms import closed_form
from jaxcollapse.tasks.categorical import fitting as categorical
from jaxcollapse.workflows import Workflow, as_workflow

QUICK = {"xla_backend_optimization_level": 0}
POINTS = {  # and how many seeds make their means
    "gaussian": ({"dim": 2, "num_samples": 12}, 20_000),
    "kde": ({"dataset": "moons", "bandwidth": 0.4, "num_samples": 8}, 20_000),
    "linear-regression": ({"dim": 2, "noise_variance": 0.5, "num_samples": 14}, 20_000),
    "categorical": ({"num_outcomes": 5, "num_samples": 12}, 20_000),
}
OPTIONS = {"kde": {"num_test": 2}, "linear-regression": {"num_test": 2}}


def made(name, temperature, **options):
    point, _ = POINTS[name]
    family = publishers.offered(as_family(name), ["temperature"])
    given = {**OPTIONS.get(name, {}), **options}
    return family.make({**point, "temperature": temperature}, given)


# At 1 nothing changes ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "workflow"),
    [
        ("gaussian", {"pool": "statistics"}, "window:keep=2"),
        ("categorical", {"pool": "statistics"}, "accumulate"),
        ("linear-regression", {"design": "fresh", "pool": "points"}, "fixed-real"),
        *(
            pytest.param(*cell, marks=pytest.mark.slow)
            for cell in (
                ("gaussian", {"pool": "points"}, "accumulate-subsample"),
                ("kde", {}, "accumulate"),
                ("linear-regression", {"pool": "statistics"}, "accumulate"),
            )
        ),
    ],
)
def test_a_temperature_of_1_is_the_task_itself(name, options, workflow):
    """Where it is told; where it is traced, to the rounding of sums in another order."""
    bare = as_family(name).make(POINTS[name][0], {**OPTIONS.get(name, {}), **options})
    assert jc.tempered(bare, 1) is bare

    def both(key, temperature):
        told = made(name, temperature, **options)
        return [jc.make_chain(task, workflow, 4)(key) for task in (bare, told)]

    run = jax.jit(jax.vmap(both, (0, None)), compiler_options=QUICK)
    ours, theirs = jax.device_get(run(jc.seed_keys(range(20)), np.float32(1)))
    for metric, values in ours.items():
        np.testing.assert_allclose(values, theirs[metric], rtol=1e-4, atol=1e-6, err_msg=metric)
    # The first model has seen real data alone, whatever it publishes; the second has not.
    _, colder = jax.device_get(run(jc.seed_keys(range(20)), np.float32(0.25)))
    changed = [m for m in ours if not np.allclose(ours[m][:, 1:], colder[m][:, 1:], rtol=0.05)]
    assert set(changed) - {"share_of_real_data"}
    for metric, values in ours.items():
        np.testing.assert_allclose(values[:, 0], colder[metric][:, 0], rtol=1e-4, atol=1e-6)


# Laws -------------------------------------------------------------------------------------------


@functools.cache
def means_of(name, workflow, seeds, generations, **options):
    """Metrics ``[3, S, G]`` at three temperatures, of one program."""

    def chain(temperature, key):
        return jc.make_chain(made(name, temperature, **options), workflow, generations)(key)

    mapped = jax.vmap(jax.vmap(chain, (None, 0)), (0, None))
    temperatures = np.asarray(TEMPERATURES, np.float32)
    return jax.device_get(optimised_jit(mapped)(temperatures, jc.seed_keys(range(seeds))))


TEMPERATURES = (0.5, 1.0, 1.25)
CELLS = [("kde", "replace", {}, 4)]
MORE = [
    ("gaussian", "replace", {"pool": "statistics"}, 4),
    ("linear-regression", "accumulate", {"pool": "statistics"}, 4),
    ("gaussian", "fixed-real:keep=2", {"pool": "statistics"}, 5),
    ("gaussian", "fixed-real:weight=0.4", {"pool": "statistics"}, 5),
    ("gaussian", "fresh-real:share=0.25", {"pool": "points"}, 5),
    ("gaussian", "accumulate-subsample", {"pool": "points", "ddof": 1}, 4),
    ("linear-regression", "replace", {"pool": "statistics", "design": "fresh"}, 5),
    ("gaussian", "replace", {"pool": "points"}, 8),
    ("gaussian", "accumulate", {"pool": "statistics", "ddof": 1}, 20),
    ("gaussian", "fresh-real", {"pool": "statistics"}, 10),
    ("gaussian", "window:keep=3", {"pool": "points"}, 8),
    ("kde", "accumulate", {"pool": "points"}, 8),
    ("kde", "fresh-real", {"pool": "points"}, 8),
    ("kde", "window:keep=2", {"pool": "points"}, 8),
    ("linear-regression", "window:keep=2", {"pool": "points"}, 8),
    ("linear-regression", "fixed-real", {"pool": "statistics"}, 8),
]


@pytest.mark.parametrize(
    ("name", "workflow", "options", "generations"),
    [*CELLS, *(pytest.param(*cell, marks=pytest.mark.slow) for cell in MORE)],
    ids=str,
)
def test_means_are_the_closed_forms_at_every_temperature(name, workflow, options, generations):
    point, seeds = POINTS[name]
    family = publishers.offered(as_family(name), ["temperature"])
    found = means_of(name, workflow, seeds, generations, **options)
    checked = set()
    for index, temperature in enumerate(TEMPERATURES):
        for metric, values in found.items():
            expected = family.mean_of(
                metric,
                as_workflow(workflow),
                np.arange(1, generations + 1),
                options,
                {**point, "temperature": temperature},
            )
            if expected is None or not np.isfinite(expected).all():
                continue
            for t in range(generations):
                # Of what is nearly the same in all seeds rounding is all that is left.
                if np.ptp(values[index, :, t]) > 1e-6:
                    off = standard_errors(values[index, :, t], expected[t])
                    assert off < 5, f"{metric} at T = {temperature}, t = {t + 1}: {off:.1f}"
                    checked.add((metric, temperature))
    assert {temperature for _, temperature in checked} == set(TEMPERATURES)
    assert len(checked) >= len(TEMPERATURES)


def test_a_seed_is_stretched_by_its_temperature_and_has_its_slope():
    """Under replace ``v_t`` of a seed is that of T = 1 times ``T^(t-1)``."""

    def traces(temperature, key):
        task = jc.tempered(jc.gaussian.task(1, 10), temperature)
        return jc.make_chain(task, "replace", 4)(key)["trace_ratio"]

    run = jax.jit(lambda t, key: (traces(t, key), jax.jacobian(traces)(t, key)))
    warm, slope = jax.device_get(run(1.5, jax.random.key(1)))
    plain, _ = jax.device_get(run(1.0, jax.random.key(1)))
    t = np.arange(4)
    np.testing.assert_allclose(warm, plain * 1.5**t, rtol=1e-4)
    np.testing.assert_allclose(slope, t * warm / 1.5, rtol=1e-4, atol=1e-6)


def test_formulas_of_replace_are_those_of_the_recursion():
    t, n = np.arange(1, 8)[:, None, None], np.asarray([3, 20])[:, None]
    temperature = np.asarray([0.5, 1.0, 20 / 19])
    for ddof in (0, 1):
        variance = theory.tempered_gaussian_variance(t, n, temperature, ddof)
        error = theory.tempered_gaussian_mean_error(t, n, temperature, ddof)
        for place, value in enumerate(temperature):
            given = Workflow(keep=1), t[..., 0], n[:, 0], ddof, value
            np.testing.assert_allclose(variance[..., place], theory.gaussian_variance(*given))
            np.testing.assert_allclose(error[..., place], theory.gaussian_mean_error(*given))
    np.testing.assert_allclose(
        theory.tempered_gaussian_variance(t, n, 1.0), theory.gaussian_replace_variance(t, n)
    )
    np.testing.assert_allclose(
        theory.tempered_gaussian_mean_error(t, n, 1.0), theory.gaussian_replace_mean_error(t, n)
    )


def test_categorical_probabilities_become_powers():
    counts = np.asarray([7, 0, 2, 1, 90], np.int32)
    for temperature in (0.2, 0.9, 1.5, 30.0):
        weights = np.where(counts > 0, (counts / counts.sum()) ** (1 / temperature), 0)
        expected = weights / weights.sum()
        for kind in (np.int32, np.float32):
            found = categorical.tempered(counts.astype(kind), np.float32(temperature))
            assert found.dtype == kind
            assert found[1] == 0
            np.testing.assert_allclose(found / found.sum(), expected, rtol=2e-5, atol=2e-9)
    np.testing.assert_array_equal(categorical.tempered(counts, np.float32(1)), counts)


def test_zipfs_law_becomes_one_of_another_exponent():
    """Of 400,000 draws; the limit's own powers are those of its exponent."""
    family = publishers.offered(as_family("categorical"), ["temperature"])
    point = {"num_outcomes": 6, "num_samples": 400_000, "temperature": 0.8}
    measures = {"p": lambda truth, counts: counts / counts.sum()}
    task = family.make(point, {"exponent": 1.0})
    chain = jax.jit(jc.make_chain(task, "replace", 4, measures), compiler_options=QUICK)
    found = np.asarray(chain(jax.random.key(0))["p"])
    p = np.arange(1.0, 7) ** -1
    for t in range(1, 5):
        limit = theory.tempered_categorical_limit(p / p.sum(), t, 0.8)
        powers = np.arange(1.0, 7) ** -(0.8 ** (1 - t))
        np.testing.assert_allclose(limit, powers / powers.sum())
        # Errors of some generations, each of sqrt(p/N) and the first ones multiplied by 1/T.
        np.testing.assert_allclose(found[t - 1], limit, atol=6 * 2 * np.sqrt(0.25 / 400_000))


# Axes of sweeps ---------------------------------------------------------------------------------

SWEPT = {
    "gaussian": {"dim": [1], "num_samples": [20]},
    "kde": {"dataset": ["moons"], "bandwidth": [0.3], "num_samples": [6]},
}


def swept(name, workflow=("replace",), **axes):
    return jc.sweep(
        name, list(workflow), {**SWEPT[name], **axes}, seeds=6, generations=3, progress=False
    )


@pytest.mark.parametrize("name", SWEPT)
def test_a_sweep_over_temperatures_takes_as_many_programs_as_one(name):
    many = swept(name, temperature=[0.5, 0.9, 1.0, 1.1, 2])
    plain = swept(name)
    assert many.attrs["programs"] == plain.attrs["programs"]
    assert "temperature" not in plain.dims
    assert many["temperature"].attrs["symbol"] == "T"
    assert many.sizes["temperature"] == 5
    last = list(SWEPT[name])[-1]
    assert list(many.dims).index("temperature") < list(many.dims).index(last)
    for metric in chains.plan(name, "replace", SWEPT[name]).metrics:
        among = many[metric].sel(temperature=1).transpose(*plain[metric].dims)
        np.testing.assert_allclose(among, plain[metric], rtol=1e-5, err_msg=metric)
    if name == "gaussian":
        alone = swept(name, temperature=[0.9])
        among = many.sel(temperature=[0.9])
        for metric in ("trace_ratio", "kl"):
            np.testing.assert_array_equal(among[metric], alone[metric])


def test_shares_weights_and_temperatures_together_take_one_program():
    """Of a workflow of points, and of one of statistics."""
    axes = {"dim": [1], "num_samples": [20], "temperature": [0.8, 0.9, 1.0, 1.1, 1.2]}
    tenths = [f"{number / 10:.1f}" for number in range(10)]
    for spelling in ("fresh-real:share=0.5:weight={}", "fixed-real:weight={}"):
        plan = chains.plan("gaussian", [spelling.format(w) for w in tenths], axes)
        assert len(plan.cells) == 50
        assert len({plan.program(cell) for cell in plan.cells}) == 1


def test_results_find_their_closed_forms_or_none(tmp_path):
    found = swept("gaussian", temperature=[0.8, 1.0], mass=[1.0])
    jc.save(found, tmp_path / "tempered.nc")
    found = jc.load(tmp_path / "tempered.nc")
    line = found.isel(workflow=0, dim=0, mass=0, num_samples=0)
    known = closed_form(line.sel(temperature=0.8), "trace_ratio")
    np.testing.assert_allclose(known, theory.tempered_gaussian_variance([1, 2, 3], 20, 0.8))
    plain = closed_form(line.sel(temperature=1.0), "trace_ratio")
    np.testing.assert_allclose(plain, theory.gaussian_replace_variance([1, 2, 3], 20))
    assert closed_form(line.sel(temperature=0.8), "kl") is None
    share = closed_form(line.sel(temperature=0.8), "share_of_real_data")
    np.testing.assert_allclose(share, [1, 0, 0])


def test_a_closed_form_that_knows_no_temperature_is_not_asked():
    family = publishers.offered(as_family("categorical"), ["temperature"])
    point = {"num_outcomes": 5, "num_samples": 12}
    given = "heterozygosity_ratio", jc.replace(), np.arange(1, 4), {}
    assert family.mean_of(*given, {**point, "temperature": 0.9}) is None
    np.testing.assert_allclose(
        family.mean_of(*given, {**point, "temperature": 1}),
        as_family("categorical").mean_of(*given, point),
    )


def test_plans_without_a_publisher_are_what_they_were():
    plain = chains.plan("gaussian", "replace", SWEPT["gaussian"])
    assert plain.family is as_family("gaussian")
    told = chains.plan("gaussian", "replace", {**SWEPT["gaussian"], "temperature": [1.0]})
    assert not told.is_own
    assert told.family.name == "gaussian"
    assert set(told.configuration["axes"]) == {"dim", "temperature", "num_samples"}


def test_the_command_line_takes_temperatures(tmp_path, capsys):
    out = tmp_path / "tempered.nc"
    words = "run gaussian --workflow replace --dim 1 --num-samples 10 --generations 2 --seeds 3"
    more = "--temperature 0.9 1 --keep-best 0.5 --score model"
    cli.main([*words.split(), *more.split(), "--out", str(out)])
    found = jc.load(out)
    assert found["temperature"].values.tolist() == [0.9, 1.0]
    assert found["keep_best"].values.tolist() == [0.5]
    with pytest.raises(SystemExit):
        cli.main(["run", "gaussian", "--help"])
    told = capsys.readouterr().out
    assert all(f"--{name}" in told for name in ("temperature", "mass", "keep-best", "models"))
    more = "--keep-best 0.5 --error-rates 0.1 0.2 --models 1 2 --out other.nc"
    asked = cli.parse([*words.split(), *more.split()])
    assert (asked.models, asked.temperature, asked.error_rates) == ((1, 2), (), (0.1, 0.2))


# Refusals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, -1.0, float("inf"), float("nan"), "hot", None, True])
def test_what_is_no_temperature_is_refused(value):
    with pytest.raises(ValueError, match=r"temperature: expected a finite number above 0, got"):
        jc.tempered(jc.gaussian.task(1, 5), value)


def test_a_sweep_refuses_before_it_begins():
    with pytest.raises(ValueError, match=r"temperature: expected a finite number above 0, got 0"):
        swept("gaussian", temperature=[0])
    with pytest.raises(ValueError, match=r"axes of gaussian: expected dim, num_samples, got"):
        swept("gaussian", heat=[1])


def test_a_task_that_says_no_temperature_is_refused():
    message = r"temperature of a task: expected one that says how its models are tempered"
    with pytest.raises(ValueError, match=message):
        jc.tempered(mean_task(), 0.5)
    own = jc.modify(jc.gaussian.task(1, 5), sample=lambda key, model: model.mean + 0.0)
    with pytest.raises(ValueError, match=message):
        jc.tempered(own, 0.5)


def test_a_task_of_ones_own_may_say_how():
    """The mean of 8 points of variance T about the model: an error of T/8 more a generation."""

    def draw(key, model=(0.0, 1.0)):
        return model[0] + model[1] * jax.random.normal(key, (8,))

    task = jc.points_task(
        lambda key: (0.0, draw(key)),
        lambda key, view: (view.data.mean(), 1.0),
        draw,
        lambda truth, model: {"error": model[0] ** 2},
        tempered=lambda model, temperature: (model[0], model[1] * temperature**0.5),
    )
    run = jax.jit(jax.vmap(jc.make_chain(jc.tempered(task, 3.0), "replace", 3)))
    error = np.asarray(run(jc.seed_keys(range(20_000)))["error"])
    for t in range(3):
        assert standard_errors(error[:, t], (1 + 3 * t) / 8) < 5


@pytest.mark.slow
def test_the_temperature_that_keeps_a_variance_best_is_found():
    """At t = 2 it is T a, with a of two chi-squares: ``E (T a - 1)^2`` is least at E a / E a^2."""

    def loss(metrics):
        return (metrics["trace_ratio"][-1] - 1) ** 2

    found = jc.best(
        "gaussian",
        "replace",
        "temperature",
        loss,
        2,
        {"dim": 1, "num_samples": 10},
        seeds=4000,
        bounds=(0.3, 2.0),
        grid=5,
    )
    assert found.low - (found.high - found.low) / 2 < (10 / 11) ** 2
    assert found.high + (found.high - found.low) / 2 > (10 / 11) ** 2
    assert found.high - found.low < 0.1
