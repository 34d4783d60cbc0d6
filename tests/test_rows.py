"""The image row: one list of columns for Arrow, Spark, shards and the store."""

import pyarrow as pa

from fruits.images import rows


def test_the_files_of_earlier_versions_have_these_columns() -> None:
    """Shards, stored features and scores are read back by later versions: a change here needs a conversion there."""
    assert rows.spark_schema(rows.STORED) == (
        "path string, label string, split string, length bigint, modified bigint, digest string, etag string, "
        "features array<float>"
    )
    assert rows.arrow_schema(rows.PACKED).types == [pa.string()] * 3 + [pa.int64()] * 2 + [pa.string(), pa.binary()]
    assert rows.PACKED == ("path", "label", "split", "length", "modified", "digest", "content")
    assert rows.ErrorRow._fields == ("path", "stage", "reason")
    assert rows.IgnoredRow._fields == ("path", "kind", "reason")
