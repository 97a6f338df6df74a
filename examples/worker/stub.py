"""A stub of an OpenAI-compatible endpoint on loopback: embeddings made of the hash of model and text, a count of how
often each was asked for, and chat answers, streamed, that repeat the end of the prompt."""

import hashlib
import json
import random
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DIMENSIONS = 16
KEY = "secret"
POISON = "this text always fails"
CHAT_MODEL = "stub-chat"
BROKEN = "this answer breaks off"


def vector(model: str, text: str) -> list[float]:
    return [byte / 256 - 0.5 for byte in hashlib.sha256(f"{model} {text}".encode()).digest()[:DIMENSIONS]]


class Stub(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, overload: float) -> None:
        """`overload`: the share of requests that are answered with 503, without computing anything."""
        super().__init__(("127.0.0.1", 0), Handler)
        self.overload, self.chance, self.lock = overload, random.Random(1), threading.Lock()
        self.count: Counter[tuple[str, str]] = Counter()
        threading.Thread(target=self.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server_port}/v1"

    def answer(self, path: str, key: str, asked: dict) -> tuple[int, dict]:
        model, texts = asked["model"], asked["input"]
        if path != "/v1/embeddings" or key != f"Bearer {KEY}":
            return 401, {"error": "wrong key or path"}
        if POISON in texts:
            return 400, {"error": "refused"}
        with self.lock:
            if self.chance.random() < self.overload:
                return 503, {"error": "overloaded"}
            self.count.update((model, text) for text in texts)
        data = [{"index": i, "embedding": vector(model, text)} for i, text in enumerate(texts)]
        return 200, {"data": data[::-1]}


class Handler(BaseHTTPRequestHandler):
    server: Stub

    def do_GET(self) -> None:
        known = self.path == "/v1/models" and self.headers["Authorization"] == f"Bearer {KEY}"
        self.reply(*((200, {"data": [{"id": CHAT_MODEL}]}) if known else (401, {"error": "wrong key or path"})))

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/v1/chat/completions" and self.headers["Authorization"] == f"Bearer {KEY}":
            return self.chat(asked["model"], asked["messages"][-1]["content"])
        self.reply(*self.server.answer(self.path, self.headers["Authorization"], asked))

    def chat(self, model: str, prompt: str) -> None:
        """Server-sent events, a word each."""
        if POISON in prompt:
            return self.reply(400, {"error": "refused"})
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        words = f"By {model} [1]: {prompt.splitlines()[-1]}".split(" ")
        for place, word in enumerate(words):
            if BROKEN in prompt and place > 2:
                return  # without the end of the answer
            self.event({"choices": [{"delta": {"content": word + " "}, "finish_reason": None}]})
        self.event({"choices": [{"delta": {}, "finish_reason": "stop"}]})
        self.wfile.write(b"data: [DONE]\n\n")

    def event(self, data: dict) -> None:
        self.wfile.write(b"data: " + json.dumps(data).encode() + b"\n\n")
        self.wfile.flush()

    def reply(self, status: int, answer: dict) -> None:
        body = json.dumps(answer).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            pass  # the worker was killed meanwhile

    def log_message(self, *_: object) -> None:
        pass
