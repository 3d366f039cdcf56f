"""Values which steps pass on: told apart from JSON, encoded, stored immutably, kept out of records.

Touches the artifact store (a folder or an fsspec URL) and nothing else (spec 1.4 and spec 7).
"""

from aether_dagster.values.codecs import Encoded, decode, encode
from aether_dagster.values.expressible import is_json
from aether_dagster.values.record import RECORD_LIMIT, fit_node_record
from aether_dagster.values.reference import ValueRef, is_reference
from aether_dagster.values.store import RemovedReport, ValueStore

__all__ = [
    "RECORD_LIMIT",
    "Encoded",
    "RemovedReport",
    "ValueRef",
    "ValueStore",
    "decode",
    "encode",
    "fit_node_record",
    "is_json",
    "is_reference",
]
