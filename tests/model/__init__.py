"""Exhaustive check of the protocols of ``docs/memory-model.md`` on a model of weakly ordered processors."""
