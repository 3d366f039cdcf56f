"""Dagster: pipelines become definitions, and Dagster's runs become state (spec 7).

The only ring which imports `dagster`; the product's other rings reach it through none of theirs.
"""
