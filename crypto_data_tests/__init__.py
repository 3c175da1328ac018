"""Tests of crypto-data."""
