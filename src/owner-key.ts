import { hash } from 'node:crypto'
import type { Principal } from './context.ts'

/**
 * The key of what belongs to a principal: streams, sessions, request states and budgets belong to
 * (kind, issuer, client, subject). As JSON before hashing, so that no two owners collide.
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
  return hash('sha256', JSON.stringify(parts), 'base64url')
}
