import { startServer, stopServers } from '/work/main/test/server.ts'
import { connect } from '/work/main/test/raw-http.ts'
const server = await startServer({ policies: [['limits.yaml', 'keepAliveMs: 5000', 'keepAliveMs: 1000'], ['limits.yaml','slowReaderMs: 30000','slowReaderMs: 1000']] })
const c = connect(server)
c.write(`GET /x HTTP/1.1\r\nHost: 127.0.0.1:${server.port}\r\n\r\n`)
console.log((await c.answer()).status)
const t = performance.now()
const r = await Promise.race([c.closed().then(() => 'closed'), new Promise((r) => setTimeout(() => r('OPEN'), 8000))])
console.log(r, performance.now() - t)
// upgrade then reset
for (let i = 0; i < 50; i++) {
  const u = connect(server)
  await new Promise((r) => u.socket.once('connect', r))
  u.write(`GET /mcp HTTP/1.1\r\nHost: 127.0.0.1:${server.port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`)
  setTimeout(() => u.socket.resetAndDestroy(), i % 3)
  await u.closed()
}
await new Promise((r) => setTimeout(r, 300))
console.log('exit', server.child.exitCode, server.stderr().split('\n').slice(6).join('\n').slice(0, 600))
console.log(server.audited().map((r) => r.metadata.event_code + r.status_detail+ r.status_code).slice(-5))
await stopServers()
