import { commandSettings } from '../config.ts'
import { createOutbound } from '../outbound.ts'

/** Longest wait for the answer, ms: below the timeout that the image gives a health check. */
const TIMEOUT_MS = 3000

/**
 * The health check of the image: exit 0 while `/livez` answers on loopback, otherwise 1. It is a
 * process of its own, so that an image needs neither curl nor a shell for it.
 */
const { adminPort } = commandSettings()
// Loopback is a destination in development only; nothing but the port comes from outside.
const outbound = createOutbound({ mode: 'development' })
const options = { timeoutMs: TIMEOUT_MS, maxBytes: 1024, allowLoopback: true }
process.exitCode = await outbound.json(`http://127.0.0.1:${adminPort}/livez`, options).then(
  () => 0,
  () => 1,
)
