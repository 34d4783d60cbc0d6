"""The process that starts Spark's Python workers on this machine: `spark.python.daemon.module`."""

import re
import sys

if __name__ == "__main__":
    # Spark puts zips of PySpark and Py4J in front of the installed packages, which are the same. Python compiles what
    # it imports from a zip at every start: nearly a second.
    sys.path = [place for place in sys.path if not re.search(r"/python/lib/(pyspark|py4j-[^/]*)\.zip$", place)]
    from pyspark.daemon import manager

    manager()  # type: ignore[no-untyped-call]
