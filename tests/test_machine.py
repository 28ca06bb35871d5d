"""What jaxcollapse does about the machine it runs on."""

import os
import subprocess
import sys

# On a machine of two cores, whatever this one has.
TWO_CORES = """
import os
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
"""


def python(code, **environment):
    clean = {name: value for name, value in os.environ.items() if name != "PJRT_NPROC"}
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", code],
        capture_output=True,
        text=True,
        env=clean | environment,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_programs_in_flight_do_not_wait_for_each_other():
    """Two chains at once on two cores, whose decompositions jaxlib 0.10 shares out to threads."""
    code = """
import jax, jaxcollapse as jc
keys = jc.seed_keys(range(500))
task = jc.gaussian.task(20, 60)
runs = [jax.jit(jax.vmap(jc.make_chain(task, name, 5))) for name in ("replace", "accumulate")]
jax.block_until_ready([run(keys) for run in runs])
"""
    python(TWO_CORES + code)


def test_threads_that_the_user_chose_are_left():
    code = "import os, jaxcollapse; print(os.environ['PJRT_NPROC'])"
    assert python(code, PJRT_NPROC="3").stdout.split() == ["3"]


def test_an_import_that_comes_too_late_says_so():
    code = """
import jax, jaxlib
affected = (0, 10) <= jaxlib.version.__version_info__ < (0, 11, 1)
jax.devices()
import jaxcollapse
print(affected)
"""
    done = python(TWO_CORES + code)
    warned = "import jaxcollapse first, or set PJRT_NPROC=32" in done.stderr
    assert warned == (done.stdout.split() == ["True"])
