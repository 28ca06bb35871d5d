"""Fine-tuning: a language model that every generation begins from, and documents to follow.

The task is ``language_model``'s; what differs are the presets and two more metrics.
"""

from __future__ import annotations

from collections.abc import Mapping

from jaxcollapse.lm import language_model
from jaxcollapse.metrics import Metric

__all__ = ["ACCEPTANCE_RATE", "FAMILY", "RETOKENISED"]

ACCEPTANCE_RATE = "acceptance_rate"
RETOKENISED = "retokenised"
METRICS = {
    **language_model.METRICS,
    ACCEPTANCE_RATE: Metric("Samples that are published, share of all", "1"),
    RETOKENISED: Metric("Published documents of other tokens than were sampled, share of all", "1"),
}


def _metrics_under(options: Mapping) -> list[str]:
    names = [name for name in language_model.FAMILY.known(options) if name in METRICS]
    filtered = options.get("format") == "conversation"
    return [*names, ACCEPTANCE_RATE, RETOKENISED] if filtered else names


FAMILY = language_model.FAMILY._replace(
    name="fine-tuning",
    metrics=METRICS,
    relative_cost=lambda model, num_samples: float(num_samples),
    presets={
        # What the published experiments did: parameters, gradients and moments in bfloat16, which
        # rounds most steps to nothing; one order of the data for all seeds; rows padded, not
        # packed; and prompts stripped of characters, not of the prefix.
        "authors": {
            "format": "conversation",
            "dtype": "bfloat16",
            "param_dtype": "bfloat16",
            "data_order": "shared",
            "rows": "single",
            "strip": "characters",
        },
        "corrected": {"format": "conversation"},
    },
    metrics_under=_metrics_under,
)
