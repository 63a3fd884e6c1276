import { describe, expect, it } from 'vitest'
import type { Operation } from '../../src/context.ts'
import { type Outcome, operationEnd } from '../../src/telemetry/operation-end.ts'

function operation(kind: 'tool' | 'resource' | 'prompt', name: string, started = true): Operation {
  const rule = {
    kind,
    name,
    scopes: [],
    listed: false,
    condition: undefined,
    timeoutSeconds: 1,
    concurrentCallsPerPrincipal: undefined,
    callsPerMinutePerPrincipal: undefined,
  }
  const facts = {
    requestId: 'request-1',
    address: '192.0.2.1',
    principal: undefined,
    credentialId: undefined,
    trace: undefined,
    method: '',
    name,
    rpcId: 1,
    era: 'modern',
    argsHmac: '',
    argsBytes: 0,
  } as const
  return { rule, parsed: { value: {} }, facts, started }
}

const echo = operation('tool', 'echo')
const report = operation('resource', 'report://{id}')

describe('contract: how an operation has ended, in the words of the conventions', () => {
  it.each<[string, Outcome, string | undefined]>([
    ['a result', 'ok', undefined],
    ['a question', 'asked', undefined],
    ['a failure', 'failed', 'tool_error'],
    ['a deadline', 'timed-out', 'tool_error'],
    ['a shutdown', 'shut-down', 'tool_error'],
    ['a revocation', 'revoked', 'tool_error'],
    ['a cancellation', 'cancelled', 'cancelled'],
  ])('tells %s of a tool', (_name, outcome, errorType) => {
    expect(operationEnd({ denied: undefined, operation: echo }, outcome, true)).toEqual({
      target: { kind: 'tool', name: 'echo' },
      outcome,
      errorType,
      refusal: undefined,
    })
  })

  it.each([
    ['a refusal', 'authorize.missing-scope', undefined, '-32600', 'refused'],
    ['a refusal of the SDK', 'handler.unknown-tool', undefined, '-32602', 'refused'],
    ['arguments that do not fit', 'handler.invalid-arguments', echo, 'tool_error', 'refused'],
  ] as const)('tells %s', (_name, denied, used, errorType, outcome) => {
    expect(operationEnd({ denied, operation: used }, undefined, true)).toMatchObject({
      outcome,
      errorType,
      refusal: { reason: denied },
    })
  })

  it('tells a read that failed by its outcome and its error', () => {
    const vars = { denied: 'handler.failed', operation: report } as const
    expect(operationEnd(vars, 'failed', true)).toMatchObject({
      outcome: 'failed',
      errorType: '-32603',
      target: undefined,
    })
  })

  it.each([
    ['a call that was running', { denied: undefined, operation: echo }, true, 'cancelled'],
    ['no answer', { denied: undefined, operation: undefined }, false, 'cancelled'],
    ['an answer', { denied: undefined, operation: undefined }, true, 'ok'],
  ] as const)('tells whether the client was there: %s', (_name, vars, answered, outcome) => {
    expect(operationEnd(vars, undefined, answered).outcome).toBe(outcome)
  })

  it('names prompts, and no resources: their URIs are the callers', () => {
    const target = (used: Operation) =>
      operationEnd({ denied: undefined, operation: used }, 'ok', true).target
    expect(target(operation('prompt', 'summarize'))).toEqual({ kind: 'prompt', name: 'summarize' })
    expect(target(report)).toBeUndefined()
  })
})
