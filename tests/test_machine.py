"""What jaxcollapse does about the machine it runs on."""

import json
import os
import subprocess
import sys

import jaxlib
import pytest

AFFECTED = (0, 10) <= jaxlib.version.__version_info__ < (0, 11, 1)

# As on a machine of two cores, whatever this one has.
TWO_CORES = """
import os
os.cpu_count = lambda: 2
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
"""


def run_python(code, **environment):
    """Runs code in a Python of its own, where XLA is not told how many threads to have."""
    clean = {name: value for name, value in os.environ.items() if not name.endswith("NPROC")}
    done = subprocess.run(
        [sys.executable, "-c", TWO_CORES + code],
        capture_output=True,
        text=True,
        env=clean | {"JAX_PLATFORMS": "cpu"} | environment,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_programs_in_flight_do_not_wait_for_each_other():
    """Chains at once on two cores, whose decompositions jaxlib 0.10 shares out to threads."""
    run_python(
        """
import jax, jaxcollapse as jc
keys = jc.seed_keys(range(500))
chain = jax.vmap(jc.make_chain(jc.gaussian.task(20, 60), "accumulate-subsample", 3))
program = jax.jit(chain).lower(keys).compile()
for _ in range(2):
    jax.block_until_ready([program(keys) for _ in range(6)])
"""
    )


DEVICES = "--xla_force_host_platform_device_count=4"


def test_devices_at_once_do_not_wait_for_each_other():
    """Each of them decomposes, of as many as XLA would have threads."""
    code = """
import jaxcollapse as jc
axes = {"dim": [10], "num_samples": [32, 100]}
found = jc.sweep("gaussian", ["accumulate-subsample"], axes, seeds=200, generations=20)
print(found.trace_ratio.shape, len(jc.machine.devices()))
"""
    assert run_python(code, XLA_FLAGS=DEVICES).stdout.split()[-1] == "4"


def test_devices_that_are_asked_for_after_the_import_have_threads_too():
    code = """
import jax, jaxcollapse as jc
jax.config.update("jax_num_cpu_devices", 2)
print(len(jc.machine.devices()), jc.machine.devices()[0] in jax.devices())
"""
    assert run_python(code).stdout.split() == ["2", str(not AFFECTED)]


@pytest.mark.parametrize(
    ("given", "threads"),
    [
        ({}, "4" if AFFECTED else "None"),
        ({"PJRT_NPROC": "3"}, "3"),
        ({"NPROC": "2"}, "4" if AFFECTED else "None"),
        ({"NPROC": "9"}, "None"),
        ({"NPROC": "9", "XLA_FLAGS": DEVICES}, "16" if AFFECTED else "None"),
        # Of a process that this package started in, which had one device.
        (
            {"PJRT_NPROC": "4", "JAXCOLLAPSE_PJRT_NPROC": "4", "XLA_FLAGS": DEVICES},
            "16" if AFFECTED else "4",
        ),
        ({"PJRT_NPROC": "3", "JAXCOLLAPSE_PJRT_NPROC": "4", "XLA_FLAGS": DEVICES}, "3"),
        ({"JAX_NUM_CPU_DEVICES": "2"}, "8" if AFFECTED else "None"),
    ],
)
def test_threads_that_xla_starts_with(given, threads):
    code = "import os, jaxcollapse; print(os.environ.get('PJRT_NPROC'))"
    assert run_python(code, **given).stdout.split() == [threads]


def test_language_models_have_as_many_threads_as_cores():
    code = """
from jaxcollapse import machine
machine.use_cores_as_devices(8)
print(os.environ.get("PJRT_NPROC"))
"""
    assert run_python(code).stdout.split() == ["None"]
    assert run_python(code, PJRT_NPROC="3").stdout.split() == ["3"]


def test_an_import_that_comes_too_late_says_so_and_sweeps_have_threads_of_their_own():
    """Without them this sweep never ends; nothing is raised where warnings are errors."""
    code = """
import warnings
import jax
jax.devices()
warnings.simplefilter("error")
import jaxcollapse as jc
warnings.simplefilter("default")
axes = {"dim": [20], "num_samples": [60]}
found = jc.sweep("gaussian", ["accumulate-subsample"], axes, seeds=500, generations=20)
print(found.trace_ratio.shape, jax.devices(), jc.machine.devices()[0] in jax.devices())
"""
    done = run_python(code)
    assert ("JAX started before jaxcollapse was imported" in done.stderr) == AFFECTED
    assert ("on a CPU of 2 cores" in done.stderr) == AFFECTED
    assert done.stdout.strip() == f"(1, 1, 1, 500, 20) [CpuDevice(id=0)] {not AFFECTED}"


def test_an_import_that_comes_too_late_leaves_threads_that_were_asked_for():
    code = "import jax; jax.devices(); import jaxcollapse as jc; print(jc.machine.devices())"
    done = run_python(code, PJRT_NPROC="3")
    assert "JAX started" not in done.stderr
    assert "CpuDevice(id=0)" in done.stdout


def test_decompositions_have_one_thread_of_openblas_each():
    """SciPy's, which JAX uses; NumPy's keeps its own."""
    code = (
        "import json, jax, jaxcollapse, threadpoolctl; "
        "print(json.dumps({i['filepath'].split('/')[-2]: i['num_threads'] "
        "for i in threadpoolctl.threadpool_info() if i['internal_api'] == 'openblas'}))"
    )
    environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    threads = json.loads(done.stdout)
    if "scipy.libs" not in threads:
        pytest.skip("SciPy has no OpenBLAS of its own here")
    assert threads["scipy.libs"] == 1
    assert threads.get("numpy.libs") in (None, len(os.sched_getaffinity(0)))
