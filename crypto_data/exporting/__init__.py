"""Klines of the lake in the files and frames that other programs read; asks no exchange."""
