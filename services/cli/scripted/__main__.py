"""`python -m holdfast.cli.scripted`: the same as `holdfast scripted-model`."""

from cyclopts import App

from holdfast.cli.scripted.command import scripted_model

app = App(name="scripted-model", default_command=scripted_model)

if __name__ == "__main__":
    app()
