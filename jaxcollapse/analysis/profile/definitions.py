"""The eight definitions of model collapse that the field uses, and the thresholds of a profile.

After Schaeffer et al. 2503.03150, who ask for a profile by all of them in place of one verdict.
"""

from __future__ import annotations

from typing import NamedTuple

from jaxcollapse import checks
from jaxcollapse.analysis.profile.growth import CLASSES

YES, NO, OPEN, SILENT = "yes", "no", "undecided", "not told"
VERDICTS = (YES, NO, OPEN, SILENT)


class Definition(NamedTuple):
    """One definition of collapse.

    Attributes:
      name: in files and options.
      title: the result collapses by it if this holds.
      needs: what a metric must speak for, see ``jaxcollapse.metrics``.
    """

    name: str
    title: str
    needs: str


DEFINITIONS = (
    Definition("beyond-use", "The loss on real data grows beyond use", "loss"),
    Definition("diverges", "The loss on real data diverges", "loss"),
    Definition("growth", "The loss on real data grows fast", "loss"),
    Definition("variance", "The variance goes to 0", "variance"),
    Definition("modes", "Modes or tails are lost", "modes"),
    Definition("diversity", "Diversity falls", "diversity"),
    Definition("scaling", "The scaling law in N changes", "loss"),
    Definition("law", "The asymptotic law is not the real one", "law"),
)


class Thresholds(NamedTuple):
    """From where on each definition calls a result collapsed.

    Attributes:
      beyond_use: times the first model's loss; of a loss in nats, times its exponential.
      growth: the slowest class that counts as fast.
      variance: of the real variance (where that is unknown, of the first model's), at most; or it
        falls without a bound in its logarithm.
      modes: of the real law's, at most.
      diversity: of the first model's, at most.
      scaling: change of the exponent a of a loss ``N^-a``, either way.
      law: times the first model's distance from the real law; where the real value is unknown,
        times the first model's value, either way.
    """

    beyond_use: float = 10.0
    growth: str = "linear"
    variance: float = 0.01
    modes: float = 0.9
    diversity: float = 0.9
    scaling: float = 0.1
    law: float = 2.0

    def checked(self) -> Thresholds:
        """Themselves.

        Raises:
          ValueError: one cannot be a threshold.
        """
        checks.one_of("growth", self.growth, CLASSES[1:])
        for name, value in self._asdict().items():
            if name == "growth":
                continue
            above, below = (1, float("inf")) if name in ("beyond_use", "law") else (0, 1)
            if name == "scaling":
                below = float("inf")
            if not above < value < below:
                raise checks.refusal(
                    f"threshold {name}",
                    f"a number above {above}" + (f" and below {below}" if below == 1 else ""),
                    value,
                    "give another",
                )
        return self

    def told(self, definition: str, real_is_known: bool = True, in_nats: bool = False) -> str:
        """The threshold of a definition in words."""
        real = "the real law's" if real_is_known else "the first model's"
        of_what = "exponential " if in_nats else ""
        return {
            "beyond-use": f"{of_what}above {self.beyond_use:g} times the first model's",
            "diverges": "grows without a bound in the generation",
            "growth": f"{self.growth} in the generation, or faster",
            "variance": f"below {self.variance:g} of {real}, or falling for ever",
            "modes": f"below {self.modes:g} of {real}",
            "diversity": f"below {self.diversity:g} of the first model's",
            "scaling": f"exponent in N changed by more than {self.scaling:g}",
            "law": f"{self.law:g} times as far from the real law as the first model"
            if real_is_known
            else f"above {self.law:g} times the first model's, or below 1/{self.law:g} of it",
        }[definition]
