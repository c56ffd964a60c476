import codecs, datetime, difflib, gettext, locale, re, string, textwrap, unicodedata
locale.setlocale(locale.LC_ALL, "")
assert locale.getpreferredencoding(False).upper().replace("-", "") == "UTF8"
locale.setlocale(locale.LC_NUMERIC, "C")
assert locale.localeconv()["decimal_point"] == "." and locale.format_string("%.2f", 1.5) == "1.50"
try:
    locale.setlocale(locale.LC_TIME, "de_DE.UTF-8")
except locale.Error:
    pass
assert datetime.date(2026, 7, 1).strftime("%Y-%m-%d") == "2026-07-01"
assert sorted(["b", "a", "C"], key=locale.strxfrm)
assert unicodedata.normalize("NFC", "e\u0301") == "é" and unicodedata.name("€") == "EURO SIGN"
assert gettext.translation("nothing", fallback=True).gettext("x") == "x"
assert "naïve café".encode("latin-1").decode("latin-1") == codecs.decode(b"na\xefve caf\xe9", "cp1252")
assert "日本".encode("shift_jis").decode("shift_jis") == "日本" == "日本".encode("gb18030").decode("gb18030")
assert textwrap.shorten("many words in a line", 12) == "many [...]"
assert string.Template("$a").substitute(a=1) == "1"
assert list(difflib.unified_diff(["a"], ["b"], lineterm=""))[-1] == "+b"
assert re.sub(r"(?P<w>\w+)", lambda m: m["w"].title(), "größe ändern") == "Größe Ändern"
print("ok")
