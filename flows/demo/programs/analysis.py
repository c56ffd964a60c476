"""Ordinary work: totals by month and region from a file, shown as a table."""

import csv
from collections import defaultdict

from dateutil.parser import isoparse
from tabulate import tabulate

totals = defaultdict(float)
with open("sales.csv", encoding="utf-8") as file:
    for row in csv.DictReader(file):
        totals[isoparse(row["date"]).strftime("%Y-%m"), row["region"]] += float(row["amount"])

print(tabulate([(month, region, f"{amount:.2f}") for (month, region), amount in sorted(totals.items())], headers=["month", "region", "amount"]))
