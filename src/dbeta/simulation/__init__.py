"""Simulated 12-lead ECGs: rhythm → beats of a heart → leads of a torso, many records at once.

What is here makes noise-free signals from parameters (`render.clean_signals`). Findings, recording devices, reports and
corpora are built on it.
"""
