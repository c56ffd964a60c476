import logging, logging.config, logging.handlers, os, queue
logging.config.dictConfig({
    "version": 1,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s %(process)d %(threadName)s %(message)s"}},
    "handlers": {
        "file": {"class": "logging.handlers.RotatingFileHandler", "filename": "/work/out/run.log", "maxBytes": 2000, "backupCount": 3, "formatter": "plain"},
        "timed": {"class": "logging.handlers.TimedRotatingFileHandler", "filename": "/work/out/timed.log", "when": "D", "formatter": "plain"},
    },
    "root": {"level": "DEBUG", "handlers": ["file", "timed"]},
})
log = logging.getLogger("work")
for number in range(200):
    log.info("line %d", number)
try:
    1 / 0
except ZeroDivisionError:
    log.exception("as expected")
passed = queue.Queue()
target = logging.handlers.MemoryHandler(1000)
listener = logging.handlers.QueueListener(passed, target)
listener.start()
other = logging.getLogger("other")
other.propagate = False
other.addHandler(logging.handlers.QueueHandler(passed))
other.warning("through a queue")
listener.stop()
assert [record.getMessage() for record in target.buffer] == ["through a queue"]
assert sorted(os.listdir("/work/out")) == ["run.log", "run.log.1", "run.log.2", "run.log.3", "timed.log"]
assert "ZeroDivisionError" in open("/work/out/timed.log").read()
print("ok")
