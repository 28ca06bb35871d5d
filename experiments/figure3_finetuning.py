"""Figure 3 of "Collapse or Thrive?" and its panel of Figure 4: language models fine-tuned.

python experiments/figure3_finetuning.py                   # on a laptop
python experiments/figure3_finetuning.py --preset authors  # Gemma 2 on HelpSteer2, from the hub
python experiments/figure3_finetuning.py --quick

``instructions`` is the embedded corpus, whose entropy is known; a tiny Gemma 2 that knows the
embedded stories is fine-tuned on it. ``helpsteer2`` are 849 real conversations,
``helpsteer2/helpsteer_pref.jsonl`` in the folder that JAXCOLLAPSE_DATA names, or in
``../shared/data``, of which 100 are held out, and a real model, ``stories260K`` there; it is left
out where there is none. That model is too small to learn the form of a conversation from so few, so
it publishes whatever it samples; and as its tokens are of two or three letters, conversations are
cut after 256 of them, and 400 of the others are what each generation has.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import common
import language_models

from jaxcollapse import machine
from jaxcollapse.show import figures as plotting
from jaxcollapse.show.language_models import loss_of

CONVERSATIONS = Path("helpsteer2") / "helpsteer_pref.jsonl"
# How far the paper's chains go; accumulate-subsample is of the smallest model alone.
PAPER = {"gemma2-2b": 10, "gemma2-9b": 6, "gemma2-27b": 4}


def finetune_plan(workflows, documents=None, **options):
    """A plan of fine-tuning, whose corpus is kept for its chains."""
    from jaxcollapse.lm import plans

    made = plans.fine_tuning(workflows, num_samples=documents, tell=language_models.tell, **options)
    return language_models.keep(*made)


def sweeps(quick, preset):
    """Plans that are made when they are asked for, since the paper's read the hub."""
    if preset == "authors" and not quick:
        return paper(preset)
    some = partial(finetune_plan, common.WORKFLOWS, preset=preset)
    if quick:
        small = {"generations": 2, "seeds": 1, "documents": 40, "epochs": 1}
        return {"instructions": partial(some, model="tiny-gemma2", format="text", **small)}
    sizes = {"generations": 5, "seeds": 5, "documents": 700}
    plans = {"instructions": partial(some, model="tiny-gemma2", **sizes)}
    folder = language_models.real_data()
    if folder is not None:
        real = {
            "weights": str(folder / "stories260K"),
            "data": str(folder / CONVERSATIONS),
            "context": 256,
            "longer": "cut",
            "test_documents": 100,
        }
        # As published, one epoch at a learning rate that does not move far from the base.
        recipe = {"epochs": 1, "learning_rate": 1e-3}
        sizes = {"generations": 4, "seeds": 3, "documents": 400}
        plans["helpsteer2"] = partial(some, format="text", **real, **sizes, **recipe)
    return plans


def paper(preset):
    """The paper's models, a sweep for each, as far as its chains go."""
    return {
        model: partial(
            finetune_plan,
            common.WORKFLOWS if model == "gemma2-2b" else common.WORKFLOWS[:2],
            model=model,
            data="helpsteer2",
            preset=preset,
            generations=generations,
            seeds=3,
        )
        for model, generations in PAPER.items()
    }


def figures(datasets):
    """A figure for each data set: losses, diversity, and how much of what is sampled is kept."""
    return {name: _figure(dataset) for name, dataset in datasets.items()}


def _figure(dataset):
    metrics = [loss_of(dataset), "distinct_2", "acceptance_rate"]
    return plotting.grid(dataset, [name for name in metrics if name in dataset], hue="model")


STUDY = common.Study(
    name="figure3_finetuning",
    title="Figure 3: language models fine-tuned on conversations",
    seen="Under replace the loss on real conversations rises with every generation, under "
    "accumulate it stays near the first, and accumulate-subsample lies between.",
    sweeps=sweeps,
    figures=figures,
    run=language_models.run,
)

if __name__ == "__main__":
    machine.use_cores_as_devices(8)
    common.main(STUDY)
