"""libdispatch: queues, work, timers, semaphores.

The program has one thread. Work that it submits waits until that thread waits for something (a descriptor, a
semaphore, a moment); then the work that is due runs, as if on another thread, with that thread's variables and stack.
When nothing is due, virtual time goes on to the next timer or to the end of the wait. So nothing takes real time, and
every run of one program is the same run.

Rules of libdispatch that are kept (its headers; confidence: high): a serial queue runs one work at a time, in order;
the work holds the queue; `dispatch_sync` on the queue that one is on is a deadlock and crashes; so does
`dispatch_assert_queue` elsewhere.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .errors import Crash, Hung
from .log import MAIN
from .registry import imported, signed64, variable

if TYPE_CHECKING:
    from .objc import Instance
    from .world import World

FOREVER = (1 << 64) - 1
# Work that runs on and on without a wait between is a fault of the program or of a fake.
LIMIT = 1_000_000

Ready = Callable[[], bool]


@dataclass
class Queue:
    """A dispatch queue."""

    label: str
    instance: Instance
    concurrent: bool = False
    running: bool = False
    specific: dict[int, int] = field(default_factory=dict)


@dataclass(order=True)
class Work:
    """Something to do on a queue at a moment."""

    due: int
    order: int
    queue: Queue = field(compare=False)
    run: Callable[[], object] = field(compare=False)


class Dispatch:
    """All queues of one process."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.queues: dict[int, Queue] = {}
        self.semaphores: dict[int, int] = {}
        self._work: list[Work] = []
        self._order = itertools.count()
        self._stack: list[Queue] = []
        self._count = 0

    # Queues.

    def create(self, label: str, concurrent: bool = False) -> Queue:
        """Makes a queue; its one reference is the caller's."""
        instance = self.world.runtime.create("OS_dispatch_queue")
        queue = Queue(label, instance, concurrent)
        self.queues[instance.address] = queue
        return queue

    def at(self, address: int) -> Queue:
        """The queue at an address."""
        if address not in self.queues:
            raise Crash(f"{address:#x} is no dispatch queue, or one that is gone")
        return self.queues[address]

    def forget(self, address: int) -> None:
        """The last reference to a queue is gone."""
        del self.queues[address]

    @property
    def current(self) -> Queue | None:
        """The queue whose work is running."""
        return self._stack[-1] if self._stack else None

    def label(self) -> str:
        """The name of the current queue."""
        return self._stack[-1].label if self._stack else MAIN

    # Work.

    def submit(self, queue: Queue, run: Callable[[], object], delay: int = 0) -> None:
        """Has something done on a queue, after `delay` nanoseconds."""
        self.world.runtime.retain(queue.instance)
        heapq.heappush(self._work, Work(self.world.clock.now + delay, next(self._order), queue, run))

    def submit_call(self, queue: Queue, function: int, context: int, delay: int = 0) -> None:
        """Has a function of the program called on a queue."""
        self.submit(queue, lambda: self.world.call(function, context), delay)

    def _take(self) -> Work | None:
        """The first work that is due and whose queue is free."""
        skipped: list[Work] = []
        found = None
        blocked: set[int] = set()
        while self._work and self._work[0].due <= self.world.clock.now:
            work = heapq.heappop(self._work)
            if work.queue.running or id(work.queue) in blocked:
                blocked.add(id(work.queue))
                skipped.append(work)
                continue
            found = work
            break
        for work in skipped:
            heapq.heappush(self._work, work)
        return found

    def run_one(self) -> bool:
        """Runs the first work that is due, on another thread. Says whether there was one."""
        work = self._take()
        if work is None:
            return False
        self._count += 1
        if self._count > LIMIT:
            raise Hung(f"more than {LIMIT} works ran; the last one on {work.queue.label}")
        with self.world.worker() as thread:
            self._on(work.queue, lambda: self._run(work, thread.stack))
        # Only now: work may let go of the last other reference to its own queue.
        self.world.runtime.release(work.queue.instance)
        return True

    def _run(self, work: Work, stack: int) -> None:
        # The program's functions begin at the top of this thread's stack.
        machine = self.world.machine
        before = machine.stack
        machine.set_register_stack(stack)
        with self.world.runtime.pool():
            work.run()
        machine.set_register_stack(before)

    def _on(self, queue: Queue, run: Callable[[], object]) -> None:
        queue.running = not queue.concurrent
        self._stack.append(queue)
        try:
            run()
        finally:
            self._stack.pop()
            queue.running = False

    def run_due(self) -> None:
        """Runs all work that is due, and what that makes due."""
        while self.run_one():
            pass

    def next_due(self) -> int | None:
        """When the next work is due whose queue is free."""
        return min((work.due for work in self._work if not work.queue.running), default=None)

    def wait(self, ready: Ready, deadline: int | None, what: str, outside: Callable[[], bool] | None = None) -> bool:
        """Waits until `ready`, which is looked at when no work is due, or until the deadline (nanoseconds).

        `outside` waits for the real world when nothing else is left to wait for, and says whether it brought something.
        """
        clock = self.world.clock
        while True:
            self.run_due()
            if ready():
                return True
            if deadline is not None and clock.now >= deadline:
                return False
            due = self.next_due()
            if due is None and deadline is None:
                if outside is not None and outside():
                    continue
                raise Hung(f"{what}, and nothing that could end the wait will ever happen")
            if due is not None and (deadline is None or due <= deadline):
                clock.now = max(clock.now, due)
            else:
                assert deadline is not None
                clock.now = deadline

    def sync(self, queue: Queue, run: Callable[[], object]) -> None:
        """Runs something on a queue while the caller waits."""
        if queue in self._stack and not queue.concurrent:
            raise Crash(f"dispatch_sync on the queue {queue.label} from that queue: a deadlock")
        # What was submitted before comes first.
        self.wait(lambda: not queue.running, None, f"dispatch_sync waits for the queue {queue.label}")
        self._on(queue, run)


# Functions.


@imported("_dispatch_queue_create", "_dispatch_queue_create_with_target$V2")
def _queue_create(world: World, a: list[int]) -> int:
    label = world.machine.string(a[0]) if a[0] else "(no label)"
    concurrent = a[1] == world.data("__dispatch_queue_attr_concurrent")
    return world.dispatch.create(label, concurrent).instance.address


@imported("_dispatch_queue_attr_make_with_qos_class", "_dispatch_queue_attr_make_with_autorelease_frequency")
def _attribute(_world: World, a: list[int]) -> int:
    return a[0]


@imported("_dispatch_queue_get_label")
def _get_label(world: World, a: list[int]) -> int:
    queue = world.dispatch.at(a[0]) if a[0] else world.dispatch.current
    return world.runtime.constant(queue.label if queue else "com.apple.main-thread")


@imported("_dispatch_async_f")
def _async(world: World, a: list[int]) -> None:
    world.dispatch.submit_call(world.dispatch.at(a[0]), a[2], a[1])


@imported("_dispatch_after_f")
def _after(world: World, a: list[int]) -> None:
    if a[0] != FOREVER:
        world.dispatch.submit_call(world.dispatch.at(a[1]), a[3], a[2], max(0, a[0] - world.clock.now))


@imported("_dispatch_sync_f", "_dispatch_async_and_wait_f", "_dispatch_barrier_sync_f")
def _sync(world: World, a: list[int]) -> None:
    world.dispatch.sync(world.dispatch.at(a[0]), lambda: world.call(a[2], a[1]))


@imported("_dispatch_time")
def _time(world: World, a: list[int]) -> int:
    if a[0] == FOREVER or a[1] == (1 << 63) - 1:
        return FOREVER
    return (world.clock.now if a[0] == 0 else a[0]) + signed64(a[1])


@imported("_dispatch_retain")
def _retain(world: World, a: list[int]) -> None:
    world.runtime.retain(world.runtime.at(a[0]))


@imported("_dispatch_release")
def _release(world: World, a: list[int]) -> None:
    world.runtime.release(world.runtime.at(a[0]))


@imported("_dispatch_queue_set_specific")
def _set_specific(world: World, a: list[int]) -> None:
    world.dispatch.at(a[0]).specific[a[1]] = a[2]


@imported("_dispatch_get_specific")
def _get_specific(world: World, a: list[int]) -> int:
    queue = world.dispatch.current
    return queue.specific.get(a[0], 0) if queue else 0


@imported("_dispatch_queue_get_specific")
def _queue_get_specific(world: World, a: list[int]) -> int:
    return world.dispatch.at(a[0]).specific.get(a[1], 0)


@imported("_dispatch_assert_queue", "_dispatch_assert_queue$V2")
def _assert_queue(world: World, a: list[int]) -> None:
    queue = world.dispatch.at(a[0])
    if queue is not world.dispatch.current:
        raise Crash(f"dispatch_assert_queue: not on {queue.label}, but on {world.dispatch.label()}")


@imported("_dispatch_assert_queue_not", "_dispatch_assert_queue_not$V2")
def _assert_queue_not(world: World, a: list[int]) -> None:
    if world.dispatch.at(a[0]) is world.dispatch.current:
        raise Crash(f"dispatch_assert_queue_not: on {world.dispatch.label()}")


@imported("_dispatch_semaphore_create")
def _semaphore_create(world: World, a: list[int]) -> int:
    instance = world.runtime.create("OS_dispatch_semaphore")
    world.dispatch.semaphores[instance.address] = signed64(a[0])
    return instance.address


@imported("_dispatch_semaphore_signal")
def _semaphore_signal(world: World, a: list[int]) -> int:
    world.dispatch.semaphores[a[0]] += 1
    return 0


@imported("_dispatch_semaphore_wait")
def _semaphore_wait(world: World, a: list[int]) -> int:
    semaphores = world.dispatch.semaphores
    deadline = None if a[1] == FOREVER else max(a[1], world.clock.now)
    if not world.dispatch.wait(lambda: semaphores[a[0]] > 0, deadline, "the program waits for a semaphore"):
        return 49
    semaphores[a[0]] -= 1
    return 0


@variable("__dispatch_main_q")
def _main_queue(world: World) -> int:
    # No queue of ours: whoever uses it is told that it is none. Nothing would run it without a run loop.
    return world.machine.allocate(64)


@variable("__dispatch_queue_attr_concurrent")
def _concurrent(world: World) -> int:
    return world.machine.allocate(64)
