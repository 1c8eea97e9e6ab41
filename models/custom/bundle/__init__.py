"""MONAI bundle folders whose inference.json follows the standard pattern, read by an interpreter of our own.

Nothing of a bundle is imported or evaluated: a class is looked up in a list, an argument is a literal or a reference,
and of `$` expressions only those of `config.Config.value` are understood.
"""
