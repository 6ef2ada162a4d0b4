"""From LLVM assembly to a function that can be called: in milliseconds, and at once the next time.

Source: llvmlite, the compiler under numba. Object code is kept in the user's cache directory under a
hash of the text, the processor and the compiler; a cache that cannot be read or written is done without.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Protocol, cast

_CACHE_VERSION = 1
_HASH_BYTES = 32
# Importing llvmlite and reading, or compiling, a few loops: seconds on two cores at 2.3 GHz.
_READ, _COMPILE = 0.05, 0.15
_LOCK = threading.Lock()


class Source(Protocol):
    """A function as text.

    Attributes
    ----------
    name
        Of the function.
    """

    name: str

    def identity(self) -> str:
        """Return what decides the code: object code is kept under its hash."""

    def text(self) -> str:
        """Return the module that holds it."""

    @property
    def prototype(self) -> Any:
        """How ctypes calls it."""


class CompilerError(Exception):
    """The compiler is missing or cannot serve this machine; the message says why."""


_FAILURES: list[str] = []


def obstacle() -> str | None:
    """Return why nothing can be compiled here, or None; a failure to compile is remembered."""
    return _FAILURES[0] if _FAILURES else _absence()


@cache
def _absence() -> str | None:
    if os.environ.get("FILTERWORKS_COMPILE", "1") == "0":
        return "the environment variable FILTERWORKS_COMPILE is 0"
    if importlib.util.find_spec("llvmlite") is None:
        return "the package llvmlite is not installed"
    return None


@cache
def vector_bytes() -> int:
    """Return how many bytes one vector register of this machine holds."""
    try:
        import llvmlite.binding as llvm

        features = llvm.get_host_cpu_features()
    except (ImportError, OSError, RuntimeError):
        return 16
    if features.get("avx512f") and features.get("avx512bw") and features.get("avx512vl"):
        return 64
    return 32 if features.get("avx2") else 16


def cache_directory() -> Path:
    """Return the user's cache directory for this package."""
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("filterworks", appauthor=False))


def _cache_folder() -> Path:
    return cache_directory() / f"loops-{_CACHE_VERSION}"


class _Cache:
    """Object code by hash; every file starts with the hash of what follows."""

    def __init__(self, key: str) -> None:
        self._path = _cache_folder() / key

    def get(self) -> bytes | None:
        """Return the object code, if it is there and intact."""
        try:
            content = self._path.read_bytes()
        except OSError:
            return None
        digest, code = content[:_HASH_BYTES], content[_HASH_BYTES:]
        return code if hashlib.sha256(code).digest() == digest else None

    def put(self, code: bytes) -> None:
        """Keep object code, if that is possible."""
        beside: str | None = None
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle, beside = tempfile.mkstemp(dir=self._path.parent)
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(code).digest() + code)
            Path(beside).replace(self._path)
        except OSError:
            if beside is not None:
                Path(beside).unlink(missing_ok=True)


class _Compiler:
    """The one compiler of the process."""

    def __init__(self) -> None:
        try:
            import llvmlite
            import llvmlite.binding as llvm

            llvm.initialize_native_target()
            llvm.initialize_native_asmprinter()
            llvm.initialize_native_asmparser()
            self._llvm: Any = llvm
            self._cpu = llvm.get_host_cpu_name()
            self._features = llvm.get_host_cpu_features().flatten()
            self._target = llvm.Target.from_default_triple()
        except (ImportError, OSError, RuntimeError) as error:
            raise CompilerError(f"llvmlite does not work here: {error}") from error
        self._signature = f"{llvmlite.__version__} {self._cpu} {self._features}"
        self._kept: list[Any] = []

    def compile(self, function: Source) -> int:
        """Return the address of the compiled function."""
        kept = _Cache(hashlib.sha256(f"{self._signature}\n{function.identity()}".encode()).hexdigest())
        code = kept.get()
        try:
            machine = self._target.create_target_machine(cpu=self._cpu, features=self._features, opt=2)
            if code is None:
                code = self._object_code(function.text(), machine)
                kept.put(code)
            engine = self._llvm.create_mcjit_compiler(self._llvm.parse_assembly(""), machine)
            engine.add_object_file(self._llvm.ObjectFileRef.from_data(code))
            engine.finalize_object()
        except (OSError, RuntimeError) as error:
            raise CompilerError(f"llvmlite could not compile {function.name}: {error}") from error
        self._kept.append(engine)
        return int(engine.get_function_address(function.name))

    def _object_code(self, text: str, machine: Any) -> bytes:
        module = self._llvm.parse_assembly(text)
        module.verify()
        options = self._llvm.create_pipeline_tuning_options(speed_level=2)
        options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = False
        builder = self._llvm.create_pass_builder(machine, options)
        builder.getModulePassManager().run(module, builder)
        return bytes(machine.emit_object(module))


@cache
def _compiler() -> _Compiler:
    return _Compiler()


def compiled(function: Source) -> Callable[..., None]:
    """Return a function as one that Python can call, without the interpreter lock.

    Parameters
    ----------
    function
        What to compile. Pointers are passed as integers.

    Raises
    ------
    CompilerError
        If llvmlite is missing or fails; from then on it is an :func:`obstacle`.
    """
    reason = obstacle()
    if reason:
        raise CompilerError(reason)
    with _LOCK:
        try:
            address = _compiler().compile(function)
        except CompilerError as error:
            _FAILURES.append(str(error))
            raise
    return cast("Callable[..., None]", function.prototype(address))


def start_seconds() -> float:
    """Return what the first compiled loop of this process costs: importing llvmlite, reading or compiling."""
    if "llvmlite.binding" in sys.modules:
        return 0.0
    return _READ if _cache_folder().is_dir() else _COMPILE
