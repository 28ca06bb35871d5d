"""Publishers: what stands between a model's sample and the pool, as tasks made of tasks.

They know no task by name, and no workflow; they can be put into one another.
"""

from jaxcollapse.publishers.axes import offered, offers
from jaxcollapse.publishers.tempering import tempered

__all__ = ["offered", "offers", "tempered"]
