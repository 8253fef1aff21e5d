"""The scripted model: a real HTTP server that speaks the streaming Messages API and plays a scenario file.

It stands in for a model in the demo, the tests and the benchmarks, and refuses what the real API refuses, so a
conversation that could not be continued with a real model fails here too.

A scenario file is YAML or JSON:

    scenarios:
      fix:                                    # the name
        match: "make the test pass"           # a regex on what the user said; without it, say [play:fix]
        summary: "What was done so far."      # the answer when the conversation is to be summarised
        steps:
          - thinking: "I look first."         # signed, and checked when it comes back
            text: "I run the tests."
            tools: [{name: bash, input: {command: "python -m pytest -q"}}]
          - text: "It says {{result:([0-9]+) failed}} failed."

Which step is played is a function of the request alone, so that retries, crashes of the caller and restarts of this
server change nothing: the scenario is that of the last text of the user that matches one, and the step is the number
of answers of the model after it (`[play:name@7]` starts to count at 7). After the last step it says `Done.`

A step, every field optional:

    text, thinking, tools      the answer, in the order thinking, text, tools; or `content` with blocks in any order
    stop                       the stop reason; without it `tool_use` when there are tools, else `end_turn`
    stop_details               as in the API, for `stop: refusal`
    usage                      token counts that replace the computed ones (about four characters a token)
    ttft, delay                seconds before the first byte, and before each token
    gates: [{name, after}]     hold before token number `after` (0: before the first; -1: before the first byte)
    faults: [{kind, times, …}] what goes wrong at the first attempts at this step, see `scenario.Fault`
    repeat: 3, steps: […]      the step, or the steps of a group, several times

In texts and tool inputs `{{result:REGEX}}` stands for the first group (or all) of the last match in the tool results
since the scenario began, `{{user:REGEX}}` for one in what the user said, `{{step}}` for the number of the step.

Control, on the same port: GET /_requests, POST /_gate, POST /_scenarios, POST /_reset (see `control`).
"""

from typing import Final

HELP: Final = """\
Play a scenario over the Messages API, in place of a model.

Prints one line of JSON with its `base_url` when it listens, and runs until Ctrl-C. Point Holdfast to it with
`holdfast up --model-url URL` and HOLDFAST_MODEL_API_KEY=any.

A scenario is a YAML or JSON file: what the user must have said, and the answers of the model, one a step.

    scenarios:
      haiku:
        match: "haiku"    # a regular expression; without it: [play:haiku]
        steps:
          - text: "I write it."
            tools: [{name: write, input: {file_path: poem.txt, content: "..."}}]
          - text: "Done: {{result:(.*)}}"    # from the last tool result

A step may also have thinking, ttft and delay (seconds), usage, repeat, gates and faults (what goes wrong).

For example:

    holdfast scripted-model --scenario haiku.yaml --port 9100

Exit codes: 0 stopped, 1 a scenario cannot be read.
"""
"""The text of `--help`. It stands here, because the command itself is imported only when it runs."""
