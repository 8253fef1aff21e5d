"""The agent inside a sandbox: it runs the tools, spoken to in frames over its own stdin and stdout.

A package of its own, bound read-only into the sandbox and run there by whatever Python from 3.9 on the host has, so it
uses the standard library alone and imports nothing of ours. One thread and one loop (`loop.py`): the persistent bash
lives beside it (`shell.py`), and each call of another tool runs in a process of its own (`aside.py`), so that it can be
killed, cannot block the others, and gives its memory back. All of it has the rights of the model's own code: the
service treats every frame that leaves as untrusted.

A frame is four bytes of length (big endian) and a JSON object.
    in   {"id": 1, "name": "bash", "input": {...}, "limit": 120.0}     run a tool for at most so many seconds
         {"id": 1, "cancel": true}                                     stop it with all its processes
    out  {"hello": 1}                                                  ready
         {"id": 1, "output": "text"}                                   what a command prints while it runs
         {"id": 1, "content": [block, ...], "is_error": false}         exactly one per call, and its last frame

A new tool is one file and one line in `tools.py`. Inputs and results follow the SDK's own implementation of
`agent_toolset_20260401`; where the measured hosted service differs, `services/sandbox/README.md` says what is followed.
"""
