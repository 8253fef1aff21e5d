"""The failures of a command that uses the API. Pure.

CannotDo            printed as it is; exit code 1
  BadAgentFile      definitions: the agent file cannot be used
  CannotAnswer      answer: the answer does not fit what the session waits for
  CannotApply       files.apply_files: nothing was changed in the user's folder
  CannotCompare     files.changes: the workspace cannot be read
  CannotCopy        files.copy_plan: the folder cannot be copied into a session
  UnknownSession    session_ids: the text names no session, or more than one
NoStack             target: no stack was found, or several; exit code 2
  NoModelKey        run: the stack has no key for its model
"""


class CannotDo(Exception):
    """The command cannot do what it was asked for. The text says why and what to do; it may hold unsafe characters."""
