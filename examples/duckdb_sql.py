"""SQL over the live snapshot of a running feed.

    pip install "openbell[duckdb]"
    python examples/duckdb_sql.py cn
    python examples/duckdb_sql.py cn "SELECT symbol, last FROM market ORDER BY turnover DESC NULLS LAST LIMIT 5"

The table ``market`` has one row a symbol, with all columns and the derived ones: what is not there is NULL, times are
TIMESTAMP WITH TIME ZONE. DuckDB reads the copy where it lies.
"""

from __future__ import annotations

import argparse
import sys

import openbell
from openbell.market import DERIVED

QUERY = """
SELECT left(symbol, 2) AS prefix, count(*) AS symbols, count(last) AS traded,
       round(sum(turnover)) AS turnover, round(avg(spread_bps), 1) AS spread_bps, max(receive_ns) AS newest
FROM market GROUP BY prefix ORDER BY turnover DESC
"""


def main() -> int:
    """Take a snapshot, and ask it."""
    parser = argparse.ArgumentParser(description="SQL over the live snapshot of a running feed.")
    parser.add_argument("feed")
    parser.add_argument("query", nargs="?", default=QUERY, help="SQL over the table `market`")
    options = parser.parse_args()
    try:
        import duckdb
    except ImportError:
        print('duckdb_sql: this needs DuckDB: pip install "openbell[duckdb]"', file=sys.stderr)
        return 2
    try:
        with openbell.attach(options.feed) as market:
            snapshot = market.snapshot()
            table = snapshot.to_arrow(columns=(*snapshot, *DERIVED))
    except openbell.OpenBellError as error:
        print(f"duckdb_sql: {error}", file=sys.stderr)
        return 1
    database = duckdb.connect()
    database.execute("SET TimeZone = 'UTC'")
    database.register("market", table)
    try:
        print(database.sql(options.query))
    except duckdb.Error as error:
        print(f"duckdb_sql: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
