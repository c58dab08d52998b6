"""Other people's evolution strategies, timed in a process of their own next to galab; ``make bench-peers`` first.

The package's modules are run by two interpreters: ``client`` by galab's, all others but ``problem``,
``libraries`` and ``clock`` by that of
``.venv-peers``, which has JAX and the libraries but not galab.
"""
