"""Publishers that draw more than they publish, and choose among it by a score."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks, draws
from jaxcollapse.parameters import Axis, Option
from jaxcollapse.publishers.informed import (
    batches_of,
    coordinates_of,
    informed,
    of_any_rows,
    of_rows_that_move,
    on_points,
    rows_of,
    shapes_of_rows,
)
from jaxcollapse.task import Task, with_fields

Score = Literal["real", "model"] | Any
Rewards = tuple[Literal["real", "model", "rising", "falling"], ...] | Any
_NONE: Mapping[str, Callable[..., Any]] = MappingProxyType({})
# Rewards of rows, whatever the task.
OF_ROWS: dict[str, Callable[..., Any]] = {
    "rising": lambda truth, model, rows: _first_coordinate(rows),
    "falling": lambda truth, model, rows: -_first_coordinate(rows),
}


def verified(
    task: Task,
    /,
    keep_best: Annotated[float, Axis(symbol="q")],
    score: Annotated[Score, Option()] = "real",
    error_rates: Annotated[tuple[float, float], Option()] = (0.0, 0.0),
) -> Task:
    """The task whose models publish the best of more than they publish, by a score.

    Of ``C = ceil(N / q)`` candidates the N of the highest score are published, in the order in
    which they were drawn; of equal ones those that came first. At q = 1 it is the task itself.

    A verifier that errs (after Feng et al. 2406.07515): of C candidates the ``round(q C)`` best are
    good, the others bad. It accepts a bad one with chance a and rejects a good one with chance b,
    each by itself, and N of those that it accepts are published, at random: of these about
    ``q (1-b) / (q (1-b) + (1-q) a)`` are good. It accepts m of C on average, with a standard
    deviation of s; C is the least number with ``m - 4 s >= N``, so that in all but one batch in
    30,000 N are accepted. In that one rejected candidates, at random, make up for what is missing.

    Args:
      task: one that may keep points.
      keep_best: q, the share of what a model makes that is published, the best of it, is above 0
        and up to 1.
      score: What is best is told by the density of the "real" law, by that of the "model" itself,
        where the task can say them, or by a function score(truth, model, rows) of one number a row,
        in real coordinates.
      error_rates: The chances that a verifier accepts a bad sample, and that it rejects a good one.

    Raises:
      ValueError: q or a chance is out of range, the task is to use statistics or can say no such
        score, its models learn from one another as a matrix says; or, when it is traced, a score
        has another shape.
    """
    share = _share("keep_best", keep_best, least=0.0, above=True)
    accepts_bad, rejects_good = _rates(error_rates)
    if share == 1:
        return task
    task = of_rows_that_move(on_points(task, "verified"), "verified")
    inner = informed(of_any_rows(task))
    scored = _scored(inner, score, "score")
    size = rows_of(task)
    own = coordinates_of(inner)
    errs = accepts_bad > 0 or rejects_good > 0

    def candidates() -> int:
        return number_of_candidates(size(), share, accepts_bad, rejects_good)

    def sample(noise, params):
        n, c = size(), candidates()
        found = _candidates(inner, noise.several, params, c)
        scores = scored(found, params)
        if not errs:
            return own.chosen(found.batches, _highest(scores, n))
        good = jnp.zeros(c, bool).at[_highest(scores, round(share * c))].set(True)
        chance = draws.uniform(draws.fold_in(noise.key, 0), (c,))
        accepted = jnp.where(good, chance >= rejects_good, chance < accepts_bad)
        order = draws.uniform(draws.fold_in(noise.key, 1), (c,))
        return own.chosen(found.batches, _highest(order + accepted.astype(order.dtype), n))

    parts = batches_of(task, lambda: -(-candidates() // size()))
    return with_fields(inner, sample=sample, scores={}, **parts)


def curated(
    task: Task,
    /,
    rewards: Annotated[Rewards, Option()] = "real",
    best_of: Annotated[int, Axis(symbol="K", least=1)] = 2,
    odds: Annotated[tuple[float, ...] | None, Option(by_default="equal ones")] = None,
) -> Task:
    """The task whose models publish what users choose among K samples, by one of several rewards.

    Each published row is one of K candidates of its own, chosen with chances proportional to
    ``e^r(x)``, as Bradley and Terry have it for two and Luce for more; a user of reward ``r_j`` is
    met with chance ``odds[j]``, for each row anew (Ferbach et al. 2407.09499; of several rewards
    Falahati et al. 2605.07724). As K grows, what is published tends to
    ``p(x) sum_j odds_j e^r_j(x) / E_p e^r_j``. At K = 1 it is the task itself.

    >>> curated(task, [lambda truth, model, rows: rows[:, 0]], best_of=4)

    Args:
      task: one that may keep points.
      rewards: What users like is one reward or several: "real" and "model" are the log-densities of
        the real law and of the model itself, where the task can say them, "rising" the first
        coordinate of a row (an outcome's number), "falling" that times -1. One's own in Python are
        functions reward(truth, model, rows) of one number a row, in real coordinates.
      best_of: K, the number of samples of which users choose each published one, is at least 1.
      odds: The chances that a user has each of the rewards sum to 1.

    Raises:
      ValueError: K is no such number, there are no rewards, odds are others, or as for
        ``verified``.
    """
    best_of = checks.whole_number("best_of", best_of)
    if isinstance(rewards, str) or callable(rewards):
        rewards = [rewards]
    several = list(rewards) if checks.is_several(rewards) else []
    if not several:
        got = "none" if checks.is_several(rewards) else repr(rewards)
        raise checks.refusal("rewards", "a function or some", got, "give one")
    chances = _odds(odds, len(several))
    if best_of == 1:
        return task
    inner = informed(of_any_rows(on_points(task, "curated")))
    if any(isinstance(reward, str) and reward in OF_ROWS for reward in several):
        _check_coordinates(task)
    scored = [_scored(inner, reward, "reward", OF_ROWS) for reward in several]
    size = rows_of(task)
    own = coordinates_of(inner)

    def sample(noise, params):
        n = size()
        found = _candidates(inner, noise.several, params, best_of * n)
        reward = jnp.stack([one(found, params) for one in scored]).reshape(-1, best_of, n)
        user = draws.weighted(draws.fold_in(noise.key, 0), (n,), jnp.asarray(chances))
        met = reward[user, :, np.arange(n)]  # [N, K]
        # The first to come of exponentials with rates e^r: each is it with chances as its rate.
        time = -jnp.log1p(-draws.uniform(draws.fold_in(noise.key, 1), (n, best_of)))
        best = jnp.argmax(met - jnp.log(jnp.maximum(time, jnp.finfo(met.dtype).tiny)), axis=1)
        return own.chosen(found.batches, best * n + np.arange(n))

    parts = batches_of(task, lambda: best_of)
    return with_fields(inner, sample=sample, scores={}, **parts)


def resampled(task: Task, /, weight: Callable[..., Any], best_of: int = 16) -> Task:
    """The task whose models publish samples resampled by their importance.

    Each published row is one of K candidates of its own, drawn with chances proportional to their
    weights: ``curated`` with the logarithm of the weight for a reward. As K grows, what is
    published tends to ``p(x) w(x) / E_p w``; with ``w = real / model`` to the real law.

    Args:
      task: one that may keep points.
      weight: ``weight(truth, model, rows)``, one number a row, at least 0, in real coordinates.
      best_of: K.

    Raises:
      ValueError: as for ``curated``.
    """
    checks.arguments(weight, "weight", ("truth", "model", "rows"), 3)

    def log_weight(truth, model, rows):
        return jnp.log(weight(truth, model, rows))

    return curated(task, log_weight, best_of)


def number_of_candidates(
    num_samples: int, share: float, accepts_bad: float = 0.0, rejects_good: float = 0.0
) -> int:
    """C, the candidates of which N are published, see ``verified``."""
    if accepts_bad == 0 and rejects_good == 0:
        return math.ceil(num_samples / share - 1e-9)
    good, bad = share * (1 - rejects_good), (1 - share) * accepts_bad
    each = good + bad
    spread = good * rejects_good + bad * (1 - accepts_bad)
    # The root of each C - 4 sqrt(spread C) = N.
    root = (2 * math.sqrt(spread) + math.sqrt(4 * spread + each * num_samples)) / each
    return max(num_samples, math.ceil(root**2 - 1e-9))


# What is made, and how good it is ---------------------------------------------------------------


class _Candidates(NamedTuple):
    """Batches of one model.

    Attributes:
      batches: as the task keeps them, stacked ``[m, N, ...]``.
      number: how many of their rows are candidates, the first.
    """

    batches: Any
    number: int


def _candidates(inner: Task, noise: Any, params: Any, count: int) -> _Candidates:
    return _Candidates(jax.vmap(lambda one: inner.sample(one, params.model))(noise), count)


def _scored(
    inner: Task, score: Any, what: str, of_rows: Mapping[str, Callable[..., Any]] = _NONE
) -> Callable[[_Candidates, Any], jax.Array]:
    """``scored(candidates, params)`` ``[C]``; what is no number is the lowest."""
    own = coordinates_of(inner)
    score = of_rows.get(score, score) if isinstance(score, str) else score

    def flat(tree, count):
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:count], tree)

    if isinstance(score, str):
        if score not in inner.scores:
            known = ", ".join([*inner.scores, *of_rows]) or "none by name"
            raise checks.refusal(
                f"{what} by name", known, repr(score), "give a function (truth, model, rows)"
            )
        by_name = inner.scores[score]

        def values(found, params):
            one = lambda batch: by_name(params.truth, params, batch)  # noqa: E731
            return flat(jax.vmap(one)(found.batches), found.number)

    else:
        checks.arguments(score, what, ("truth", "model", "rows"), 3)

        def values(found, params):
            rows = jax.vmap(lambda batch: own.rows(params.truth, batch))(found.batches)
            given = own.truth(params.truth), own.model(params), flat(rows, found.number)
            return score(*given)

    def scored(found, params):
        made = values(found, params)
        if np.shape(made) != (found.number,):
            raise checks.refusal(
                f"{what} of rows",
                f"one number a row, shape [{found.number}]",
                checks.described(made),
                "return one for each row",
            )
        made = jnp.asarray(made).astype(draws.float_dtype())
        return jnp.where(jnp.isnan(made), -jnp.inf, made)

    return scored


def _first_coordinate(rows: Any) -> jax.Array:
    """The first number of each row, ``[C]``."""
    first = jax.tree.leaves(rows)[0]
    return first.reshape(first.shape[0], -1)[:, 0].astype(draws.float_dtype())


def _check_coordinates(task: Task) -> None:
    """Refuses rewards of the first coordinate where rows have none."""
    first = shapes_of_rows(task)[0]
    whole = not jnp.issubdtype(first.dtype, jnp.floating)
    if first.ndim > (1 if whole else 2):
        raise checks.refusal(
            f"task for the rewards {' and '.join(OF_ROWS)}",
            "one whose rows are points or numbers of outcomes",
            f"one of {checks.described(first)}",
            "give a function of rows",
        )


def _highest(scores: jax.Array, count: int) -> jax.Array:
    """The places of the highest scores, int32 ``[count]``, in order."""
    return jnp.sort(jax.lax.top_k(scores, count)[1]).astype(np.int32)


# Checks -----------------------------------------------------------------------------------------


def _share(name: str, value: Any, least: float, above: bool = False) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    good = least < number <= 1 if above else least <= number <= 1
    if not good or isinstance(value, str | bool):
        words = f"a number {'above' if above else 'from'} {least:g} {'and up ' * above}to 1"
        raise checks.refusal(name, words, repr(value), "change it")
    return number


def _rates(value: Any) -> tuple[float, float]:
    try:
        bad, good = value
    except (TypeError, ValueError):
        raise checks.refusal(
            "error_rates",
            "two chances, of accepting a bad sample and of rejecting a good one",
            repr(value),
            "give both",
        ) from None
    rates = tuple(_share("error_rates", chance, least=0.0) for chance in (bad, good))
    if rates == (0.0, 1.0):
        expected = "those of one that accepts something"
        raise checks.refusal("error_rates", expected, repr(value), "lower the second")
    return rates[0], rates[1]


def _odds(odds: Any, count: int) -> np.ndarray:
    if odds is None:
        return np.full(count, 1 / count, draws.float_dtype())
    try:
        given = np.asarray(odds, np.float64)
    except (TypeError, ValueError):
        given = np.empty(0)
    if given.shape != (count,) or (given < 0).any() or not np.isclose(given.sum(), 1, atol=1e-6):
        raise checks.refusal(
            "odds", f"{count} chances that sum to 1, one for each reward", odds, "mend them"
        )
    return given.astype(draws.float_dtype())
