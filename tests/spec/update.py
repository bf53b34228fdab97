"""``python -m tests.spec.update``: write the statuses that follow from what is routed, and ``docs/support.md``.

Where the specification's data is not at hand, the operations are those the table has.
"""

from __future__ import annotations

import sys

from tests.spec.routed import compare, find_asked, load_routes, refresh
from tests.spec.source import find_spec_dir, load_operations
from tests.spec.table import SUPPORT, TABLE, Table, load_table, render_support, render_table


def main() -> None:
    table = load_table() if TABLE.exists() else Table((), ())
    spec_dir = find_spec_dir()
    operations = load_operations(spec_dir) if spec_dir is not None else [row.operation for row in table.rows]
    verdict = compare(operations, load_routes())
    refreshed = refresh(table, operations, verdict.routed | find_asked(operations), verdict.beyond)
    TABLE.write_text(render_table(refreshed))
    SUPPORT.write_text(render_support(refreshed))
    counted = [
        f"{sum(row.status == status for row in refreshed.rows)} {status}" for status in ("yes", "missing", "refused")
    ]
    sys.stdout.write(f"{', '.join(counted)}, {len(refreshed.extensions)} beyond the specification\n")
    sys.stdout.writelines(f"misplaced: {complaint}\n" for complaint in verdict.misplaced)
    sys.stdout.writelines(f"needs a reason: {it.method} {it.path}\n" for it in refreshed.extensions if not it.reason)


if __name__ == "__main__":
    main()
