"""All tests: hypothesis draws the same examples each time; `make fuzz` is where new ones are looked for."""

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")
