"""The scripted model: an HTTP server that speaks the streaming Messages API and plays scenarios. See README.md."""
