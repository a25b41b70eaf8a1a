"""Build the native kernel, for the stable interface of all Pythons from 3.11 on."""

from __future__ import annotations

import sysconfig

from setuptools import Extension, setup

# Pythons without the interpreter's lock have no stable interface yet.
IS_STABLE = not sysconfig.get_config_var("Py_GIL_DISABLED")

setup(
    ext_modules=[
        Extension(
            "ares_notebook.binance.kernel",
            ["ares_notebook/binance/kernel.c"],
            define_macros=[("Py_LIMITED_API", "0x030B0000")] if IS_STABLE else [],
            py_limited_api=IS_STABLE,
            # Without a compiler PyArrow parses all blocks, slower, to the same bytes.
            optional=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if IS_STABLE else {},
)
