from datetime import datetime
from zoneinfo import ZoneInfo
moment = datetime(2026, 7, 1, 12, tzinfo=ZoneInfo("Europe/Berlin"))
assert moment.utcoffset().total_seconds() == 7200
assert moment.astimezone(ZoneInfo("America/New_York")).hour == 6
print("ok")
