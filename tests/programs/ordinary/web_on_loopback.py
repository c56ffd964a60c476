import http.client, http.server, json, threading, urllib.error, urllib.parse, urllib.request
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self, code, value):
        body = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        parts = urllib.parse.urlsplit(self.path)
        self.answer(200 if parts.path == "/" else 404, urllib.parse.parse_qs(parts.query))
    def do_POST(self):
        self.answer(200, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
    def log_message(self, *args):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_address[1]}"
with urllib.request.urlopen(f"{url}/?a=1&a=2", timeout=20) as answer:
    assert json.load(answer) == {"a": ["1", "2"]}
request = urllib.request.Request(url, json.dumps([1]).encode(), {"Content-Type": "application/json"}, method="POST")
assert json.load(urllib.request.urlopen(request, timeout=20)) == [1]
try:
    urllib.request.urlopen(f"{url}/nowhere", timeout=20)
    raise SystemExit("found")
except urllib.error.HTTPError as error:
    assert error.code == 404
    error.close()
kept = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=20)
for number in range(5):
    kept.request("GET", f"/?n={number}")
    assert json.load(kept.getresponse()) == {"n": [str(number)]}
kept.close()
server.shutdown()
server.server_close()
print("ok")
