"""A model of the world around a scan, and random histories of it.

A *history* is what a bucket, a sensor and its processes go through: files come, late ones too,
versions go and come back; ticks are lost; processes forget their index; runs are deleted; people
reset, clear or set back the cursor. Each tick is `core.scan` itself. What it emits is compared with
what it should have emitted, which the world knows, since it forgets nothing.

    bucket        the objects, and the clock
    requests      what Dagster does with what a tick requests
    engine        what is under test, as the world drives it
    knowledge     what a cursor stands for, version by version
    expectations  what must hold of one tick, and at the end
    world         all of it, and one tick
    history       random histories
    machine       the same as a state machine of Hypothesis
    scenarios     what kinds of histories there are
    planted       bugs that the histories must find
    fakes         scans that are right by other means, or wrong on purpose

`python -m tests.core.model` runs histories; see `--help`.
"""
