"""`python -m services.session`."""

from services.process.lifecycle import launch
from services.session.main import main
from services.session.settings import SessionSettings

launch("session", SessionSettings, main)
