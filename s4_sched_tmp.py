import sys
import time

from msgspec.structs import replace

from tests.simulation.fault_injector import ALL_FAULTS
from tests.simulation.plan import Plan
from tests.simulation.scenario import schedule

busy = Plan(replicas=3, workers=2, messages=4, interrupts=2, impatient=2, updates=2, drains=1, calls=6)
two = Plan(workers=2, clocks=1, messages=6, interrupts=2, impatient=2, updates=1, drains=1, calls=8, child=True)
t = time.time()
bad = 0
n = 0
for seed in range(100000):
    if time.time() - t > float(sys.argv[1]):
        break
    for r in (
        schedule(seed),
        schedule(seed, odds=ALL_FAULTS, given=replace(busy, reads=seed % 2 == 1)),
        schedule(seed, odds=ALL_FAULTS, given=replace(two, reads=seed % 2 == 1)),
    ):
        n += 1
        if r.violations:
            bad += 1
            print(seed, r.violations[:3], flush=True)
print("schedules", n, "bad", bad)
