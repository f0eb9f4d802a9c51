"""The settings of a run: one record for each group of settings, each setting declared once.

The command line, `args.yaml`, recipes and Python all read these records: the flags with their help come from them
(`depthfinder/cli/flags.py`), and values are checked in the same way wherever they come from.
"""
