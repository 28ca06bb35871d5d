"""What all tests share: strict flags, one cache of compiled chains, and how chance is judged."""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import functools
import mmap
import types
from pathlib import Path

import jax
import jaxlib
import matplotlib
import numpy as np
import pytest

import jaxcollapse as jc
from jaxcollapse import machine
from jaxcollapse.lm import architectures, language_model
from jaxcollapse.lm.text.documents import Documents
from jaxcollapse.lm.text.texts import Corpus


def has_flag(name):
    """Whether the installed XLA has an option; of one that it has not it makes an end."""
    for library in Path(jaxlib.__file__).parent.glob("*.so"):
        with library.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            if content.find(name.encode()) >= 0:
                return True
    return False


# Nearly all that tests compile runs once, briefly, and compiling quickly takes a quarter of the
# time. With XLA_FLAGS set, to nothing perhaps, programs are compiled as users' are.
USUAL = {"xla_backend_optimization_level": 3, "xla_cpu_use_fusion_emitters": True}
USUAL = {name: value for name, value in USUAL.items() if has_flag(name)}
os.environ.setdefault("XLA_FLAGS", " ".join(f"--{name}=0" for name in USUAL))

matplotlib.use("Agg")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
# One CPU device from here on, whichever test comes first and however many a command asks for.
jax.devices()


def pytest_configure(config):
    """Keeps compiled programs with pytest's own cache, for all workers and the runs that follow."""
    folder = os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(config.cache.mkdir("xla")))
    jax.config.update("jax_compilation_cache_dir", folder)
    machine.enable_compilation_cache()


@functools.cache
def compiled_gaussian(workflow, pool, dim, num_samples, generations):
    """Metrics ``[2, S, G]`` for ddof 0 and 1 as a function of keys and N, or of keys for one N."""

    def chain(num_samples, ddof, key):
        task = jc.gaussian.task(dim, num_samples, ddof, pool=pool)
        metrics = jc.make_chain(task, workflow, generations)(key)
        names = (*METRICS, "wasserstein2") if dim == 1 else METRICS
        return {name: metrics[name] for name in names}

    def both(keys, num_samples=num_samples):
        mapped = jax.vmap(jax.vmap(chain, (None, None, 0)), (None, 0, None))
        return mapped(num_samples, np.asarray([0.0, 1.0], np.float32), keys)

    return optimised_jit(both)


@functools.cache
def run_gaussian(workflow, pool, dim, num_samples, generations, seeds):
    """Metrics ``[2, S, G]`` for ddof 0 and 1; computed once for all tests that ask."""
    keys = jc.seed_keys(range(seeds))
    if pool == "statistics":
        compiled = compiled_gaussian(workflow, pool, dim, None, generations)
        return jax.device_get(compiled(keys, np.int32(num_samples)))
    return jax.device_get(compiled_gaussian(workflow, pool, dim, num_samples, generations)(keys))


# A decoder of some 2,000 parameters, for tests of what does not depend on its size.
MICRO = architectures.llama.config(8, 1, 2, 16, vocab_size=16, context=12)
architectures.add_config("micro", MICRO)


@functools.cache
def random_text(documents=30, vocab=16, context=12, tested=8):
    """Text of random tokens in documents of 3 to 12, beginning with 0 and ending with 1."""
    rng = np.random.default_rng(0)

    def some(count):
        lengths = rng.integers(1, context - 1, count)
        return Documents.from_lists([0, *rng.integers(2, vocab, n), 1] for n in lengths)

    tokenizer = types.SimpleNamespace(vocab_size=vocab, bos=0, eos=1)
    corpus = Corpus("random", some(documents), some(tested), tokenizer, "digest", None, None)
    return language_model.text_data(corpus, context)


METRICS = ("trace_ratio", "squared_error_of_mean", "log_det_ratio")


def optimised_jit(function, **options):
    """``jax.jit`` that compiles as users' programs are: for what runs long."""
    return jax.jit(function, compiler_options=USUAL, **options)


def standard_errors(values: np.ndarray, expected: float) -> float:
    """How many standard errors the mean of independent values is from what is expected."""
    values = np.asarray(values, np.float64)
    error = values.std(ddof=1) / np.sqrt(values.size)
    return float(abs(values.mean() - expected) / error)


@pytest.fixture
def compilations():
    """Counts the programs that XLA compiles while a test runs."""
    events = []

    def listen(name, seconds, **kwargs):
        if name == "/jax/core/compile/backend_compile_duration":
            events.append(seconds)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield events
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.fixture(scope="session")
def shared_data():
    """The folder with real texts and tokenizers, which do not come with the project."""
    beside = Path(__file__).resolve().parents[1] / "../shared/data"
    folder = Path(os.environ.get("JAXCOLLAPSE_DATA") or beside)
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}; JAXCOLLAPSE_DATA can name a folder that has them")
    return folder
