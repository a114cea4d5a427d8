"""Field trials: what a study's visits and its reference standard say about the instrument.

``references`` reads the reference standard, ``source`` the visits, ``cohort`` decides who counts and why not,
``analysis`` computes every figure from ``statistics``; ``page``, ``figures`` and ``tables`` show them.
Needs the extra ``trial`` from ``analysis`` on; reading references does not.
"""
