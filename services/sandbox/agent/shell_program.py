"""The program of the one bash: runs commands that arrive on a descriptor, and can be told to stop one of them. Pure.

Commands arrive NUL-ended on one private descriptor; exit code, folder and exported variables are answered on another.
So no output of a command can be mistaken for its end, and redirections that it makes with `exec` end with it.

**A stop** (STOP_SIGNAL) ends the command at once, whatever it consists of, and keeps the shell. Its trap sets a DEBUG
trap, which bash runs before each simple command. While `extdebug` is on, such a trap that returns 2 makes bash return
from the function, one that fails makes it skip the command, and `break` ends the loop around it. So not one more
command runs until the assignment to `__holdfast` below, which is not the command's, puts the options back.

**An exit** of the shell leaves folder and exported variables in STATE_FILE. That trap is lost if a command sets an EXIT
trap of its own.

Each command runs in a loop of one round, so that `break` ends the command at most. A command that breaks out of all
loops starts the text again. Everything is one line, so that bash counts the lines of a command from 1 in its errors.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

FIRST_FD: Final = 197
"""Inside bash: the descriptor of output; the next two are those of commands and of status. The text has the numbers."""

STOP_SIGNAL: Final = 61
"""SIGRTMAX-3, which bash calls by that name: no program uses it."""

STATE_FILE: Final = "/dev/shm/holdfast-shell"  # noqa: S108  private to the sandbox
"""Where a shell that exits writes its folder and its exported variables, each NUL-ended."""

_STOP: Final = r"""
__holdfast_stop() {
  [[ $__holdfast_runs ]] || builtin return 0;
  __holdfast_saved=$(builtin shopt -p extdebug; builtin shopt -po functrace errtrace; builtin trap -p DEBUG);
  builtin shopt -s extdebug;
  builtin trap '
    if [[ $BASH_COMMAND == __holdfast=* ]]; then builtin trap - DEBUG; builtin eval "$__holdfast_saved";
    elif [[ $FUNCNAME ]]; then builtin return 2;
    else ! builtin break; fi 2>/dev/null' DEBUG;
};
builtin trap __holdfast_stop RTMAX-3;
"""

_EXIT: Final = rf"""
__holdfast_exit() {{
  {{ builtin printf '%s\0' "$PWD"; builtin export -p; builtin printf '\0'; }} >|{STATE_FILE};
}};
builtin trap '__holdfast_exit 2>/dev/null' EXIT;
"""

_LOOP: Final = r"""
while __holdfast=$? __holdfast_ran=$__holdfast_runs __holdfast_runs=; do
  if [[ $__holdfast_ran ]]; then
    builtin printf '%d\0%s\0' "$__holdfast" "$PWD" >&199;
    builtin export -p >&199;
    builtin printf '\0' >&199;
  fi 2>/dev/null;
  IFS= builtin read -r -d '' -u 198 __holdfast || builtin exit;
  __holdfast_runs=1;
  for __holdfast_once in 1; do
    builtin eval "$__holdfast" </dev/null >&197 2>&1 197>&- 198<&- 199>&-;
  done;
done;
builtin eval "$__holdfast_loop"
"""


def _one_line(text: str) -> str:
    return " ".join(line.strip() for line in text.strip().splitlines())


def _quoted(text: str) -> str:
    """The text as a word of the shell."""
    return "'" + text.replace("'", "'\\''") + "'"


PROGRAM: Final = " ".join(
    [
        _one_line(_STOP),
        _one_line(_EXIT),
        f"__holdfast_loop={_quoted(_one_line(_LOOP))};",
        'builtin eval "$__holdfast_loop"',
    ]
)
"""The text for `bash -c`."""
