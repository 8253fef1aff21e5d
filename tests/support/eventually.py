"""`eventually` of `holdfast.testing`, under the name that the tests import."""

from holdfast.testing.eventually import eventually

__all__ = ["eventually"]
