"""Headless Chromium for looking at pages: no network, its own profile, gone when it is done."""

import html
import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-extensions", "--hide-scrollbars", "--enable-logging=stderr",
    "--host-resolver-rules=MAP * ~NOTFOUND", "--disable-dev-shm-usage",
)  # fmt: skip

PROBE = """
const doc = document.getElementById('page').contentDocument, root = doc.documentElement;
const shown = (selector, name) => getComputedStyle(doc.querySelector(selector))[name];
const parts = colour => colour.match(/[\\d.]+/g).map(Number);
const light = colour => parts(colour).slice(0, 3).map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const style = e => doc.defaultView.getComputedStyle(e);
const ground = e => !e || (parts(style(e).backgroundColor)[3] ?? 1) ? e : ground(e.parentElement);
const contrast = e => {
  const ink = light(e.namespaceURI.endsWith('svg') ? style(e).fill : style(e).color);
  const behind = ground(e) ? light(style(ground(e)).backgroundColor) : 1;
  return (Math.max(ink, behind) + 0.05) / (Math.min(ink, behind) + 0.05);
};
const texts = [...doc.querySelectorAll('body *')].filter(e =>
  [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) && !['title', 'desc'].includes(e.localName) && !e.closest('.unseen'));
document.body.dataset.found = JSON.stringify({
  scroll: root.scrollWidth, client: root.clientWidth, ground: shown('body', 'backgroundColor'),
  ink: shown('body', 'color'), columns: shown('.figures', 'display'), sheets: doc.styleSheets.length,
  texts: texts.length,
  faint: texts.filter(e => contrast(e) < 4.5).map(e => e.localName + '.' + (e.getAttribute('class') ?? '') + ' ' + contrast(e).toFixed(2)).slice(0, 5),
  wide: [...doc.querySelectorAll('body *')].filter(e => {
    const box = e.getBoundingClientRect();
    return box.right > root.clientWidth + 1 && !e.closest('.wrap, .scroll, .unseen, .skip') && box.width > 0;
  }).map(e => e.tagName + '.' + e.className).slice(0, 5),
});
"""
"""Runs in the frame around the page, never in the page, which allows no script."""


@dataclass(frozen=True)
class Seen:
    """What Chromium made of a page."""

    scroll: int
    client: int
    ground: str
    ink: str
    columns: str
    sheets: int
    texts: int
    faint: list[str]
    """Texts with less contrast to what is painted behind them than 4.5."""
    wide: list[str]
    console: list[str]


@dataclass(frozen=True)
class Browser:
    """One Chromium, started anew for every question."""

    program: str
    home: Path

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        profile = self.home / "profile"
        command = [self.program, *FLAGS, f"--user-data-dir={profile}", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        shutil.rmtree(profile, ignore_errors=True)
        return done

    def look(self, page: bytes, *, width: int, dark: bool = False) -> Seen:
        """Open the page in a frame of this width and measure it."""
        frame = f'<iframe id="page" width="{width}" height="900" style="border:0" srcdoc="{html.escape(page.decode())}"></iframe>'
        script = f"<script>document.getElementById('page').addEventListener('load', () => {{{PROBE}}});</script>"
        around = self.home / "around.html"
        around.write_text(f'<!doctype html><meta charset="utf-8"><body style="margin:0">{frame}{script}', "utf-8")
        done = self.ask(
            *_scheme(dark=dark),
            f"--window-size={max(width, 500)},1000",
            "--virtual-time-budget=4000",
            "--dump-dom",
            around.as_uri(),
        )
        found = json.loads(html.unescape(done.stdout.split('data-found="', 1)[1].split('"', 1)[0]))
        return Seen(**found, console=[line for line in done.stderr.splitlines() if ":CONSOLE" in line])

    def picture(self, page: bytes, path: Path, *, width: int = 1120, height: int = 900, dark: bool = False) -> Path:
        self.ask(*_scheme(dark=dark), f"--window-size={width},{height}", f"--screenshot={path}", self.file(page))
        return path

    def printed(self, page: bytes, path: Path) -> bytes:
        self.ask("--no-pdf-header-footer", "--generate-pdf-document-outline", f"--print-to-pdf={path}", self.file(page))
        return path.read_bytes()

    def file(self, page: bytes) -> str:
        path = self.home / "page.html"
        path.write_bytes(page)
        return path.as_uri()


def _scheme(*, dark: bool) -> tuple[str, ...]:
    return (f"--blink-settings=preferredColorScheme={0 if dark else 1}",)
