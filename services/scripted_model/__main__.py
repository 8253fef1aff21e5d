"""`python -m holdfast.scripted_model`: the same as `holdfast scripted-model`."""

from cyclopts import App

from holdfast.scripted_model.command import scripted_model

app = App(name="scripted-model", default_command=scripted_model)

if __name__ == "__main__":
    app()
