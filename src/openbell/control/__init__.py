"""Changing a running feed: a socket in every receiver, and those who talk to it."""

from openbell.control.client import FeedControl
from openbell.control.protocol import Change, Fate

__all__ = ["Change", "Fate", "FeedControl"]
