import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { misbehavingAccess } from './misbehaving-tools.ts'
import { connect } from './raw-http.ts'
import { callOf, startServer, stopServers } from './server.ts'
import { callWith, filled } from './wire.ts'
const server = await startServer({ entry: 'test/misbehaving-server.ts', env: { NODE_OPTIONS: process.argv[2] ?? '' }, policies: [misbehavingAccess,
  ['limits.yaml', 'connections: 200,', 'connections: 1000,'],
  ['limits.yaml', 'concurrentCalls: 32', 'concurrentCalls: 1000']] })
const rss = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${server.child.pid}/status`, 'utf8'))?.[1]) / 1024
await (await server.call('echo', { text: 'x' })).text()
const before = rss()
const wire = filled(callWith(callOf('large', { bytes: 4_000_000 })), server)
let open = 0
for (let i = 0; i < 200; i++) { const c = connect(server); c.socket.pause(); c.write(wire); open++; c.socket.on('close', () => open--) }
let most = before
for (let i = 0; i < 60; i++) { await sleep(250); most = Math.max(most, rss()); if (i % 8 === 0) console.log(i / 4, Math.round(rss() - before), 'open', open) }
console.log('growth', Math.round(most - before), 'MiB; records', server.audited().filter((r) => r.metadata.event_code === 'request').length)
await stopServers()
process.exit(0)
