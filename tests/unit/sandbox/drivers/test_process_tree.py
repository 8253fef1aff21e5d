"""Which processes of a control group are Holdfast's own."""

import os
import subprocess
import sys

from holdfast.sandbox.drivers.bubblewrap import process_tree

PARENTS = {1: 0, 10: 1, 11: 10, 20: 10, 21: 20, 22: 21}
"""A shell 10 with a program 11, and `holdfast up` 20 with a service 21 that has a child 22."""


def test_what_the_head_has_started_belongs_to_it() -> None:
    assert [pid for pid in PARENTS if process_tree.descends(pid, 20, PARENTS)] == [20, 21, 22]


def test_a_process_that_has_ended_does_no_harm() -> None:
    assert process_tree.descends(99, 20, PARENTS)


def test_this_process_and_its_children_are_ours_and_the_first_of_the_machine_is_not() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert process_tree.parent_of(child.pid) == os.getpid()
        assert process_tree.holds_only_ours([os.getpid(), child.pid])
        assert not process_tree.holds_only_ours([os.getpid(), child.pid, 1])
