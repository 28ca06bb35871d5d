"""``python -m jaxcollapse`` is the command ``jaxcollapse``."""

from jaxcollapse.cli.main import main

main()
