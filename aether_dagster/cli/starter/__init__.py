"""The files which `aetherscript init` writes, as they are written."""
