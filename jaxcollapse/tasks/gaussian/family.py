"""Gaussians refitted to their own samples, as a task.

Everything runs in the coordinates in which the real data are N(0, I). There fitting and sampling do
not depend on the real mean and covariance; the covariance enters only where a model is evaluated,
the mean nowhere.

A sample of a model is the model's own map ``x -> mean + L x`` applied to a standard normal sample,
so a model fitted to it is a composition of two such maps, and the history of ``replace`` is a
product of triangular matrices.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks, draws, schedules, theory
from jaxcollapse.families import MixtureFacts, TaskFamily
from jaxcollapse.parameters import Axis, Option, declared
from jaxcollapse.pools import points_pool
from jaxcollapse.task import Coordinates, Task, with_statistics
from jaxcollapse.tasks.gaussian.affine import image, inverse_map, preimage, scaled, square_root
from jaxcollapse.tasks.gaussian.central import central_points
from jaxcollapse.tasks.gaussian.fitting import (
    METRICS,
    Truth,
    evaluate,
    evaluate_pooled,
    fit_view,
    in_real_coordinates,
    in_standard_coordinates,
    log_kernel,
    real_points,
    standard_points,
)
from jaxcollapse.tasks.gaussian.framed import (
    Batch,
    Model,
    Rank,
    fitted,
    framed_pool,
    pooled,
    real_model,
    standard_rank,
)
from jaxcollapse.tasks.gaussian.statistics import statistics_task


@declared
def task(
    dim: Annotated[int, Axis(1, 3, 10, 31, 100, mixture=(1, 10), symbol="D", least=1)],
    num_samples: Annotated[
        int, Axis(10, 32, 100, 316, 1000, symbol="N", least=1, batch=True, traced="statistics")
    ],
    ddof: Annotated[float, Option(least=0)] = 0,
    mean: Annotated[Any, Option(file="vector")] = None,
    cov: Annotated[Any, Option(file="vector")] = None,
    pool: Literal["auto", "points", "statistics"] = "auto",
) -> Task:
    """Multivariate Gaussians: mean and covariance fitted, sampled, and fitted again.

    ``cov`` may be traced, and is then positive definite; so may ``num_samples`` and ``ddof`` where
    the statistics pool is used.

    Args:
      dim: D, the number of dimensions.
      num_samples: N, the number of real points and of the points of every generation.
      ddof: The fitted covariance is the scatter over ``N - ddof``: 0 is maximum likelihood, which
        the paper's experiments and its Theorem 1 use, 1 is the unbiased estimate.
      mean: The mean of the real data is ``[D]`` numbers, 0 by default. No metric depends on it: all
        are of what differs from the real law.
      cov: The covariance of the real data is a variance, ``[D]`` variances, or ``[D, D]``, singular
        or not; the identity by default.
      pool: "statistics" draws the mean and scatter of each sample without the sample, exact in law
        (Bartlett 1933); "points" draws the points; "auto" uses statistics where they serve the
        workflow.

    Raises:
      ValueError: a count is not a whole number of at least 1, ``num_samples <= ddof``, ``cov`` is
        not symmetric positive semidefinite or has another shape, or ``pool`` has another name.
    """
    known = not checks.is_traced(num_samples) and not checks.is_traced(ddof)
    if known and ddof >= num_samples:
        raise checks.refusal(
            "ddof",
            f"from 0 to below num_samples, which is {num_samples}",
            ddof,
            "lower ddof or raise num_samples",
        )
    truth = Truth(_real_mean(mean, dim), square_root(cov, dim))
    rank_of_real = dim if truth.factor.ndim == 0 else truth.factor.shape[1]
    points = _points_task(rank_of_real, num_samples, ddof, truth)
    return with_statistics(
        points, statistics_task(points, truth, rank_of_real, num_samples, ddof), pool
    )


def _points_task(dim: int, num_samples: Any, ddof: Any, truth: Truth) -> Task:
    """The task on points. ``dim`` is the rank of the real covariance."""

    def size() -> int:
        return checks.known_size("num_samples", num_samples)

    def pool(truth, workflow, num_generations):
        fresh = workflow.real == "fresh"
        batches = workflow.slots(num_generations) if fresh else 1
        fewest = size() if workflow.sizes is None else schedules.fewest(workflow.sizes)
        return framed_pool(
            points_pool(workflow, num_generations),
            workflow,
            first=lambda batch: (batch.model.in_standard, batch.drawn),
            further=image,
            inverted=inverse_map,
            returned=image,
            entering=inverse_map,
            full=not checks.is_traced(fewest) and min(fewest, size()) > dim,
            rank=Rank(min(batches * size() - 1, dim)),
            spans=None if fresh else Rank(size()),
            shown=lambda origin, z: real_points(truth, image(origin, z)),
            spanned=not workflow.chooses and (workflow.draw or size()) > min(size() - 1, dim),
        )

    def fit(key, seen):
        return fitted(seen.known, fit_view(seen.view, ddof, size(), seen.known.spans is None))

    def sample_batch(key, model):
        return Batch(model, draws.normal_points(key, size(), dim))

    def real(key, truth):
        return sample_batch(key, real_model(dim, standard_rank(num_samples, dim)))

    return Task(
        init=lambda key: (truth, real(key, truth)),
        pool=pool,
        fit=fit,
        sample=sample_batch,
        evaluate=_evaluate,
        real=real,
        coordinates=_coordinates(truth),
        tempered=_tempered,
        pooled=_pooled,
        central=lambda key, model, mass: _central(key, model, mass, num_samples),
        scores=_SCORES,
    )


def _tempered(model: Model, temperature: Any) -> Model:
    """The model with its covariance times the temperature."""
    return model._replace(
        in_frame=scaled(model.in_frame, temperature),
        in_standard=scaled(model.in_standard, temperature),
    )


def _coordinates(truth: Truth) -> Coordinates:
    """Models as N(mean, L L') and points, both in the coordinates of the data."""

    def view(seen):
        origin = seen.known.origin
        return seen.view._replace(data=real_points(truth, image(origin, seen.view.data)))

    def fitted_view(seen, model):
        in_standard = in_standard_coordinates(truth, model)
        in_frame = preimage(seen.known.origin, in_standard)
        rank = Rank(in_standard.mean.shape[0])
        return Model(in_frame, in_standard, rank, seen.known.origin)

    def published(model, points):
        expected = (points.shape[0] if np.ndim(points) else 0, truth.mean.shape[0])
        if np.shape(points) != expected:
            shape = f"[N, {expected[1]}]"
            raise checks.refusal("points of sample", shape, list(np.shape(points)), "mend it")
        return Batch(model, inverse_map(model.in_standard, standard_points(truth, points)))

    return Coordinates(
        truth=lambda truth: truth,
        model=lambda model: in_real_coordinates(truth, model.in_standard),
        rows=lambda _, batch: real_points(truth, image(batch.model.in_standard, batch.drawn)),
        view=view,
        fitted=fitted_view,
        published=published,
        chosen=_chosen,
        pooled=pooled,
    )


def _chosen(batches: Batch, index: Any) -> Batch:
    model = jax.tree.map(lambda x: x[0], batches.model)
    return Batch(model, batches.drawn.reshape(-1, batches.drawn.shape[-1])[index])


def _central(key: jax.Array, model: Model, mass: Any, num_samples: Any) -> Batch:
    dim = model.in_standard.mean.shape[0]
    count = checks.known_size("num_samples", num_samples)
    return Batch(model, central_points(key, count, dim, mass))


# How likely points are under the real law and under a model, in nats up to a constant.
_SCORES = {
    "real": lambda truth, model, batch: log_kernel(image(batch.model.in_standard, batch.drawn)),
    # In the coordinates of what the model saw, in which nothing has collapsed.
    "model": lambda truth, model, batch: log_kernel(
        inverse_map(model.in_frame, image(batch.model.in_frame, batch.drawn))
    ),
}


def _evaluate(truth: Truth, model: Any) -> dict[str, jax.Array]:
    rank = int(model.rank) if isinstance(model.rank, Rank) else model.rank
    return evaluate(truth, model.in_standard, rank)


def _pooled(truth: Truth, models: Model) -> dict[str, jax.Array]:
    return evaluate_pooled(truth, models.in_standard)


def _real_mean(mean: Any, dim: int) -> Any:
    if mean is None:
        return np.zeros(dim, draws.float_dtype())
    if not checks.is_traced(mean):
        mean = checks.real_numbers("mean", mean)
    if np.shape(mean) not in ((), (dim,)):
        raise checks.refusal(
            "mean", f"shape ({dim},)", np.shape(mean), "give one entry a dimension"
        )
    if checks.is_traced(mean):
        return jnp.broadcast_to(mean, (dim,))
    if not np.isfinite(mean).all():
        raise checks.refusal("mean", "finite numbers", "others", "remove infinities and NaN")
    return np.broadcast_to(np.asarray(mean, draws.float_dtype()), (dim,))


def _real_trace_and_rank(options: Mapping[str, Any], dim: int) -> tuple[float, int]:
    cov = options.get("cov")
    root = np.asarray(square_root(None if cov is None else np.asarray(cov), dim), np.float64)
    trace = dim * root**2 if root.ndim == 0 else np.sum(root**2)
    return float(trace), dim if root.ndim == 0 else root.shape[1]


def _closed_form(
    metric, workflow, generation, options, dim, num_samples, temperature=1.0, mass=1.0, models=1
):
    if options.get("learns_from") is not None:
        return None
    trace, rank = _real_trace_and_rank(options, dim)
    ddof = options.get("ddof", 0)
    return theory.gaussian_metric(
        *(metric, workflow, generation, rank, num_samples, ddof, trace),
        *(temperature, mass, models),
    )


def _closed_form_of_mixtures(metric, counts, source, options, dim):
    real, synthetic, available = counts
    trace, rank = _real_trace_and_rank(options, dim)
    ddof = options.get("ddof", 0)
    if metric == "squared_error_of_mean":
        return trace * theory.mixture_mean_error(real, synthetic, available, source, ddof)
    if metric == "kl" and ddof in (0, 1):
        known = theory.gaussian_first_fit_kl(real, rank, ddof)
        return np.where(synthetic == 0, known, np.nan)
    return None


FAMILY = TaskFamily(
    name="gaussian",
    task=task,
    metrics=METRICS,
    # Per generation: overheads, products of D x D matrices, and rows of N x D points.
    relative_cost=lambda dim, num_samples: 200.0 + dim**2 + dim * num_samples / 2,
    closed_form=_closed_form,
    # The published experiments divide by N too; their plots differ (see show.figures).
    presets={"corrected": {"ddof": 0}, "authors": {"ddof": 0}},
    mixtures=MixtureFacts(
        loss="kl",
        # A covariance of full rank, and a divisor above 0.
        fewest_rows=lambda point, options: max(point["dim"], int(options.get("ddof", 0))) + 1,
        closed_form=_closed_form_of_mixtures,
    ),
)
