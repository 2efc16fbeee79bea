"""Objective measures of decoded speech."""
