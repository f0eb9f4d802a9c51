"""The parts of `benchmarks/width.py`: what was asked for, what each arm is cut by, and the table."""
