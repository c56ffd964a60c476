import csv, json, statistics, collections, decimal, fractions, itertools, random, re, io, xml.etree.ElementTree as ET
rows = [{"name": f"n{i}", "value": str(i)} for i in range(100)]
buffer = io.StringIO()
writer = csv.DictWriter(buffer, ["name", "value"]); writer.writeheader(); writer.writerows(rows)
buffer.seek(0)
assert statistics.mean(float(r["value"]) for r in csv.DictReader(buffer)) == 49.5
assert json.loads(json.dumps(rows)) == rows
assert decimal.Decimal("0.1") + decimal.Decimal("0.2") == decimal.Decimal("0.3")
assert ET.fromstring("<a><b>1</b></a>").find("b").text == "1"
print("ok")
