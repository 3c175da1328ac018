"""The lake in Python: open it, read klines through it, ask its views."""
