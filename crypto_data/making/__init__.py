"""Coarser klines made of finer ones of the lake: the bars, their days, who makes them, and when."""
