"""``python -m jaxcollapse`` is the command ``jaxcollapse``."""

from jaxcollapse.cli import main

main()
