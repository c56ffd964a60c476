import csv, decimal, fractions, heapq, math, random, statistics
random.seed(5)
with open("/work/out/sales.csv", "w", newline="") as file:
    writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(["day", "place", "amount"])
    writer.writerows((day, random.choice(["Köln", 'say "x"', "a,b"]), f"{random.gauss(100, 15):.2f}") for day in range(2000))
with open("/work/out/sales.csv", newline="") as file:
    rows = list(csv.DictReader(file))
assert len(rows) == 2000 and {row["place"] for row in rows} == {"Köln", 'say "x"', "a,b"}
with decimal.localcontext(prec=50, rounding=decimal.ROUND_HALF_EVEN) if hasattr(decimal, "IEEEContext") else decimal.localcontext(decimal.Context(50)):
    total = sum(decimal.Decimal(row["amount"]) for row in rows)
    assert total == total.quantize(decimal.Decimal("0.01"))
    assert str(decimal.Decimal(2).sqrt())[:12] == "1.4142135623"
amounts = [float(row["amount"]) for row in rows]
assert math.isclose(math.fsum(amounts), float(total), rel_tol=1e-12)
assert 95 < statistics.median(amounts) < 105 and len(statistics.quantiles(amounts, n=10)) == 9
slope, offset = statistics.linear_regression(range(2000), [3 * x + 1 for x in range(2000)])
assert math.isclose(slope, 3) and math.isclose(offset, 1)
assert statistics.NormalDist.from_samples(amounts).overlap(statistics.NormalDist(100, 15)) > 0.9
assert sum(fractions.Fraction(1, n) for n in range(1, 11)) == fractions.Fraction(7381, 2520)
assert heapq.nlargest(3, amounts) == sorted(amounts)[:-4:-1]
print("ok")
