"""The bus in memory, with the contract of the real one: the contract tests run over both.

One `MemoryServer` is shared; each simulated process has a `MemoryBus` of its own with its name. Bytes go through the
real codec. Before and after every effect the bus asks `Faults`, so that a simulator can delay, lose, repeat or crash.
"""
