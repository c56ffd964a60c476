import dataclasses, enum, logging, pickle, typing, inspect, traceback
logging.basicConfig(level=logging.INFO)
logging.info("a line")
@dataclasses.dataclass
class Point:
    x: int
    y: int = 2
assert pickle.loads(pickle.dumps(Point(1))) == Point(1, 2)
assert inspect.getsource(Point).startswith("@dataclasses")
assert typing.get_type_hints(Point) == {"x": int, "y": int}
print("ok")
