"""Examinations in, text out: for people, for programs, for pages."""
