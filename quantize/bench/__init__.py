"""Benchmarks: candidates in processes of their own, measured in alternation in one run, compared as ratios."""
