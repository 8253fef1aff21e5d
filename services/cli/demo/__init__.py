"""The parts of `holdfast demo`: an agent makes a failing test pass while the process that drives it is killed."""
