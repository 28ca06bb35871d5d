"""The pretraining panels of Figure 4 of "Collapse or Thrive?": language models on stories.

python experiments/figure4_pretraining.py                   # on a laptop
python experiments/figure4_pretraining.py --preset authors  # the paper's models: weeks of a GPU
python experiments/figure4_pretraining.py --quick

``stories`` is the embedded corpus, whose entropy is known. ``sample`` is a part of TinyStories:
``tinystories/tinystories_sample_5M.txt`` in the folder that JAXCOLLAPSE_DATA names, or in
``../shared/data``; it is left out where there is none. The paper's models read all of TinyStories
from the hub (extra ``hub``).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import common
import language_models

from jaxcollapse import machine
from jaxcollapse.show import figures as plotting
from jaxcollapse.show.language_models import loss_of

SAMPLE = Path("tinystories") / "tinystories_sample_5M.txt"
HUB = "roneneldan/TinyStories"
MODELS = ["gpt2-9m", "llama2-12m", "llama2-42m", "llama2-126m"]
# How far the paper's chains go.
GENERATIONS = {"replace": 50, "accumulate": 16, "accumulate-subsample": 45}


def lm_plan(workflows, documents=None, **options):
    """A plan of pretraining, whose corpus is kept for its chains."""
    from jaxcollapse.lm import plans

    made = plans.pretraining(workflows, num_samples=documents, tell=language_models.tell, **options)
    return language_models.keep(*made)


def sweeps(quick, preset):
    """Plans that are made when they are asked for, since the paper's read the hub."""
    if preset == "authors" and not quick:
        return paper(preset)
    tiny = partial(lm_plan, common.WORKFLOWS, model="tiny-llama", preset=preset)
    small = {"documents": 24, "generations": 2, "seeds": 1, "epochs": 1}
    sizes = small if quick else {"documents": 700, "generations": 5, "seeds": 8}
    plans = {"stories": partial(tiny, **sizes)}
    folder = language_models.real_data()
    if folder is not None and not quick:
        sizes = {"documents": 1000, "generations": 4, "seeds": 3}
        text = {"data": str(folder / SAMPLE), "vocab_size": 1000, "context": 256}
        plans["sample"] = partial(tiny, **text, **sizes)
    return plans


def paper(preset):
    """The paper's models, a sweep for each workflow, as far as its chains go."""
    sizes = {"data": HUB, "vocab_size": 8000, "context": 512, "model": MODELS, "seeds": 3}
    return {
        workflow.replace("-", "_"): partial(
            lm_plan, [workflow], generations=generations, preset=preset, **sizes
        )
        for workflow, generations in GENERATIONS.items()
    }


def figures(datasets):
    """A figure for each text: losses, and how diverse what is published is."""
    return {
        name: plotting.grid(dataset, [loss_of(dataset), "distinct_2", "repetition"], hue="model")
        for name, dataset in datasets.items()
    }


STUDY = common.Study(
    name="figure4_pretraining",
    title="Figure 4: language models pretrained on stories",
    seen="Under replace the loss on real text rises with every generation, under accumulate it "
    "stays, and accumulate-subsample lies between.",
    sweeps=sweeps,
    figures=figures,
    run=language_models.run,
)

if __name__ == "__main__":
    machine.use_cores_as_devices(8)
    common.main(STUDY)
