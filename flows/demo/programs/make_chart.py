"""Writes two artefacts: the figures, and a picture of them."""

import json
import math
import pathlib

out = pathlib.Path("out")
out.mkdir(exist_ok=True)
values = [round(50 + 40 * math.sin(day / 2), 1) for day in range(24)]
(out / "figures.json").write_text(json.dumps({"values": values}))
bars = "".join(f'<rect x="{10 * i}" y="{100 - v}" width="8" height="{v}" fill="#1d4f91"/>' for i, v in enumerate(values))
(out / "chart.svg").write_text(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 240 100">{bars}</svg>')
print("wrote", *sorted(path.name for path in out.iterdir()))
