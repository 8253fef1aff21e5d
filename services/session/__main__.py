"""`python -m holdfast.session`."""

from holdfast.process.lifecycle import launch
from holdfast.session.main import main
from holdfast.session.settings import SessionSettings

launch("session", SessionSettings, main)
