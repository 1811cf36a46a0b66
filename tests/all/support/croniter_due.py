"""What croniter, an independent reading of crontab, says is due: a JSON document on stdin, one on stdout.

In:  {"from": "2015-01-01", "until": "2025-01-01", "cases": [[expression, zone], ...], "civil": [expression, ...]}
Out: {"cases": [[seconds since 1970, ...], ...], "civil": [["YYYY-MM-DD HH:MM", ...], ...]}
"""
import json
import sys
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

from croniter import croniter


def due(expression, start, end):
    # Vixie cron's rule for fields that begin with a star.
    matcher = croniter(expression, start, implement_cron_bug=True)
    while True:
        found = matcher.get_next(datetime)
        if found >= end:
            return
        yield found


order = json.load(sys.stdin)
first, last = (datetime.fromisoformat(order[key]) for key in ("from", "until"))
cases = []
for expression, zone in order["cases"]:
    zone = ZoneInfo(zone)
    start, end = first.replace(tzinfo=zone), last.replace(tzinfo=zone)
    cases.append([int(found.astimezone(timezone.utc).timestamp()) for found in due(expression, start, end)])
civil = []
for expression in order["civil"]:
    start, end = first.replace(tzinfo=timezone.utc), last.replace(tzinfo=timezone.utc)
    civil.append([found.strftime("%Y-%m-%d %H:%M") for found in due(expression, start, end)])
json.dump({"cases": cases, "civil": civil}, sys.stdout)
