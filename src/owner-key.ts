import { createHash } from 'node:crypto'
import type { Principal } from './context.ts'

/**
 * The key of what belongs to a principal: streams, sessions, request states and budgets belong to
 * (kind, issuer, client, subject). Length-prefixed before hashing, so that no two owners collide.
 */
export function ownerKey(principal: Principal): string {
  const { kind, issuer, client, subject } = principal
  return digestOf([kind, issuer, client, subject])
}

/** The key of stored objects, which belong to (kind, issuer, subject) whatever the client. */
export function ownerSpace(principal: Principal): string {
  const { kind, issuer, subject } = principal
  return digestOf([kind, issuer, subject])
}

function digestOf(parts: readonly string[]): string {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(`${Buffer.byteLength(part)}:${part}`)
  return hash.digest('base64url')
}
