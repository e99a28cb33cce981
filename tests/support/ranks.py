"""Several ranks as threads of one process: what they average, and how they end when one of them does."""

import threading
from concurrent.futures import ThreadPoolExecutor

import torch


class Ranks:
    """A group of threads; :meth:`run` gives each a :class:`ThreadContext`."""

    def __init__(self, world_size):
        self.world_size = world_size
        self.meeting = threading.Barrier(world_size)
        self.tensors = [None] * world_size

    def run(self, function):
        """``function(context)`` on every rank at once; what they return, in order. The first cause is raised."""

        def of_rank(rank):
            try:
                return function(ThreadContext(rank, self))
            except BaseException:
                self.meeting.abort()
                raise

        with ThreadPoolExecutor(self.world_size) as pool:
            futures = [pool.submit(of_rank, rank) for rank in range(self.world_size)]
        errors = [future.exception() for future in futures if future.exception() is not None]
        for error in sorted(errors, key=lambda error: isinstance(error, threading.BrokenBarrierError)):
            raise error
        return [future.result() for future in futures]

    def average(self, rank, tensor):
        """The mean over ranks, summed in one order on all of them."""
        self.tensors[rank] = tensor.detach().clone()
        self.meeting.wait()
        mean = torch.stack(self.tensors).sum(0) / self.world_size
        self.meeting.wait()
        return mean


class ThreadContext:
    """The context of one rank."""

    device = torch.device("cpu")

    def __init__(self, rank, ranks, on_progress=lambda done, total: None):
        self.rank, self.ranks, self.on_progress = rank, ranks, on_progress
        self.world_size = ranks.world_size

    def progress(self, done, total):
        if self.rank == 0:
            self.on_progress(done, total)

    def goes_on_from(self, done, total):
        pass

    def barrier(self):
        self.ranks.meeting.wait()

    def all_reduce_mean(self, tensor):
        return self.ranks.average(self.rank, tensor)
