"""The agent inside a sandbox: it runs the tools, spoken to in frames over its own stdin and stdout.

A package of its own, bound read-only into the sandbox and run there by the Python of the host from 3.9 on, so it uses
the standard library alone, with relative imports. One thread and one event loop (`poller.py`). The one bash is a child
process (`shell.py`). The other tools run in helpers (`file_calls.py`): forked processes that run one call at a time, so
that a call can be killed and blocks no other. A helper is used for many calls. The model's code has the same rights as
the agent: the service trusts no frame from here.

A frame is four bytes of length (big endian) and a JSON object.
    in   {"id": 1, "name": "bash", "input": {...}, "limit": 120.0}     run a tool for at most `limit` seconds
         {"id": 1, "cancel": true}                                     stop it with all its processes
    out  {"hello": 1}                                                  ready
         {"id": 1, "output": "text"}                                   output of a command that runs
         {"id": 1, "content": [block, ...], "is_error": false}         exactly one per call, and its last frame

A file tool is one file and one line in `tools.py`. Inputs and results follow the SDK's own implementation of
`agent_toolset_20260401`; `services/sandbox/README.md` lists where the hosted service differs and which is followed.
"""
