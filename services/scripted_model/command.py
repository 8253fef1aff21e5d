"""`holdfast scripted-model`, and the same as `python -m holdfast.scripted_model`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators


def scripted_model(
    *,
    scenario: Annotated[list[Path] | None, Parameter(negative=())] = None,
    port: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65535))] = 0,
    key: str = "",
    record: Path | None = None,
    bench: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Play a scenario over the Messages API, in place of a model.

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

    Exit codes: 0 stopped, 1 a scenario cannot be read, or the port or the record file cannot be used.

    Parameters
    ----------
    scenario
        Scenario file or folder; can be given several times.
    port
        Port on 127.0.0.1. Default: a free one.
    key
        The only API key that is accepted. Default: any key.
    record
        Append every request with its times to this file, one JSON object a line.
    bench
        Check nothing and keep no bodies.
    """
    from holdfast.scripted_model import listen  # noqa: PLC0415  not for a help text: the import takes long

    try:
        listen.run(scenario or [], port=port, key=key, record=record, bench=bench)
    except listen.CannotListen as exc:
        raise SystemExit(f"holdfast scripted-model: {exc}") from None
