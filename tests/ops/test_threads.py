"""The kernels on several threads: torch's own where it has them, beside its work, after a fork and side by side."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import spikeseq
from spikeseq import ops
from spikeseq.ops.native import library
from tests.ops.kernels import need_native

FORKED = """
import os, sys, torch
from spikeseq import ops

torch.set_num_threads(2)
x = torch.randn(4, 700, 96)
(x @ torch.randn(96, 96)).relu_()  # torch's threads are there, and the kernels have run on them
before = ops.lif(x, 0.9)[0].numpy().tobytes()
child = os.fork()
if child == 0:
    same = ops.lif(x, 0.9)[0].numpy().tobytes() == before
    os._exit(0 if same else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
ALONE = """
import ctypes, torch
from spikeseq import backend, ops
from spikeseq.ops.native import library

native, _ = library.load()
torch.set_num_threads(3)
x = torch.randn(5, 900, 70).requires_grad_()
def grads():
    with backend("native"):
        out, end = ops.dsn(x, x * 0.5)
    return out, end, *torch.autograd.grad(out.sum() + end.sum(), x)
borrowed = grads()
native.spikeseq_borrow(None)
assert all(torch.equal(a, b) for a, b in zip(borrowed, grads(), strict=True))

asked = []
@ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
def one_thread(body, work, threads, flags):  # a pool may send fewer threads than were asked for
    asked.append(threads)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(body)(work)

native.spikeseq_borrow(one_thread)
assert all(torch.equal(a, b) for a, b in zip(borrowed, grads(), strict=True))
assert asked == [3, 3], asked  # forward and backward
native.spikeseq_borrow(None)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_does_not_wait_for_threads_that_it_has_not() -> None:
    need_native()
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED], check=True, timeout=120)


def test_threads_of_our_own_give_what_borrowed_ones_give() -> None:
    need_native()
    subprocess.run([sys.executable, "-c", ALONE], check=True, timeout=120)


def test_the_threads_are_those_of_openmp_where_this_process_has_it() -> None:
    if not hasattr(ctypes.CDLL(None), "GOMP_parallel"):
        pytest.skip("torch does not run on OpenMP here")
    borrowed = []

    def borrow(pool: ctypes.c_void_p) -> None:
        borrowed.append(pool.value)

    kernels: Any = SimpleNamespace(spikeseq_borrow=borrow)
    library._borrow_threads(kernels)
    assert borrowed == [ctypes.cast(ctypes.CDLL(None).GOMP_parallel, ctypes.c_void_p).value]


def test_several_callers_at_once_each_get_their_own_result() -> None:
    need_native()
    torch.set_num_threads(2)
    inputs = [torch.randn(3, 600, 80) * (i + 1) for i in range(6)]
    try:
        with spikeseq.backend("native"):
            alone = [ops.lif(x, 0.9) for x in inputs]
        together: list = [None] * len(inputs)

        def call(i: int) -> None:
            torch.set_num_threads(2)
            with spikeseq.backend("native"):
                for _ in range(20):
                    together[i] = ops.lif(inputs[i], 0.9)

        callers = [threading.Thread(target=call, args=(i,)) for i in range(len(inputs))]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
    finally:
        torch.set_num_threads(1)
    for (out, end), (wanted, state) in zip(together, alone, strict=True):
        assert torch.equal(out, wanted)
        assert torch.equal(end, state)
