"""Recipes of the models that ship with the toolkit; not part of the package."""
