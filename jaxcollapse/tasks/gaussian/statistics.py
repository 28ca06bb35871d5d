"""Gaussians refitted to their own samples, as a task on the mean and scatter of each sample."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks, draws, parts, schedules
from jaxcollapse.pools import Pool
from jaxcollapse.products import product
from jaxcollapse.statistics import statistics_pool
from jaxcollapse.task import Task, with_fields
from jaxcollapse.tasks.gaussian.affine import (
    Gaussian,
    Moments,
    compose,
    counting,
    imaged,
    joined,
    merge,
    moved,
    scaled,
    standard,
    standard_like,
)
from jaxcollapse.tasks.gaussian.fitting import Drawn, Truth, fit_moments, sample_moments
from jaxcollapse.tasks.gaussian.framed import (
    Batch,
    Model,
    fitted,
    framed_pool,
    real_model,
    standard_rank,
)
from jaxcollapse.workflows import Workflow

# Whose normals of 100 generations take 0.4 MB a seed; those of D = 100 would take 4.
MOST_DIM_DRAWN_AHEAD = 32


def statistics_task(points: Task, truth: Truth, dim: int, num_samples: Any, ddof: Any) -> Task:
    """The task on statistics.

    Args:
      points: the task on points.
      truth: the real law.
      dim: the rank of its covariance.
      num_samples: N.
      ddof: see the task.
    """
    # A constant of numpy's, so that building a task runs nothing.
    as_float = jnp.asarray if checks.is_traced(num_samples) else np.asarray
    n: Any = as_float(num_samples, draws.float_dtype())
    rank = standard_rank(num_samples, dim)
    count, ahead = (dim + 1) * dim, dim <= MOST_DIM_DRAWN_AHEAD

    def as_standard(batch):
        # A batch is standard in the coordinates of the Gaussian that fits it.
        law, number = batch.drawn.law, batch.drawn.num_points
        present = jnp.isfinite(law.log_diagonal).astype(n.dtype)
        return compose(batch.model.in_standard, law), Moments(
            num_points=number, mean=jnp.zeros(dim, n.dtype), scatter=number * jnp.diag(present)
        )

    def settled(origin, kept):
        one = jax.tree.map(lambda x: x[0], kept)
        drawn = Drawn(one.num_points, fit_moments(one, ddof=0))
        frame, content = as_standard(Batch(Model(origin, origin, rank, origin), drawn))
        return frame, jax.tree.map(lambda x: x[None], content)

    def pool(truth, workflow, num_generations):
        inner = statistics_pool(
            merge, workflow, num_generations, counting, joined, num_rows=num_samples
        )
        full = needs_full_rank(workflow)
        if full and checks.is_traced(num_samples):
            inner = _where(fewest_rows(workflow) > dim, inner)
        in_parts = workflow.share is not None

        def of_batch(function):
            return jax.vmap(function, in_axes=(None, 0)) if in_parts else function

        def as_drawn(batch):
            return standard(dim), of_batch(further)(standard(dim), batch.drawn)

        return framed_pool(
            inner,
            workflow,
            first=as_drawn if workflow.real == "fresh" or in_parts else as_standard,
            further=of_batch(further),
            inverted=jax.vmap(moved, in_axes=(None, 0)),
            returned=jax.vmap(imaged, in_axes=(None, 0)),
            entering=of_batch(moved),
            full=full,
            rank=rank,
            spans=None,
            shown=lambda origin, rows: rows,
            settled=settled,
        )

    def fewest_rows(workflow: Workflow) -> Any:
        """The fewest rows that a batch has."""
        if workflow.sizes is None:
            return num_samples
        least = schedules.fewest(workflow.sizes)
        known = not checks.is_traced(least) and not checks.is_traced(num_samples)
        if known:
            return min(least, num_samples)
        return jnp.minimum(jnp.asarray(least, n.dtype), jnp.asarray(num_samples, n.dtype))

    def serves(workflow: Workflow) -> bool:
        if not parts.served(workflow, num_samples, dim):
            return False
        if not needs_full_rank(workflow) or checks.is_traced(num_samples):
            return True
        # The scatter of fewer points is too ill-conditioned to be formed, or singular in
        # directions that no zeros show.
        least = fewest_rows(workflow)
        return not checks.is_traced(least) and least >= max(2 * dim, dim + 1)

    def fit(key, seen):
        content = seen.view.content
        if not seen.known.newest:
            return fitted(seen.known, fit_moments(content, ddof))
        # As ``as_standard`` makes it, the batch is standard, and its Gaussian a multiple of that.
        origin, number = seen.known.origin, content.num_points
        in_frame = scaled(standard_like(origin), number / (number - ddof))
        return Model(in_frame, scaled(origin, number / (number - ddof)), seen.known.rank, origin)

    def noise(key, rows=None):
        if rows is not None and rows.ndim:
            return jax.vmap(noise)(parts.keys_of(key, rows), rows)
        # Drawn ahead, for all generations, which is faster; normals of many dimensions are large.
        number = n if rows is None else rows.astype(n.dtype)
        normals = draws.normal(key, (count,)) if ahead else key
        chi = jnp.sqrt(draws.chi_square(key, number - 1 - jnp.arange(dim, dtype=n.dtype)))
        return normals, chi, None if rows is None else number

    def drawn(normals, chi, number):
        if not ahead:
            normals = draws.normal_in_halves(normals, count)
        return sample_moments(normals, chi, n if number is None else number)

    def sample(noise, model):
        in_parts = noise[1].ndim > 1
        return Batch(model, (jax.vmap(drawn) if in_parts else drawn)(*noise))

    def real(noise, truth):
        return sample(noise, real_model(dim, rank))

    return with_fields(
        points,
        init=lambda noise: (truth, real(noise, truth)),
        pool=pool,
        fit=fit,
        noise=noise,
        sample=sample,
        real=real,
        serves=serves,
        num_rows=num_samples,
        central=None,
        scores={},
    )


def needs_full_rank(workflow: Workflow) -> bool:
    """Whether the moments of what a model sees show no direction in which it has none.

    Where real data stay, or nothing but the newest batch is seen, those directions are those of the
    frame; where batches are of one size, they are of all of them.
    """
    if workflow.share is not None or workflow.weight is not None or workflow.real == "fresh":
        return True
    return workflow.sizes is not None and workflow.real == "once" and workflow.keep not in (None, 1)


def further(model: Gaussian, drawn: Drawn) -> Moments:
    """The moments of what was drawn as standard points, seen through a model."""
    number, law = drawn
    factor = product(model.factor, law.factor)
    mean = model.mean + product(model.factor, law.mean)
    return Moments(num_points=number, mean=mean, scatter=number * product(factor, factor.T))


def _where(enough: Any, inner: Pool) -> Pool:
    """A pool whose views are NaN where there are not enough rows for what is fitted to them."""

    def view(*given):
        seen = inner.view(*given)
        content = jax.tree.map(
            lambda x: jnp.where(enough, x, np.asarray(np.nan, x.dtype)), seen.content
        )
        return seen._replace(content=content)

    return inner._replace(view=view)
