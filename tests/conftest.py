"""All tests: hypothesis draws the same examples each time, however slow the machine; `make fuzz` looks for new ones."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "repeatable", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("repeatable")
