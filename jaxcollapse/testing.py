"""What every task has to hold under every workflow, for tests: of the tasks here, and of others.

>>> def test_my_task():
...     check_family(my_package.FAMILY, {"rate": 2.0, "num_samples": 20})
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from jaxcollapse import checks
from jaxcollapse.chain import Chain, make_chain
from jaxcollapse.families import TaskFamily
from jaxcollapse.keys import keys_of, seed_key
from jaxcollapse.metrics import SHARE_OF_REAL_DATA
from jaxcollapse.registry import as_family
from jaxcollapse.task import Task
from jaxcollapse.workflows import Workflow, as_workflow

WORKFLOWS = (
    "replace",
    "accumulate",
    "accumulate-subsample",
    "window:keep=2",
    "fixed-real",
    "fresh-real",
)
LONG, SHORT, SEED = 6, 4, 17  # generations of many seeds and of one of them
# For programs whose compiling takes longer than their running.
QUICK = {"xla_backend_optimization_level": 0}


class Equal(Workflow):
    """``accumulate``, told as weights of 1."""

    def choose(self, key: jax.Array, rows: Any) -> jax.Array:
        """Every row that there is counts as one."""
        return rows.occupied.astype(float)


@dataclasses.dataclass(frozen=True)
class Case:
    """A task at one point of its axes, under one workflow, on one kind of pool.

    Attributes:
      family: the task.
      point: values by axis.
      workflow: which data each model trains on.
      options: of the task.
      seeds: how many chains are compared.
      quick: whether programs are compiled without optimising.
      check_vma: whether chains are shared out as ``jax.shard_map`` does by default, which loops of
        one's own, such as those of ``jax.random.poisson``, do not always allow.
      twin: the same on another kind of pool, which has one law with it.
    """

    family: TaskFamily
    point: Mapping[str, Any]
    workflow: Workflow
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    seeds: int = 400
    quick: bool = True
    check_vma: bool = True
    twin: Case | None = None

    def __str__(self) -> str:
        """In words, for names of tests."""
        point = [f"{k}{v}" for k, v in self.point.items() if isinstance(v, int | float | str)]
        pool = [str(self.options["pool"])] if "pool" in self.options else []
        return "-".join([self.family.name, *point, self.workflow.name, *pool])

    def chain(self, generations: int, workflow: Workflow | None = None) -> Chain:
        """The chain of so many generations."""
        task = self.family.make(self.point, self.options)
        return make_chain(task, workflow or self.workflow, generations)

    def jit(self, function: Any) -> Any:
        """The function, compiled as the case says."""
        return jax.jit(function, compiler_options=QUICK if self.quick else None)

    @functools.cached_property
    def many(self) -> dict[str, np.ndarray]:
        """Metrics ``[S, 6, ...]`` of all seeds, mapped, and in a ``shard_map`` of one device."""
        mesh = Mesh(np.asarray(jax.devices()[:1]), ("seed",))
        over = PartitionSpec("seed")
        chain = self.chain(LONG)
        mapped = jax.shard_map(
            lambda seeds: jax.vmap(chain)(keys_of(seeds)),
            mesh=mesh,
            in_specs=over,
            out_specs=over,
            check_vma=self.check_vma,
        )
        return jax.device_get(self.jit(mapped)(np.arange(self.seeds, dtype=np.uint32)))

    @functools.cached_property
    def alone(self) -> dict[str, np.ndarray]:
        """Metrics ``[4, ...]`` of one of them, alone."""
        return jax.device_get(self.jit(self.chain(SHORT))(seed_key(SEED)))


def cases(
    family: TaskFamily | Task | str,
    point: Mapping[str, Any],
    workflows: Iterable[Workflow | str] = WORKFLOWS,
    options: Mapping[str, Any] | None = None,
    **others: Any,
) -> list[Case]:
    """A task under every workflow, on every kind of pool that serves it there.

    Args:
      family: the task, or its name.
      point: values by axis.
      workflows: which workflows.
      options: of the task.
      **others: of ``Case``.
    """
    family, options = as_family(family), dict(options or {})
    found = []
    for workflow in map(as_workflow, workflows):
        task = family.make(point, options)
        twins = "pool" in family.parameters and "pool" not in options
        served = twins and task.statistics is not None and task.statistics.serves(workflow)
        given = {**options, "pool": "points"} if served else options
        case = Case(family, point, workflow, given, **others)
        found.append(case)
        if served:
            found.append(
                dataclasses.replace(case, options={**options, "pool": "statistics"}, twin=case)
            )
    return found


# The properties ---------------------------------------------------------------------------------


def check_metrics(case: Case) -> None:
    """Metrics are those declared, one a generation, floating and finite."""
    declared = case.family.known(case.options)
    if case.family.metrics:
        assert set(case.many) == set(declared), f"{case}: metrics {set(case.many)}, not {declared}"
    for name, values in case.many.items():
        assert values.shape[:2] == (case.seeds, LONG), f"{case}: {name} has shape {values.shape}"
        assert np.issubdtype(values.dtype, np.floating), f"{case}: {name} is {values.dtype}"
        metric = case.family.labels.get(name)
        good = ~np.isnan(values) if metric and metric.infinite else np.isfinite(values)
        assert good.all(), f"{case}: {name} is not finite"


def check_prefix_and_seeds(case: Case) -> None:
    """A seed is the same alone and among others, and knows not how many generations follow."""
    for name, values in case.alone.items():
        np.testing.assert_allclose(
            values, case.many[name][SEED, :SHORT], rtol=2e-5, atol=2e-6, err_msg=f"{case}: {name}"
        )


def check_share(case: Case) -> None:
    """The share of real data is that of the workflow's record."""
    share = case.many[SHARE_OF_REAL_DATA].astype(np.float64)
    generation = np.arange(1, LONG + 1)
    name = SHARE_OF_REAL_DATA
    expected = case.family.mean_of(name, case.workflow, generation, case.options, case.point)
    if expected is None:
        return
    if case.workflow.draw is None:
        np.testing.assert_allclose(share, np.tile(expected, (case.seeds, 1)), rtol=1e-5)
        return
    np.testing.assert_array_equal(share[:, 0], 1.0)
    for t in range(1, LONG):
        assert _standard_errors(share[:, t], expected[t]) < 5, f"{case}: share at {t + 1}"


def check_keys_and_leaks(case: Case) -> None:
    """No key is used twice, and nothing leaks out of what is traced."""
    with jax.debug_key_reuse(True), jax.checking_leaks():
        jax.eval_shape(jax.jit(case.chain(3)), jax.random.key(3))


def check_promotion(case: Case) -> None:
    """No type or rank is promoted without being asked."""
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        jax.eval_shape(case.chain(2), jax.eval_shape(jax.random.key, 0))


def check_x64(case: Case) -> None:
    """The chain runs where 64 bits are allowed, under the strict rules of promotion too."""
    strict = jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict")
    with jax.enable_x64(True), strict[0], strict[1]:
        shapes = jax.eval_shape(case.chain(2), jax.eval_shape(jax.random.key, 0))
    for name, shape in shapes.items():
        kind = shape.dtype
        assert jnp.issubdtype(kind, jnp.floating), f"{case}: {name} is {kind} under x64"


def check_closed_forms(case: Case) -> None:
    """Means over seeds are within five standard errors of the closed forms that are told."""
    generation = np.arange(1, 4)
    for name, values in case.many.items():
        known = case.family.mean_of(name, case.workflow, generation, case.options, case.point)
        if known is None:
            continue
        for t in generation:
            expected, found = float(known[t - 1]), values[:, t - 1]
            if np.isfinite(expected) and np.isfinite(found).all():
                off = _standard_errors(found, expected)
                assert off < 5, f"{case}: {name} at {t} is {off:.1f} standard errors off"


def check_weights(case: Case) -> None:
    """Weights of 1 are rows that count; a fit that knows no weights refuses them."""
    if case.workflow != Workflow() or case.options.get("pool", "points") == "statistics":
        return
    weighted = _weighted(case)
    if weighted is None:
        return
    for name, values in weighted.items():
        np.testing.assert_allclose(
            values, case.alone[name], rtol=1e-4, atol=1e-5, err_msg=f"{case}: {name}, weighted"
        )


def _weighted(case: Case) -> dict[str, np.ndarray] | None:
    """The chain of one seed under weights of 1; None if its fit refuses weights and says so."""
    try:
        return jax.device_get(case.jit(case.chain(SHORT, Equal()))(seed_key(SEED)))
    except ValueError as error:
        if "view.weights" in str(error):
            return None
        raise


def check_family_is_complete(case: Case) -> None:
    """What sweeps and commands ask of a family is there."""
    family, options = case.family, case.options
    assert set(case.point) == set(family.axes), f"{case}: axes are {family.axes}"
    assert family.relative_cost(**case.point) > 0, f"{case}: relative_cost"
    family.check_options(options)
    family.check(case.workflow, case.point, options)
    traced = family.traced_at(case.workflow, case.point, options)
    assert set(traced) <= {*family.axes, *family.parameters}, f"{case}: traced {set(traced)}"
    numbers = int | float | np.ndarray | np.generic
    assert all(isinstance(leaf, numbers) for leaf in jax.tree.leaves(traced)), f"{case}: traced"
    for name, parameter in family.parameters.items():
        assert parameter.help or family.name == "task", f"{case}: {name} has no line in Args"
    for name, metric in family.metrics.items():
        assert metric.long_name, f"{case}: {name} has no label"
        assert metric.units, f"{case}: {name} has no units"


def check_pools_agree(case: Case) -> None:
    """Two kinds of pool have one law: a Kolmogorov-Smirnov test of every metric."""
    if case.twin is None:
        return
    stats = checks.require("scipy.stats", "sweep")
    for name, values in case.many.items():
        for t in (0, 1, LONG - 1):
            ours, theirs = values[:, t].ravel(), case.twin.many[name][:, t].ravel()
            p = stats.ks_2samp(ours, theirs, method="asymp").pvalue
            assert p > 1e-6, f"{case} and {case.twin}: {name} at {t + 1}, p = {p:.1e}"


CHECKS = (
    check_family_is_complete,
    check_metrics,
    check_prefix_and_seeds,
    check_share,
    check_closed_forms,
    check_weights,
    check_pools_agree,
    check_keys_and_leaks,
    check_promotion,
    check_x64,
)


def check_family(
    family: TaskFamily | Task | str,
    point: Mapping[str, Any] | None = None,
    workflows: Iterable[Workflow | str] = WORKFLOWS,
    options: Mapping[str, Any] | None = None,
    seeds: int = 400,
) -> None:
    """Runs a task under workflows, on all its pools, and checks what every task has to hold.

    Args:
      family: the task: a ``TaskFamily``, a ``Task``, or a name.
      point: values by axis, small ones; none for a ``Task``.
      workflows: which workflows; a workflow of one's own may be among them.
      options: of the task.
      seeds: how many chains are compared.

    Raises:
      AssertionError: a property does not hold; it names the case, the metric and the generation.
      ValueError: the task refuses the point or the options.
    """
    for case in cases(family, point or {}, workflows, options, seeds=seeds, check_vma=False):
        for check in CHECKS:
            check(case)


def _standard_errors(values: np.ndarray, expected: float) -> float:
    """How many standard errors the mean of independent values is from what is expected."""
    values = np.asarray(values, np.float64)
    error = values.std(ddof=1) / np.sqrt(values.size)
    difference = abs(values.mean() - expected)
    # All the same, or nearly: rounding is all that may be between them.
    return 0.0 if difference <= 1e-6 * max(1.0, abs(expected)) else float(difference / error)
