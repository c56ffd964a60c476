import sqlite3, threading
place = "/work/out/shop.db"
def connect():
    db = sqlite3.connect(place, timeout=20)
    db.execute("pragma journal_mode=wal")
    db.execute("pragma synchronous=normal")
    return db
db = connect()
db.execute("create table sale (id integer primary key, item text, amount real)")
def sell(item):
    mine = connect()
    for number in range(40):
        with mine:
            mine.execute("insert into sale (item, amount) values (?, ?)", (item, number))
    mine.close()
sellers = [threading.Thread(target=sell, args=(item,)) for item in ("tea", "bread")]
for seller in sellers:
    seller.start()
for seller in sellers:
    seller.join()
assert db.execute("select item, count(*), sum(amount) from sale group by item order by item").fetchall() == [("bread", 40, 780.0), ("tea", 40, 780.0)]
db.create_function("twice", 1, lambda x: x * 2)
assert db.execute("select twice(max(amount)) from sale").fetchone() == (78.0,)
copy = sqlite3.connect(":memory:")
db.backup(copy)
assert len(list(copy.iterdump())) > 80
db.execute("pragma wal_checkpoint(truncate)")
db.close()
print("ok")
