"""Grafting: optimizer state from a donor into a target. First a plan, which is pure data, then the act.

Named so that `ckptdoctor.graft` is the function and nothing else.
"""
