"""`holdfast up`: run the whole system on this machine until Ctrl-C."""

import os
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter, validators


def up(
    *,
    data: Path | None = None,
    port: Annotated[int | None, Parameter(validator=validators.Number(gte=0, lte=65535))] = None,
    harnesses: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=64), show_default=True)] = 2,
    sync: Annotated[str, Parameter(show_default=True)] = "always",
    model_url: str = "",
    sandbox: Literal["bubblewrap", "docker", "auto"] | None = None,
    scripted: Annotated[bool, Parameter(negative="")] = False,
    detach: Annotated[bool, Parameter(name=["--detach", "-d"], negative=())] = False,
) -> int:
    """Start the whole system on this machine and keep it running until Ctrl-C.

    Prints the two lines with which programs find it. A process that dies is started again. When the system is started
    again on the same data folder, every session continues. HOLDFAST_MODEL_API_KEY is the key of the model, and
    HOLDFAST_MODEL_BASE_URL its address when it is not the vendor's; or ANTHROPIC_API_KEY and ANTHROPIC_BASE_URL.
    HOLDFAST_MODEL is its client: anthropic (the SDK, the default), messages (any server of the Messages API, without
    the SDK: starts faster, needs less memory), bedrock, vertex or foundry. For example:

        holdfast up --scripted

        HOLDFAST_MODEL_API_KEY=sk-ant-... holdfast up --data ~/agents --port 9000

        holdfast up --model-url http://127.0.0.1:11434

        holdfast up --detach && holdfast logs --follow

    Exit codes: 0 stopped as asked (with --detach: it is ready, or ran already), 1 could not start or go on.

    Parameters
    ----------
    data
        Folder of all state and logs; made when missing. Default: HOLDFAST_DATA, else .holdfast here.
    port
        Port of the HTTP API on 127.0.0.1; 0 chooses a free one. Default: the port of the last start, else 8700.
    harnesses
        How many harness processes drive sessions.
    sync
        When an append is written to disk: "always" (before it is acknowledged, so it survives a power loss), or an
        interval such as "1s" (an append takes 0.3 ms less, but a power loss may lose the last second). A crash of a
        process loses nothing either way.
    model_url
        Address of a model that speaks the Messages API; its key, if it wants one, is HOLDFAST_MODEL_API_KEY.
    sandbox
        Isolation: bubblewrap, docker (an engine and the image of deploy/sandbox), or auto. Default: bubblewrap.
    scripted
        Play a scripted model instead of calling one: no key, no cost, a few simple tasks.
    detach
        Return when the stack is ready and keep it running in the background; holdfast down stops it.
    """
    from holdfast.cli.embedded import detach as background  # noqa: PLC0415  not for a help text: it takes long
    from holdfast.cli.embedded import up as running  # noqa: PLC0415  the same
    from holdfast.cli.embedded.layout import data_folder  # noqa: PLC0415  the same

    os.environ |= {"HOLDFAST_DRIVER": sandbox} if sandbox else {}  # the services inherit it
    if detach and not background.in_background():
        wish = background.UpRequest(port=port, model_url=model_url, scripted=scripted)
        return background.start(data_folder(data).absolute(), wish)
    return running.run(data, port=port, harnesses=harnesses, sync=sync, model_url=model_url, scripted=scripted)
