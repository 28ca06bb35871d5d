"""Pages of the Python names: what each module says of itself and of what it holds."""

from __future__ import annotations

from collections.abc import Iterator

import jaxcollapse as jc

# Name of a page, its title, and what stands on it; members alone, or whole modules.
PAGES = {
    "chains": (
        "Chains",
        ("make_chain", "Task", "points_task", "modify", "measured", "seed_keys", "make_mixture"),
        ("jaxcollapse.chain.Chain", "jaxcollapse.chain.State"),
    ),
    "workflows": (
        "Workflows",
        (
            *("Workflow", "replace", "accumulate", "accumulate_subsample", "window"),
            *("fixed_real", "fresh_real"),
        ),
        ("jaxcollapse.pools",),
    ),
    "tasks": (
        "Tasks on arrays",
        ("gaussian", "kde", "linear_regression", "categorical"),
        ("jaxcollapse.datasets.points",),
    ),
    "publishers": (
        "Publishers",
        ("tempered", "truncated", "verified", "curated", "resampled", "ensemble", "publishers"),
        (),
    ),
    "sweeps": (
        "Sweeps and results",
        (
            *("sweep", "mix", "best", "profile", "compare", "reference"),
            *("load", "save", "merge"),
        ),
        (),
    ),
    "families": (
        "Families of tasks",
        ("TaskFamily", "MixtureFacts", "Metric", "Axis", "Option", "declared", "register"),
        ("jaxcollapse.testing",),
    ),
    "metrics": ("Metrics of points", ("point_metrics",), ()),
    "theory": (
        "Closed forms",
        ("theory",),
        (),
    ),
    "analysis": (
        "Analysis and figures",
        (),
        (
            *("jaxcollapse.analysis.mixtures", "jaxcollapse.analysis.synthetic_counts"),
            *("jaxcollapse.analysis.profile.definitions", "jaxcollapse.show.figures"),
        ),
    ),
    "language_models": (
        "Language models",
        (),
        (
            *("jaxcollapse.lm.language_model", "jaxcollapse.lm.decoder.config"),
            *("jaxcollapse.lm.decoder.decoder", "jaxcollapse.lm.architectures.architecture"),
        ),
    ),
}


def pages() -> Iterator[tuple[str, str]]:
    """A page for each group of names, and one that lists them all.

    Raises:
      ValueError: a name of the package is on no page.
    """
    told = {name: page for page, (_, names, _) in PAGES.items() for name in names}
    if missing := set(jc.__all__) - set(told):
        raise ValueError(f"names of jaxcollapse on no page: {sorted(missing)}")
    lines = ["# Python", "", "`import jaxcollapse as jc`; these are its names.", ""]
    for page, (title, names, _) in PAGES.items():
        listed = ", ".join(f"[`{name}`]({page}.md#jaxcollapse.{name})" for name in names)
        lines += [f"- **[{title}]({page}.md)**" + (f": {listed}" if listed else "")]
    lines += [
        "",
        "`jc.language_model`, `jc.fine_tuning` and `jc.testing` are imported when asked for.",
    ]
    yield "python/index.md", "\n".join(lines)
    for page, (title, names, modules) in PAGES.items():
        members = [f"::: jaxcollapse.{name}\n" for name in names]
        yield f"python/{page}.md", "\n".join([f"# {title}\n", *members, *map(_module, modules)])


def _module(address: str) -> str:
    return f"::: {address}\n"
