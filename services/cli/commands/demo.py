"""`holdfast demo`: run the whole system on a task, and kill a harness in the middle of it."""

from pathlib import Path


def demo(*, data: Path | None = None, model: str | None = None) -> int:
    """Watch an agent repair a small program while the process that drives it is killed.

    Starts the whole system on this machine. With HOLDFAST_MODEL_API_KEY (and HOLDFAST_MODEL_BASE_URL), or else with
    ANTHROPIC_API_KEY (and ANTHROPIC_BASE_URL), a real model does the work; without a key a scripted one, at no cost.

    For example:

        holdfast demo

        HOLDFAST_MODEL_API_KEY=sk-ant-... holdfast demo

    Exit codes: 0 passed, 1 anything was lost, done twice or left undone, or it could not start, 130 interrupted.

    Parameters
    ----------
    data
        Folder for the state of the demo; it is kept. Default: a temporary one, removed when the demo has passed.
    model
        The model to use, when it is a real one.
    """
    from holdfast.cli.demo import demonstration  # noqa: PLC0415  not for a help text: the import takes long

    return demonstration.run(data, model)
