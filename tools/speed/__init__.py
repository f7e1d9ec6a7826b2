"""Measurements of this project's speed against named rivals, in one run each."""
