"""Runs a program on arrays: checks them, binds the symbols, and makes one native call."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from time import perf_counter_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.arena import Arena, address_of
from runtime.arguments import bind_symbols, checked_outputs, usable_inputs
from runtime.binding import Binding, OneToOne, Shape
from runtime.loader import load_objects
from runtime.moves import Moves
from runtime.native import native_loop
from runtime.native_code import Frame
from runtime.profile import Profile
from runtime.program import DTYPES, Program
from runtime.recorder import MOST_NOTES, enlist, is_anybody_recording, recorded_profile
from runtime.threads import ThreadPool, borrow_pool, get_num_threads, return_pool
from runtime.variables import BoundVariables

__all__ = ["Executable", "KernelError"]

Array = NDArray[np.generic]

# Batch sizes alternate between few values: training, the last partial batch, validation, prediction.
_MOST_BINDINGS = 8

# Looking up a member of an enumeration costs as much as the write that it is for.
_NOTES, _START = int(Frame.NOTES), int(Frame.START)

_ndarray = np.ndarray


class KernelError(RuntimeError):
    """A kernel returned a status other than 0; variables may have been updated in part."""


class Executable:
    """A program loaded into this process, for every value of its symbols.

    Raises `LoadError` when a kernel cannot be linked. Calls from several threads take turns; the
    interpreter lock is released while the program runs.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self._code = load_objects([(kernel.symbol, kernel.object_code) for kernel in program.kernels])
        self._loop = native_loop()
        self._lock = threading.Lock()
        self._bindings: OrderedDict[Any, Binding] = OrderedDict()
        self._arena = Arena()
        self._scratch = Arena()
        self._input_dtypes = tuple(DTYPES[program.buffers[index].dtype] for index in program.inputs)
        self._variables = BoundVariables(program)
        self._memory_version = 0
        # The binding of the last call, while nothing has happened that it would have to be told.
        self._recent: Binding | None = None
        # For `tracked` variables: the watch's number when the prepared instructions were last run, else 0.
        self._watch = self._variables.watch
        self._prepared_at = 0
        enlist(self)

    def __repr__(self) -> str:
        return f"<Executable of {self.program!r}>"

    @property
    def arena_bytes(self) -> int:
        """Bytes of arena held now: the largest that any call has needed."""
        return self._arena.size

    def forget_recent(self) -> None:
        """Let the next call look at everything, as if it were the first."""
        with self._lock:
            self._recent = None

    def renew_lock(self) -> None:
        """In a forked child: a lock that another thread of the parent held would never be released."""
        self._lock = threading.Lock()

    def release(self) -> None:
        """Give back the memory kept between calls; the next call takes it again."""
        with self._lock:
            self._bindings.clear()
            self._arena.release()
            self._scratch.release()
            self._memory_version += 1
            self._variables.forget()
            self._recent = None
            self._prepared_at = 0

    def run(
        self,
        inputs: Sequence[Array],
        variables: Sequence[Array],
        profile: Profile | None = None,
        *,
        out: Sequence[Array] | None = None,
        tracked: bool = False,
    ) -> tuple[Array, ...]:
        """Run the program once and return its outputs.

        `inputs` and `variables` are arrays in the program's order, with its dtypes and shapes; a symbol
        takes its value from them. An input that is not contiguous is copied. Variables are updated in
        place, so they must be contiguous, writable and distinct; the executable keeps a reference to them.
        Outputs are fresh arrays, or the ones in `out`, which must not overlap inputs or variables. Passing
        the same tuple of variables again is fastest.

        With `tracked`, the caller promises that whoever writes to the variables, other than a program, reports it to
        `runtime.contents.changed`. Instructions that depend on nothing else are then run only after a change.

        Raises `TypeError` for a wrong type or dtype, `ValueError` for a wrong count, rank or size, and
        `KernelError` when a kernel fails.
        """
        if profile is None and out is None and (tracked or self._watch is None):
            repeated = self.run_again(inputs, variables)
            if repeated is not None:
                return repeated
        with self._lock:
            if variables is not self._variables.arrays and self._variables.take(variables):
                self._recent = None
            arrays, addresses, shapes = self._usable(inputs)
            binding = self._binding_for(shapes)
            for buffer, address in zip(self.program.inputs, addresses, strict=True):
                binding.addresses[buffer] = address
            results = binding.fresh_outputs() if out is None else self._given_outputs(binding, out)
            self._run(binding, tracked, profile)
            del arrays  # until here they keep the memory that the program reads
            return results

    def run_again(self, inputs: Sequence[Array], variables: Sequence[Array]) -> tuple[Array, ...] | None:
        """What `run(inputs, variables, tracked=True)` returns, the short way; None, and nothing done, where the
        call is not like the last one.

        Everything is left out that the last call has settled: of a batch of one sample, which costs a few
        microseconds all told, half would be spent on looking up what has not changed. The fewer functions and objects
        a call passes, the better, since the weights of a small model fill the caches that Python lives in.
        """
        with self._lock:
            binding, known = self._recent, self._variables
            if binding is None or variables is not known.arrays or len(inputs) != len(binding.inputs):
                return None
            if self._watch is not None and not self._is_prepared(binding):
                return None
            addresses = binding.addresses
            for array, (buffer, _, dtype, shape) in zip(inputs, binding.inputs):  # noqa: B905
                if type(array) is not _ndarray or array.dtype is not dtype or array.shape != shape:
                    return None
                address = address_of(array)
                if address in known.addresses or not array.flags.c_contiguous:
                    return None
                addresses[buffer] = address
            results = binding.fresh_outputs()
            failed: int | None = -1  # something may have run where an exception comes
            try:
                failed = self._run_like_before(binding)
            finally:
                if known.followers is not None and failed is not None:
                    known.followers.tell()
            if failed is not None and failed >= 0:
                self._raise_failure(binding)
            return None if failed is None else results

    def call_like(self, array: Array) -> OneToOne | None:
        """For `run_one_again`: the last call, if it was one of a program that updates nothing and has one output, and
        one input like this array; else None."""
        last = self._recent
        if last is None or len(last.inputs) != 1 or self._variables.followers is not None:
            return None
        _, _, dtype, shape = last.inputs[0]
        is_like = type(array) is _ndarray and array.dtype is dtype and array.shape == shape
        return last.one_to_one() if is_like else None

    def run_one_again(self, array: Array, variables: Sequence[Array], last: OneToOne) -> Array | None:
        """What `run((array,), variables, tracked=True)` returns, where nothing else has run since `last`; None, and
        nothing done, where something has.

        `array` must be a NumPy array of the same dtype object and shape as the one that `call_like` was given.

        Aim: 2.5 us of Python around the native call of a prediction. Reached with the functions that lead here, native
        call left out, minimum on a busy machine: 1.7 us; 3.5 through `run`.
        """
        with self._lock:
            binding, addresses, buffer, take_one, frame_address = last
            if self._recent is not binding or variables is not self._variables.arrays or not array.flags.c_contiguous:
                return None
            if self._watch is not None and not self._is_prepared(binding):
                return None
            addresses[buffer] = address_of(array)
            result = take_one(addresses)
            failed = self._run_like_before(binding) if binding.is_parallel else self._loop.run(frame_address)
            if failed is not None and failed >= 0:
                self._raise_failure(binding)
            return None if failed is None else result

    def _run_like_before(self, binding: Binding) -> int | None:
        """Run a binding, ready as it is, on the threads that it ran on the last time; None, and nothing done, if these
        are to be others now."""
        use_pool = binding.is_parallel and get_num_threads() > 1 and binding.thread_choice.settled()
        if use_pool is None or use_pool is (binding.pool is None):
            return None
        if not use_pool:
            return self._loop.run(binding.frame_address)
        pool = borrow_pool()
        if pool is None:
            return None
        try:
            return self._loop.run_pooled(binding.frame_address) if pool is binding.pool else None
        finally:
            return_pool()

    def _is_prepared(self, binding: Binding) -> bool:
        """Whether a run of what comes after the prepared instructions is all that is left to do."""
        assert self._watch is not None
        return self._watch.number == self._prepared_at and binding.frame[_START] == self.program.prepared

    def _begin(self, binding: Binding, tracked: bool) -> bool:
        """Let a run begin where it must; whether what is prepared need not be made again."""
        if self._watch is None:
            return False
        is_ready = tracked and self._watch.number == self._prepared_at
        first = self.program.prepared if is_ready else 0
        if binding.frame[_START] != first:
            binding.begin_at(first)
        return is_ready

    def run_steps(
        self,
        steps: int,
        inputs: Sequence[Array],
        variables: Sequence[Array],
        split: Sequence[bool],
        *,
        out: Sequence[Array] | None = None,
        split_out: Sequence[bool] = (),
        tracked: bool = False,
    ) -> tuple[Array, ...]:
        """Run the program `steps` times in one native call, as so many calls of `run` would, to the same bits.

        An input that `split` marks holds the rows of all steps one after another along axis 0, and each step
        gets its part of them, in place; the others are given to every step. So with `out` and `split_out`: a
        marked array collects the outputs of all steps along axis 0, one that is not marked, and every output
        without `out`, holds what the last step made.

        Raises `ValueError` if the rows of a marked array cannot be shared out evenly, and what `run` raises; the
        steps before one that fails have then taken effect.
        """
        with self._lock:
            if variables is not self._variables.arrays and self._variables.take(variables):
                self._recent = None
            arrays, addresses, shapes = self._usable(inputs)
            moves = Moves(steps)
            shapes = moves.split(self.program, self.program.inputs, arrays, split)
            binding = self._binding_for(shapes)
            for buffer, address in zip(self.program.inputs, addresses, strict=True):
                binding.addresses[buffer] = address
            if out is None:
                results = binding.fresh_outputs()
            else:
                parts = moves.split(self.program, self.program.outputs, out, split_out)
                results = self._given_outputs(binding, out, parts)
            self._run_steps(binding, tracked, moves)
            del arrays
            return results

    def _usable(self, inputs: Sequence[Array]) -> tuple[list[Array], list[int], tuple[Shape, ...]]:
        return usable_inputs(self.program, self._input_dtypes, inputs, self._variables.addresses)

    def _binding_for(self, input_shapes: tuple[Shape, ...]) -> Binding:
        key = (input_shapes, self._variables.shapes) if self._variables.are_symbolic else input_shapes
        binding = self._bindings.get(key)
        if binding is None:
            binding = self._bind(input_shapes)
            self._bindings[key] = binding
            if len(self._bindings) > _MOST_BINDINGS:
                self._bindings.popitem(last=False)
        elif len(self._bindings) > 1:
            self._bindings.move_to_end(key)
        if binding.variables_version != self._variables.version:
            for address, index in self._variables.addresses.items():
                binding.addresses[index] = address
            binding.variables_version = self._variables.version
        return binding

    def _bind(self, input_shapes: tuple[Shape, ...]) -> Binding:
        program = self.program
        indices = (*program.inputs, *program.variables)
        shapes = (*input_shapes, *self._variables.shapes)
        values = bind_symbols(program, list(zip(indices, shapes, strict=True)))
        return Binding(program, values, self._code)

    def _run_steps(self, binding: Binding, tracked: bool, moves: Moves) -> None:
        done = 0
        has_choice = binding.is_parallel and get_num_threads() > 1
        while done < moves.steps:
            # While it is being measured which is quicker, the pool or this thread alone, one by one. And the first
            # alone where it has something to prepare for the others.
            is_sampling = has_choice and binding.thread_choice.is_sampling
            is_alone = is_sampling or (tracked and self._watch is not None and not done)
            count = 1 if is_alone else moves.steps - done
            if is_anybody_recording():
                count = min(count, max(1, MOST_NOTES // (binding.most_calls + 1)))
            self._run(binding, tracked, None, moves, count)
            done += count

    def _run(
        self, binding: Binding, tracked: bool, profile: Profile | None, moves: Moves | None = None, steps: int = 1
    ) -> None:
        choice = binding.thread_choice
        profile = profile or recorded_profile(self.program, binding.values)
        has_choice = binding.is_parallel and get_num_threads() > 1
        wants_pool = has_choice and choice.begin(steps)
        self._recent = None
        pool = borrow_pool() if wants_pool else None
        try:
            if pool is not binding.pool or self._memory_version != binding.memory_version:
                self._place_memory(binding, pool)
            number = 0 if self._watch is None else self._watch.number
            is_ready = self._begin(binding, tracked)
            if profile is not None:
                threads = 1 if pool is None else pool.threads
                most = (binding.most_calls + 1) * steps
                binding.frame[_NOTES] = profile.attach(self.program, binding.values, threads, most)
                first_tick = self._loop.ticks()
            start = perf_counter_ns() if has_choice and choice.is_sampling else 0
            if moves is not None:
                failed = self._loop.run_steps(binding.frame_address, steps, moves.address, moves.count)
            elif pool is None:
                failed = self._loop.run(binding.frame_address)
            else:
                failed = self._loop.run_pooled(binding.frame_address)
            last_tick = 0 if profile is None else self._loop.ticks()
            # Where the pool was wanted but in use, the time says nothing.
            if start and wants_pool == (pool is not None):
                choice.record((perf_counter_ns() - start) // steps)
        finally:
            binding.frame[_NOTES] = 0
            self._variables.tell()
            if pool is not None:
                return_pool()
        if failed >= 0:
            self._raise_failure(binding)
        if not is_ready:
            # As it was before the run: a change during it may have come too late for the prepared instructions.
            self._prepared_at = number
        if profile is not None:
            profile.collect(first_tick, last_tick)
        self._recent = None if is_anybody_recording() else binding

    def _place_memory(self, binding: Binding, pool: ThreadPool | None) -> None:
        """Point a binding to the arena, the scratch memory and the pool of this call."""
        threads = 1 if pool is None else pool.threads
        before = self._arena.generation, self._scratch.generation
        binding.place_arena(self._arena.reserve(binding.arena_bytes))
        binding.frame[Frame.SCRATCH] = self._scratch.reserve(binding.scratch_stride * threads)
        binding.share_work(threads)
        binding.frame[Frame.POOL] = 0 if pool is None else pool.address
        if (self._arena.generation, self._scratch.generation) != before:
            # The other bindings must look for their memory again.
            self._memory_version += 1
        if self._arena.generation != before[0]:
            self._prepared_at = 0
        if pool is not None and threads != binding.pool_threads:
            binding.thread_choice.restart()
            binding.pool_threads = threads
        binding.pool = pool
        binding.memory_version = self._memory_version

    def _given_outputs(
        self, binding: Binding, out: Sequence[Array], shapes: Sequence[Shape] | None = None
    ) -> tuple[Array, ...]:
        """`shapes` are those of what one run fills of each array: by default all of it."""
        results = checked_outputs(self.program, binding.outputs, out, shapes)
        for array, spec in zip(results, binding.outputs, strict=True):
            binding.addresses[spec.buffer] = address_of(array)
        return results

    def _raise_failure(self, binding: Binding) -> None:
        index, status = binding.frame[Frame.FAILED], binding.frame[Frame.STATUS]
        binding.frame[Frame.FAILED] = -1
        self._prepared_at = 0
        instruction = self.program.instructions[index]
        kernel = self.program.kernels[instruction.kernel].name
        raise KernelError(
            f"instruction {index} ({instruction.label!r}) of program {self.program.name!r} failed: "
            f"its kernel {kernel!r} returned status {status}"
        )
