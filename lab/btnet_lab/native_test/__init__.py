"""Faces that are small when taken: photographed scenes, the selector that is fitted on them, the test."""
