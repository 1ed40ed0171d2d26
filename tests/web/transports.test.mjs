/** The links, against a real HTTP server where there is one to be had, and a socket of our own making where not. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { test } from "node:test";

import { firstThatWorks } from "../../web/client/fallback.js";
import { sse } from "../../web/client/sse.js";
import { websocket } from "../../web/client/websocket.js";

/** Ears that remember, and can be waited for. */
function listener() {
  const heard = [];
  let wake = () => {};
  const note = (entry) => {
    heard.push(entry);
    wake();
  };
  const ears = { message: (text) => note(text), closed: (code, reason) => note({ code, reason }) };
  const until = async (count) => {
    while (heard.length < count) await new Promise((resolve) => (wake = resolve));
    return heard;
  };
  return { heard, ears, until };
}

// WebSocket -------------------------------------------------------------------------------------------------------

class Socket {
  sent = [];
  closed = false;
  constructor(url) {
    this.url = url;
  }
  send(message) {
    this.sent.push(message);
  }
  close() {
    this.closed = true;
  }
}

function openSocket(base) {
  const { heard, ears } = listener();
  let socket;
  const link = websocket((url) => (socket = new Socket(url)))(base, "first", ears);
  return { heard, link, socket };
}

test("a WebSocket says the first message once it is open, then what comes", () => {
  const { heard, link, socket } = openSocket("https://push.example");
  assert.equal(socket.url, "wss://push.example/connection/websocket");
  assert.deepEqual(socket.sent, []);
  socket.onopen();
  link.send("second", null);
  assert.deepEqual(socket.sent, ["first", "second"]);
  socket.onmessage({ data: "{}" });
  socket.onclose({ code: 3001, reason: "shutdown" });
  socket.onclose({ code: 3001, reason: "shutdown" });
  assert.deepEqual(heard, ["{}", { code: 3001, reason: "shutdown" }]);
});

test("a WebSocket that was let go is not heard of again", () => {
  const { heard, link, socket } = openSocket("http://localhost:8000");
  assert.equal(socket.url, "ws://localhost:8000/connection/websocket");
  link.close();
  socket.onmessage({ data: "{}" });
  socket.onclose({ code: 1000, reason: "" });
  assert.ok(socket.closed);
  assert.deepEqual(heard, []);
});

test("a close without a code is a broken link", () => {
  const { heard, socket } = openSocket("http://localhost:8000");
  socket.onclose({ code: 0, reason: "" });
  assert.deepEqual(heard, [{ code: 1006, reason: "" }]);
});

// SSE -------------------------------------------------------------------------------------------------------------

/** A server that notes requests and answers as `answer` says. */
async function serving(answer, run) {
  const requests = [];
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    requests.push({ path: request.url, method: request.method, body });
    answer(request, response, requests.length);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    await run(`http://127.0.0.1:${server.address().port}`, requests);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

const stream = (response, text) => response.writeHead(200, { "Content-Type": "text/event-stream" }).write(text);

test("SSE: the first message opens the stream, the others are posted in order, one at a time", { timeout: 30_000 }, async () => {
  let inFlight = 0;
  let most = 0;
  const answer = (request, response) => {
    if (request.url === "/connection/sse") return stream(response, '\r\ndata: {"id":1}\n\ndata: {}\n\n');
    most = Math.max(most, (inFlight += 1));
    setTimeout(() => {
      inFlight -= 1;
      response.writeHead(204).end();
    }, 5);
  };
  await serving(answer, async (base, requests) => {
    const { heard, ears, until } = listener();
    const link = sse()(base, "first", ears);
    await until(2);
    for (const message of ["a", "b", "c"]) link.send(message, { session: "s", node: "n" });
    while (requests.length < 3) await new Promise((resolve) => setTimeout(resolve, 2));
    link.close();
    assert.deepEqual(heard, ['{"id":1}', "{}"]);
    assert.deepEqual(requests.map(({ path, method, body }) => [path, method, body]), [
      ["/connection/sse", "POST", "first"],
      ["/emulation", "POST", '{"session":"s","node":"n","data":"a"}'],
      ["/emulation", "POST", '{"session":"s","node":"n","data":"b\\nc"}'],
    ]);
    assert.equal(most, 1);
  });
});

const ENDINGS = {
  "the stream ends": [(_, response) => response.writeHead(200).end(), "end of stream"],
  "the stream breaks": [(_, response) => response.destroy(), "broken"],
  "the stream is refused": [(_, response) => response.writeHead(503).end(), "HTTP 503"],
};
for (const [name, [answer, reason]] of Object.entries(ENDINGS)) {
  test(`SSE: ${name}`, { timeout: 30_000 }, () =>
    serving(answer, async (base) => {
      const { ears, until } = listener();
      sse()(base, "first", ears);
      assert.deepEqual(await until(1), [{ code: 1006, reason }]);
    }));
}

const LOST_POSTS = {
  "is refused": [(response) => response.writeHead(404).end(), "HTTP 404"],
  breaks: [(response) => response.destroy(), "broken"],
};
for (const [name, [fail, reason]] of Object.entries(LOST_POSTS)) {
  test(`SSE: a message that ${name} ends the link, once`, { timeout: 30_000 }, () =>
    serving((request, response) => (request.url === "/emulation" ? fail(response) : stream(response, "data: {}\n\n")), async (base) => {
      const { ears, until } = listener();
      const link = sse()(base, "first", ears);
      await until(1);
      link.send("a", { session: "s", node: "n" });
      assert.deepEqual(await until(2), ["{}", { code: 1006, reason }]);
    }));
}

test("SSE: a link that was let go is not heard of again, whatever was on its way", { timeout: 30_000 }, () =>
  serving((_, response) => stream(response, "data: 1\n\ndata: 2\n\n"), async (base) => {
    const heard = [];
    await new Promise((resolve) => {
      const link = sse()(base, "first", {
        message: (text) => {
          heard.push(text);
          link.close();
          setTimeout(resolve, 20);
        },
        closed: () => heard.push("closed"),
      });
    });
    assert.deepEqual(heard, ["1"]);
  }));

// One after the other ---------------------------------------------------------------------------------------------

test("the next transport has its turn when one breaks before it said a word", () => {
  const tried = [];
  const links = [];
  const transport = (name) => (base, first, ears) => {
    tried.push([name, base, first]);
    links.push(ears);
    return { send: () => {}, close: () => {} };
  };
  const { heard, ears } = listener();
  const either = firstThatWorks(transport("one"), transport("two"));
  either("b", "1", ears);
  links[0].message("hello");
  links[0].closed(1006, "");
  either("b", "2", ears);
  links[1].closed(1006, "");
  either("b", "3", ears);
  assert.deepEqual(tried.map(([name]) => name), ["one", "one", "two"]);
  assert.deepEqual(heard, ["hello", { code: 1006, reason: "" }, { code: 1006, reason: "" }]);
  assert.throws(() => firstThatWorks()("b", "1", ears), /no transports/);
});
