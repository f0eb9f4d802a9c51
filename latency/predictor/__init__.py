"""Latencies that were never measured: regressions of measured / roofline over operators, and over blocks of them."""
