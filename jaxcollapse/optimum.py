"""The weight, share, temperature, bandwidth or schedule under which a loss is least.

The mean of a loss over seeds is a smooth function of what changes no shape, and each seed's chain
is differentiable in it. With the same seeds at every value (common random numbers) the least mean
is found by gradient, and how far another set of seeds would move it follows from the spread of the
seeds' gradients at the optimum.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks, draws, machine
from jaxcollapse.chain import make_chain
from jaxcollapse.descent import Free, descended, interval, interval_of_grid, walked
from jaxcollapse.families import TaskFamily
from jaxcollapse.keys import keys_of
from jaxcollapse.publishers import offers
from jaxcollapse.registry import as_family, published
from jaxcollapse.sweeps.plan import checked_seeds
from jaxcollapse.task import Task
from jaxcollapse.workflows import Workflow, as_workflow

OF_WORKFLOWS = ("share", "weight")  # each from 0 to 1
SEEDS_AT_ONCE = 250
OF_EDGES = 7  # folded into a seed's key, for where in a row the edges of its shares lie

Loss = Callable[[Mapping[str, jax.Array]], jax.Array]


class Optimum(NamedTuple):
    """Where a loss is least.

    Attributes:
      name: of what was varied.
      value: float, or ``[t - 1]`` of a schedule: its values in generations 2 to t.
      low: of the 95% interval over seeds, like ``value``; NaN where the optimum is at a bound, the
        loss has no curvature there, or it is a schedule of shares.
      high: likewise.
      loss: its mean over seeds at the optimum.
      loss_error: the standard error of that mean.
      at_bound: whether the loss still falls towards a bound of the values.
      grid: ``[P]``, the values of the grid; of a schedule, constant ones.
      grid_loss: ``[P]``, the mean loss there, over the same seeds.
      gain: by how much the loss lies below that of the grid's best value, seed by seed, over as
        many fresh seeds: those that found the optimum flatter it.
      gain_error: the standard error of that.
      steps: of the optimiser.
      bounds: of the values.
    """

    name: str
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    loss: float
    loss_error: float
    at_bound: bool
    grid: np.ndarray
    grid_loss: np.ndarray
    gain: float
    gain_error: float
    steps: int
    bounds: tuple[float, float] = (-np.inf, np.inf)

    @property
    def at_end(self) -> str:
        """What it means that the optimum is at a bound, in words; "" where it is not."""
        if not self.at_bound:
            return ""
        if self.value.ndim:
            return "some generations are at a bound"
        end = int(np.argmin(np.abs(np.asarray(self.bounds) - self.value)))
        bound = self.bounds[end]
        if self.name in OF_WORKFLOWS and bound == end:
            return f"only {('synthetic', 'real')[end]} data is best: {self.name} {bound:g}"
        further = ("lower", "higher")[end]
        return (
            f"the loss still falls towards the bound {bound:g}: give a {further} one, if there is"
        )

    @property
    def agrees(self) -> bool:
        """Whether the grid holds nothing better, and the optimum lies beside its least value.

        Of a schedule: whether no constant is better.
        """
        best = int(np.argmin(self.grid_loss))
        beside = np.concatenate([[-np.inf], self.grid, [np.inf]])[[best, best + 2]]
        near = self.value.ndim > 0 or beside[0] <= self.value <= beside[1]
        return bool(near) and self.gain >= -3 * self.gain_error - 1e-6 * abs(self.loss)


def best(
    task: TaskFamily | Task | str,
    workflow: Workflow | Callable[[], Workflow] | str,
    vary: str,
    loss: str | Loss,
    generation: int,
    axes: Mapping[str, Any] | None = None,
    seeds: int | Iterable[int] = 1000,
    bounds: tuple[float, float] | None = None,
    schedule: bool = False,
    budget: float | None = None,
    grid: int = 33,
    preset: str = "corrected",
    **options: Any,
) -> Optimum:
    """The value of one parameter under which the mean of a loss over seeds is least.

    The grid's least value is where the gradient's way begins: L-BFGS on the logit of the value
    between its bounds. Of the optimum x of S seeds, whose gradients g_s have the mean 0 there, the
    interval is ``x +- 1.96 sqrt(H^-1 C H^-1 / S)``, C the covariance of the g_s and H the
    curvature of the mean, as of every estimate that minimises a mean (Huber 1967).

    A share's slope is that of the row at its edge, which counts as a part of one. So that the loss
    does not dip within each row, every seed and generation has its share moved within half a row;
    the way down is Adam's (Kingma and Ba 2015), which looks at no loss, its second half averaged
    (Polyak and Juditsky 1992); and the interval is that of the grid's best value over resamples of
    the seeds, no finer than the grid, of which a schedule has none.

    >>> best("gaussian", "fixed-real", "weight", "squared_error_of_mean", 30,
    ...      {"dim": 1, "num_samples": 100})

    Args:
      task: a task's name, or a ``TaskFamily`` or a ``Task`` of one's own.
      workflow: one; it need not say what is varied.
      vary: ``weight`` or ``share`` of the workflow, or a parameter of the task that changes no
        shape, as ``bandwidth`` or ``temperature``.
      loss: a metric's name, which stands for its value at the last generation; or a function of
        the metrics, arrays ``[t, ...]`` by name, that gives a number.
      generation: t, the last generation.
      axes: the value of each axis of the task but what is varied, where it has no default.
      seeds: how many, from 0, or the seeds themselves.
      bounds: of the values; 0 and 1 of weights and shares.
      schedule: whether each of the generations 2 to t has a value of its own.
      budget: the mean of a schedule, which then stays what it is.
      grid: P, how many values the grid has.
      preset: ``corrected`` or ``authors``; it sets the options that are not given.
      **options: of the task.

    Raises:
      ValueError: what is varied cannot be, a value is missing, or the loss is no number.
    """
    count = checks.whole_number("generation", generation)
    _check_varied(as_family(task), vary)
    family, flow = published(task, [vary, *(axes or {})]), as_workflow(workflow)
    low, high = _bounds(vary, bounds)
    free = Free(low, high, count - 1 if schedule else None, budget)
    usual = {
        name: family.parameters[name].default
        for name in family.axes
        if family.parameters[name].default is not inspect.Parameter.empty and name != vary
    }
    point = {**usual, **(axes or {})}
    problem = _Problem(family, flow, vary, loss, count, point, preset, options, free)
    problem.check(schedule, budget)
    numbers = checks.whole_number("grid", grid, minimum=3)
    return _least(problem, checked_seeds(seeds), np.linspace(low, high, numbers + 2)[1:-1])


@dataclasses.dataclass(frozen=True)
class _Problem:
    """What is varied, and the loss of one seed as a function of it."""

    family: TaskFamily
    workflow: Workflow
    vary: str
    loss: str | Loss
    generations: int
    point: dict[str, Any]
    preset: str
    options: dict[str, Any]
    free: Free

    def check(self, schedule: bool, budget: float | None) -> None:
        """Refuses what cannot be varied, before anything is compiled."""
        family, free = self.family, self.free
        checks.one_of("preset", self.preset, family.presets)
        family.check_options(self.options)
        if schedule and self.vary not in OF_WORKFLOWS:
            raise checks.refusal(
                "schedule", " or ".join(OF_WORKFLOWS), self.vary, "leave schedule out"
            )
        if schedule and self.generations < 2:
            raise checks.refusal(
                "generation of a schedule", "at least 2", self.generations, "give more"
            )
        if budget is not None and not (schedule and free.low < budget < free.high):
            raise checks.refusal(
                "budget",
                f"the mean of a schedule, between {free.low:g} and {free.high:g}",
                budget,
                "change it, or give schedule=True",
            )
        others = [name for name in family.axes if name != self.vary]
        if set(self.point) != set(others):
            raise checks.refusal(
                f"axes of {family.name}",
                ", ".join(others) or f"none beside {self.vary}",
                ", ".join(self.point) or "none",
                "give one value for each of them",
            )
        middle = (free.low + free.high) / 2
        if self.vary in OF_WORKFLOWS:
            workflow = self._under(middle)
            family.check(workflow, self.point, self._all_options, self.generations)
            return
        checks.one_of("what is varied", self.vary, [*family.axes, *OF_WORKFLOWS])
        point = {**self.point, self.vary: middle}
        family.check(self.workflow, point, self._all_options, self.generations)
        traced = family.traced_at(self.workflow, point, self._all_options)
        checks.one_of("what is varied", self.vary, [*traced, *OF_WORKFLOWS])

    @property
    def _all_options(self) -> dict[str, Any]:
        return {**self.family.presets[self.preset], **self.options}

    def _under(self, value: Any) -> Workflow:
        """The workflow with a value of what is varied of it."""
        fields: dict[str, Any] = {self.vary: value}
        return dataclasses.replace(self.workflow, **fields)

    def _moved(self, share: jax.Array, task: Task, key: jax.Array) -> jax.Array:
        """A share of each generation, within half a row of what is given.

        The row at a share's edge counts as a part of one, and parts vary less than whole rows do:
        the loss dips within each row, and its slope there is not that over many rows. Over seeds
        whose edges lie anywhere in a row the dips cancel.
        """
        batch = jax.eval_shape(lambda key: task.init(task.noise(key)), key)[1]
        rows = self.point.get(str(self.family.batch), jax.tree.leaves(batch)[0].shape[0])
        edges = draws.uniform(draws.fold_in(key, OF_EDGES), (self.generations,)) - 0.5
        return jnp.clip(share + edges / rows, 0.0, 1.0)

    def __call__(self, logits: jax.Array, key: jax.Array) -> jax.Array:
        """The loss of one seed."""
        value, workflow, options = self.free.value(logits), self.workflow, self._all_options
        if self.vary not in OF_WORKFLOWS:
            options = {**options, self.vary: value}
        task = self.family.make(self.point, options)
        if self.vary in OF_WORKFLOWS:
            if self.free.length:  # the first generation sees real data alone
                value = jnp.concatenate([value[:1], value])
            workflow = self._under(self._moved(value, task, key) if self.vary == "share" else value)
        metrics = make_chain(task, workflow, self.generations)(key)
        if isinstance(self.loss, str):
            found = metrics[checks.one_of("loss", self.loss, metrics)][-1]
        else:
            found = jnp.asarray(self.loss(metrics))
        if found.ndim or not jnp.issubdtype(found.dtype, jnp.floating):
            remedy = "reduce it to one, in a function of the metrics"
            raise checks.refusal("loss", "a number", checks.described(found), remedy)
        return found


def _check_varied(family: TaskFamily, vary: str) -> None:
    """Refuses names of what has no slope, and says what has one."""
    parameters = {**family.parameters, **offers(family)}.values()
    known = [p.name for p in parameters if getattr(p.how, "traced", False) is True]
    if vary not in (*known, *OF_WORKFLOWS):
        raise checks.refusal(
            "what is varied",
            f"{', '.join(OF_WORKFLOWS)} of the workflow, or of the task what changes no shape, "
            + (", ".join(known) or "which it has none of"),
            repr(vary),
            "of others, sweep over some values and compare",
        )


def _bounds(vary: str, bounds: tuple[float, float] | None) -> tuple[float, float]:
    if bounds is None:
        if vary in OF_WORKFLOWS:
            return 0.0, 1.0
        raise checks.refusal(f"bounds of {vary}", "two numbers", "none", "give bounds=(low, high)")
    low, high = map(float, bounds)
    if not (np.isfinite([low, high]).all() and low < high):
        raise checks.refusal(
            "bounds", "two finite numbers, the lower one first", bounds, "mend them"
        )
    if vary in OF_WORKFLOWS and not 0 <= low < high <= 1:
        raise checks.refusal(f"bounds of {vary}", "from 0 to 1", bounds, "mend them")
    return low, high


def _least(problem: _Problem, seeds: np.ndarray, grid: np.ndarray) -> Optimum:
    at_once = min(SEEDS_AT_ONCE, seeds.size)

    def in_rows(seeds):
        return np.resize(seeds, -(-seeds.size // at_once) * at_once).reshape(-1, at_once)

    @jax.jit
    def over_seeds(logits, rows):
        """Losses ``[S]`` and slopes ``[S, P]``, of some seeds at a time, so that they fit."""
        one = jax.value_and_grad(problem)
        found = jax.lax.map(lambda some: jax.vmap(lambda k: one(logits, k))(keys_of(some)), rows)
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[: seeds.size], found)

    def of_seeds(logits: Any, some: np.ndarray = seeds) -> tuple[np.ndarray, np.ndarray]:
        with jax.default_device(machine.devices()[0]):
            loss, slopes = over_seeds(np.asarray(logits, draws.float_dtype()), in_rows(some))
        return np.asarray(loss, np.float64), np.asarray(slopes, np.float64)

    if problem.free.budget is not None:  # which one constant alone meets
        grid = np.asarray([problem.free.budget])
    constants = [of_seeds(problem.free.logits(value))[0] for value in grid]
    grid_loss = np.asarray([loss.mean() for loss in constants])
    if not np.isfinite(grid_loss).any():
        raise checks.refusal(
            "loss of a grid", "finite numbers", "none", "change the bounds or the loss"
        )
    start = int(np.nanargmin(np.where(np.isfinite(grid_loss), grid_loss, np.nan)))
    begin = problem.free.logits(float(grid[start]))
    down = walked if problem.vary == "share" else descended
    logits, steps = down(of_seeds, begin, grid_loss[start])
    at_optimum = of_seeds(logits)[0]
    fresh = _fresh(seeds)
    gains = of_seeds(begin, fresh)[0] - of_seeds(logits, fresh)[0]
    error = 1 / np.sqrt(seeds.size)
    if problem.vary == "share":
        value, low, high, at_bound = interval_of_grid(problem.free, logits, grid, constants)
    else:
        value, low, high, at_bound = interval(problem.free, lambda x: of_seeds(x)[1], logits)
    return Optimum(
        name=problem.vary,
        value=value,
        low=low,
        high=high,
        loss=float(at_optimum.mean()),
        loss_error=float(at_optimum.std() * error),
        at_bound=at_bound,
        grid=grid,
        grid_loss=grid_loss,
        gain=float(gains.mean()),
        gain_error=float(gains.std() * error),
        steps=steps,
        bounds=(problem.free.low, problem.free.high),
    )


def _fresh(seeds: np.ndarray) -> np.ndarray:
    """As many other seeds: those after the largest, round to 0 after the last there is."""
    after = np.arange(1, 2 * seeds.size + 1, dtype=np.uint32) + seeds.max()
    return after[~np.isin(after, seeds)][: seeds.size]
