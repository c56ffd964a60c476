import sqlite3
db = sqlite3.connect("/work/data.db")
db.execute("PRAGMA journal_mode=WAL")
db.execute("create table t (a integer primary key, b text)")
with db:
    db.executemany("insert into t (b) values (?)", [(f"row {i}",) for i in range(1000)])
assert db.execute("select count(*) from t").fetchone() == (1000,)
db.close()
print("ok")
