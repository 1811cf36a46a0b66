"""What croniter, an independent reading of crontab, says is due: a JSON document on stdin, one on stdout.

In:  {"from": "2015-01-01", "until": "2025-01-01", "cases": [[expression, zone], ...], "civil": [expression, ...]}
Out: {"cases": [[seconds since 1970, ...], ...], "civil": [["YYYY-MM-DD HH:MM", ...], ...]}
"""
import json
import sys
from datetime import datetime, timezone
from functools import cache
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


@cache
def civil_times(expression):
    """A rhythm of many times a day takes croniter too long in every zone; the zones are Python's own."""
    return [found.replace(tzinfo=None) for found in due(expression, utc(first), utc(last))]


def utc(civil):
    return civil.replace(tzinfo=timezone.utc)


def instants(expression, zone):
    if expression.startswith("*/"):
        found = (civil.replace(tzinfo=zone) for civil in civil_times(expression))
    else:
        found = due(expression, first.replace(tzinfo=zone), last.replace(tzinfo=zone))
    return [int(at.timestamp()) for at in found]


order = json.load(sys.stdin)
first, last = (datetime.fromisoformat(order[key]) for key in ("from", "until"))
cases = [instants(expression, ZoneInfo(zone)) for expression, zone in order["cases"]]
civil = [[found.strftime("%Y-%m-%d %H:%M") for found in civil_times(expression)] for expression in order["civil"]]
json.dump({"cases": cases, "civil": civil}, sys.stdout)
