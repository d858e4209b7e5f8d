'use strict';
// Sessions in memory, a WebSocket echo, server-sent events and uploads: what
// stateful applications do, without a package from anywhere.
const http = require('http');
const crypto = require('crypto');

const sessions = new Map();

function sessionOf(req, res) {
  const match = /(?:^|;\s*)sid=([0-9a-f]{32})/.exec(req.headers.cookie || '');
  let id = match && match[1];
  if (!id || !sessions.has(id)) {
    id = crypto.randomBytes(16).toString('hex');
    sessions.set(id, { views: 0 });
    res.setHeader('Set-Cookie', `sid=${id}; Path=/; HttpOnly`);
  }
  return sessions.get(id);
}

function visit(req, res) {
  const session = sessionOf(req, res);
  session.views++;
  res.setHeader('Content-Type', 'application/json');
  res.end(JSON.stringify({
    views: session.views,
    server: process.env.PORTICO_MEMBER,
    release: process.env.PORTICO_RELEASE,
    lost: req.headers['portico-session-lost'] || '',
    client: req.headers['x-forwarded-for'] || '',
    pid: process.pid,
    setting: process.env.SETTING || '',
  }));
}

function logout(req, res) {
  const match = /(?:^|;\s*)sid=([0-9a-f]{32})/.exec(req.headers.cookie || '');
  if (match) sessions.delete(match[1]);
  res.setHeader('Portico-Session-End', '1');
  res.end('{}');
}

// Five events, the first at once and each of the others when /next is asked for.
let next = () => {};

function events(req, res) {
  res.setHeader('Content-Type', 'text/event-stream');
  let n = 0;
  next = () => {
    res.write(`data: ${++n}\n\n`);
    if (n === 5) { next = () => {}; res.end(); }
  };
  next();
}

function upload(req, res) {
  const hash = crypto.createHash('sha256');
  let size = 0;
  req.on('data', (chunk) => { hash.update(chunk); size += chunk.length; });
  req.on('end', () => res.end(JSON.stringify({ size, sha256: hash.digest('hex') })));
}

const server = http.createServer((req, res) => {
  const path = req.url.split('?')[0];
  if (path === '/healthz') return res.end('ok');
  if (path === '/logout') return logout(req, res);
  if (path === '/events') return events(req, res);
  if (path === '/next') { next(); return res.end('ok'); }
  if (path === '/upload') return upload(req, res);
  if (path === '/crash') { res.end('bye'); return process.exit(3); }
  visit(req, res);
});

// RFC 6455, text frames under 126 bytes only: enough to echo.
server.on('upgrade', (req, socket) => {
  const accept = crypto.createHash('sha1')
    .update(req.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64');
  socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
    `Sec-WebSocket-Accept: ${accept}\r\n\r\n`);
  socket.on('data', (frame) => {
    if ((frame[0] & 0x0f) === 8) return socket.end(Buffer.from([0x88, 0]));
    const length = frame[1] & 0x7f;
    const mask = frame.subarray(2, 6);
    const text = Buffer.from(frame.subarray(6, 6 + length).map((b, i) => b ^ mask[i % 4]));
    const reply = Buffer.concat([Buffer.from(`${process.env.PORTICO_MEMBER}:`), text]);
    socket.write(Buffer.concat([Buffer.from([0x81, reply.length]), reply]));
  });
  socket.on('error', () => socket.destroy());
});

server.listen(Number(process.env.PORT), '127.0.0.1');
process.on('SIGTERM', () => server.close(() => process.exit(0)));
