"""Facts about the machine that a sweep plans with and a result records."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import importlib.util
import json
import logging
import os
import platform
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import jaxlib

# For each device; enough for what was tried: forty programs of decompositions in flight, on two
# cores. As many threads as devices are not: each waits in one, for the others.
THREADS = 4
OURS = "JAXCOLLAPSE_PJRT_NPROC"  # the value that we gave PJRT_NPROC, for processes that are begun
NUMBER_OF_DEVICES = "jax_num_cpu_devices"
DEVICES_OF_A_CPU = "--xla_force_host_platform_device_count"
THREADS_OF_BLAS = "OPENBLAS_NUM_THREADS"
NOT_INSTALLED = "not installed"
_spared = False
_too_few = False
_devices_spared_for = 0  # none where that is not needed


def spare_threads() -> None:
    """Gives XLA more threads than cores on a small CPU, where jaxlib waits in them; at import.

    jaxlib 0.10.0 to 0.11.0 share the matrices of a batched decomposition out among XLA's threads,
    as many as cores, and wait for them in one of these threads. When all of them wait so, they wait
    for ever: on two cores two decompositions at once are enough, of two chains in flight or of two
    metrics of one; or as many as there are simulated devices. ``PJRT_NPROC``, which XLA reads when
    it starts, is left as it is if it is set.
    Where JAX has started already, ``devices`` has threads of its own, and what other programs of
    the process are to know is logged.
    """
    global _spared, _too_few, _devices_spared_for
    if not (0, 10) <= jaxlib.version.__version_info__ < (0, 11, 1):
        return
    asked = os.environ.get("PJRT_NPROC", "")
    _spared = asked != "" and asked == os.environ.get(OURS)  # by the process that began this one
    if asked and not _spared:
        return
    given = asked or os.environ.get("NPROC", "")  # which XLA reads next
    threads = int(given) if given.isdecimal() else cores()
    devices = _simulated_devices()
    _devices_spared_for = max(devices, threads // THREADS)
    if threads >= THREADS * devices:
        return
    from jax._src import xla_bridge  # private, and known in these versions

    if not xla_bridge.backends_are_initialized():
        os.environ["PJRT_NPROC"] = os.environ[OURS] = str(THREADS * devices)
        _spared = True
    elif jax.default_backend() == "cpu":
        _too_few = True
        logging.getLogger(__name__).warning(
            "JAX started before jaxcollapse was imported: sweeps have threads of their own, but "
            "chains that you compile yourself can hang on a CPU of %d cores with jaxlib %s; import "
            "jaxcollapse first, or set PJRT_NPROC=%d in the environment",
            threads,
            jaxlib.version.__version__,
            THREADS * devices,
        )


def _simulated_devices() -> int:
    """How many devices a CPU is to have, as far as that has been said."""
    told = re.findall(rf"{DEVICES_OF_A_CPU}=(\d+)", os.environ.get("XLA_FLAGS", ""))
    return max(1, int(told[-1]) if told else 1, getattr(jax.config, NUMBER_OF_DEVICES))


def no_spare_threads() -> None:
    """Takes back what ``spare_threads`` did; of effect only before JAX starts.

    For language models, which decompose nothing: more threads than cores slow them by a fifth.
    """
    global _spared, _devices_spared_for
    if _spared:
        for name in ("PJRT_NPROC", OURS):
            os.environ.pop(name, None)
        _spared, _devices_spared_for = False, 0


def devices() -> list[jax.Device]:
    """The devices that sweeps run on: all of JAX's in this process.

    Where JAX started on a CPU with too few threads, see ``spare_threads``, a CPU of their own.
    """
    found = jax.local_devices()
    asked_later = 0 < _devices_spared_for < len(found) and jax.default_backend() == "cpu"
    return _devices_with_threads(len(found)) if _too_few or asked_later else found


@functools.cache
def _devices_with_threads(count: int) -> list[jax.Device]:
    from jax._src import xla_bridge  # private, and known in the versions that need it

    before = os.environ.get("PJRT_NPROC")
    os.environ["PJRT_NPROC"] = str(THREADS * count)
    try:
        return xla_bridge.make_cpu_client().local_devices()
    finally:
        os.environ.pop("PJRT_NPROC")
        if before is not None:
            os.environ["PJRT_NPROC"] = before


def one_blas_thread() -> None:
    """Loads SciPy's OpenBLAS, which decomposes JAX's matrices on a CPU, with one thread; at import.

    XLA shares the matrices of a batch out among threads of its own. Threads of OpenBLAS only wait
    for one another there: the singular values of 100 x 100 then take 200 times as long. OpenBLAS
    reads ``OPENBLAS_NUM_THREADS`` when it is loaded; it is left as it is if it is set, and NumPy's
    OpenBLAS, which is another, keeps its threads. Without effect once SciPy's is loaded.
    """
    if THREADS_OF_BLAS in os.environ:
        return
    os.environ[THREADS_OF_BLAS] = "1"
    try:
        # By itself, where it lies in SciPy's wheel: all of scipy.linalg takes ten times as long.
        found = importlib.util.find_spec("scipy")
        folder = Path(str(found and found.origin)).parent
        beside = [*folder.glob("../scipy.libs/libscipy_openblas*"), *folder.glob(".dylibs/*blas*")]
        if len(beside) == 1:
            ctypes.CDLL(str(beside[0]))
        else:
            importlib.import_module("scipy.linalg")
    finally:
        del os.environ[THREADS_OF_BLAS]


def cores() -> int:
    """How many cores this process may use, as XLA counts them."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def free_memory() -> float:
    """Bytes free on this process's devices together, or on the host where they share its memory."""
    device = jax.local_devices()[0]
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats and "bytes_limit" in stats:
        return (stats["bytes_limit"] - stats["bytes_in_use"]) * jax.local_device_count()
    return _host_memory()


def _host_memory() -> float:
    available = 2.0**32  # where the system does not tell
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        fields = dict(line.split(":") for line in meminfo.read_text().splitlines())
        available = float(fields["MemAvailable"].split()[0]) * 1024
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.exists() and limit.read_text().strip() != "max":
        used = float(Path("/sys/fs/cgroup/memory.current").read_text())
        available = min(available, float(limit.read_text()) - used)
    return max(available, 2.0**26)


def peak_memory() -> float:
    """The most bytes that this process has held in the host's memory."""
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * unit


def cache_folder(name: str) -> Path:
    """Where the user's cache keeps things of one kind; whoever writes there makes the folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "jaxcollapse" / name


def describe() -> dict[str, str]:
    """Device, versions and commit, as a result records them."""
    facts = {
        "device": describe_devices(),
        "platform": platform.platform(),
        "python_version": platform.python_version(),
    }
    return facts | versions() | commit()


# Of JAX's configuration and of the environment, what changes numbers.
_OF_JAX = (
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
    "jax_random_seed_offset",
    "jax_high_dynamic_range_gumbel",
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_allow_f16_reductions",
    "jax_disable_most_optimizations",
    "jax_optimization_level",
    "jax_exec_time_optimization_effort",
    "jax_use_magma",
)
_OF_ENVIRONMENT = ("XLA_FLAGS", "LIBTPU_INIT_ARGS", "NVIDIA_TF32_OVERRIDE")
# Flags of XLA that say how many devices there are, or what is told of programs.
_NO_NUMBERS = ("--xla_force_host_platform_device_count", "--xla_dump", "--xla_hlo_profile")


# Beginnings of names of variables that a report of a fault tells.
_REPORTED = (
    *("JAX_", "XLA_", "LIBTPU_", "PJRT_", "CUDA_", "NVIDIA_", "ROCR_", "HIP_"),
    *("NPROC", "OPENBLAS_", "OMP_", "MKL_"),
)


def settings() -> dict[str, Any]:
    """What changes numbers of how JAX and XLA are set, as JSON can hold it."""
    found = {name: getattr(jax.config, name) for name in _OF_JAX if hasattr(jax.config, name)}
    plain = {k: v if v is None or isinstance(v, bool | int) else str(v) for k, v in found.items()}
    flags = {name: os.environ.get(name, "").split() for name in _OF_ENVIRONMENT}
    return plain | {
        name: " ".join(sorted(flag for flag in given if not flag.startswith(_NO_NUMBERS)))
        for name, given in flags.items()
    }


def describe_devices() -> str:
    """How many devices this process has, and of which kind."""
    devices = jax.local_devices()
    return f"{len(devices)} x {devices[0].device_kind} ({devices[0].platform})"


def instructions() -> str:
    """A digest of what the host's processor can do, which compiled programs make use of."""
    told = platform.machine() + platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().split("\n\n", 1)[0].splitlines()
        told += "".join(x for x in lines if x.startswith(("model name", "flags", "Features")))
    return hashlib.sha256(told.encode()).hexdigest()[:8]


def versions() -> dict[str, str]:
    """Versions of the packages that decide a number."""
    packages = ("jaxcollapse", "jax", "jaxlib", "numpy")
    return {f"{package}_version": version(package) for package in packages}


def version(package: str) -> str:
    """The version of an installed package, or ``not installed``."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return NOT_INSTALLED


def commit() -> dict[str, str]:
    """The commit of the source tree that this package runs from, and whether it was clean.

    Of an installed copy, that from which it was built: building writes it beside the modules.
    """
    return dict(_commit())


@functools.cache  # of what was imported, whatever becomes of the tree
def _commit() -> dict[str, str]:
    here = Path(__file__).resolve().parent

    def git(*words: str) -> str | None:
        command = ["git", "-C", str(here), *words]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    tracked = git("ls-files", "--error-unmatch", Path(__file__).name)
    head = git("rev-parse", "HEAD") if tracked else None
    if head is None:
        return _built_from(here)
    changes = git("status", "--porcelain", "--", str(here))
    state = {None: "unknown", "": "clean"}.get(changes, "modified")
    return {"commit": head, "source_tree": state}


def _built_from(folder: Path) -> dict[str, str]:
    """What building wrote of the commit, see setup.py."""
    try:
        told = json.loads((folder / "built_from.json").read_text())
        return {name: str(told[name]) for name in ("commit", "source_tree")}
    except (OSError, ValueError, TypeError, KeyError):
        return {"commit": "unknown", "source_tree": "not a checkout"}


def environment() -> dict[str, Any]:
    """What a report of a fault needs to tell: versions, devices, memory, and how JAX is set.

    Of the environment only what is set of JAX's, XLA's and the drivers' variables.
    """
    required = metadata.requires("jaxcollapse") if version("jaxcollapse") != NOT_INSTALLED else None
    of_users = (line for line in required or [] if not re.search("extra == .test", line))
    packages = dict.fromkeys(re.split(r"[^\w.-]", line)[0] for line in of_users)
    packages.pop("jaxcollapse", None)  # of extras that bring others
    told = {name: text for name, text in os.environ.items() if name.startswith(_REPORTED)}
    return {
        **versions(),
        **commit(),
        **{f"{name}_version": version(name) for name in packages},
        "python_version": platform.python_version(),
        "platform": platform.platform(),
        "cores": cores(),
        "free_memory_bytes": int(free_memory()),
        "device": describe_devices(),
        "devices": [str(device) for device in jax.local_devices()],
        "settings": settings(),
        "environment": dict(sorted(told.items())),
    }


# How JAX is used ----------------------------------------------------------------------------


def enable_compilation_cache() -> None:
    """Keeps compiled programs on disk, in the folder that JAX is told or the user's cache."""
    if getattr(jax.config, "jax_compilation_cache_dir", None) is None:
        # Programs of another jaxlib or CPU would be rejected, and compiled again each time.
        folder = cache_folder("xla") / f"{jaxlib.version.__version__}-{instructions()}"
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def use_cores_as_devices(chains: int) -> None:
    """One JAX device a core, but no more than there are chains of language models.

    A small model on one core is nearly as fast as on two, so two of them at a time are nearly
    twice as fast. Without effect on an accelerator, or once JAX has begun to compute.
    """
    no_spare_threads()
    use_simulated_devices(max(1, min(cores(), chains)))


def use_simulated_devices(count: int) -> None:
    """So many devices on a CPU, whatever its cores; without effect on an accelerator."""
    with contextlib.suppress(RuntimeError):
        jax.config.update(NUMBER_OF_DEVICES, count)


class CompileClock(contextlib.AbstractContextManager):
    """Counts programs that are compiled, and the seconds it takes, all threads together."""

    def __init__(self) -> None:
        """Starts from 0."""
        self.seconds, self.programs = 0.0, 0

    def _listen(self, event: str, duration_secs: float, **_: str | int) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            self.seconds += duration_secs
            self.programs += 1

    def __enter__(self) -> CompileClock:
        """Begins to count."""
        jax.monitoring.register_event_duration_secs_listener(self._listen)
        return self

    def __exit__(self, *_: Any) -> None:
        """Ends counting."""
        jax.monitoring.unregister_event_duration_listener(self._listen)


# Here, before another module of the package imports SciPy.
one_blas_thread()
