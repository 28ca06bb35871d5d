"""Writes into what is built which commit it was built from; all else is in pyproject.toml."""

import json
import subprocess
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

HERE = Path(__file__).resolve().parent
BUILT_FROM = Path("jaxcollapse", "built_from.json")  # read by jaxcollapse.machine


def write_commit(root):
    """Writes the commit of this checkout, and whether it was clean, below a folder.

    A source distribution is no checkout, and has the file already.
    """

    def git(*words):
        command = ["git", "-C", str(HERE), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", str(BUILT_FROM.with_name("machine.py")))
        changed = git("status", "--porcelain", "--", str(BUILT_FROM.parent))
        facts = {
            "commit": git("rev-parse", "HEAD"),
            "source_tree": "modified" if changed else "clean",
        }
    except (OSError, subprocess.SubprocessError):
        return
    (Path(root) / BUILT_FROM).write_text(json.dumps(facts) + "\n")


class BuildPy(build_py):
    """Builds modules, and says what they are of; an editable copy is its checkout."""

    def run(self):
        """Builds."""
        super().run()
        if not self.editable_mode:
            write_commit(self.build_lib)


class Sdist(sdist):
    """Makes a source distribution that says what it is of."""

    def make_release_tree(self, base_dir, files):
        """Gathers its files."""
        super().make_release_tree(base_dir, files)
        write_commit(base_dir)


setup(cmdclass={"build_py": BuildPy, "sdist": Sdist})
