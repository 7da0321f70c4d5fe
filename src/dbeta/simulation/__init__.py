"""Simulated 12-lead ECGs: rhythm → beats of a heart → leads of a torso, many records at once.

This package turns parameters into noise-free signals (`render.render`), and adds findings, recording devices and
reports.
"""
