"""Benchmarks: the figures this project promises, each beside a yardstick of the same run."""
