"""Tests, in folders like the packages."""
