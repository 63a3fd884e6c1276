import { describe, expect, it } from 'vitest'
import { callerTrace } from '../src/trace-context.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const SPAN = '00f067aa0ba902b7'
const PARENT = `00-${TRACE}-${SPAN}-01`

const inHeader = (traceparent: string, tracestate?: string) => {
  const state = tracestate === undefined ? [] : [['tracestate', [tracestate]] as const]
  return callerTrace(new Map([['traceparent', [traceparent]], ...state]), undefined).header
}
const inMessage = (meta: unknown) =>
  callerTrace(new Map(), { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { _meta: meta } })
    .message

describe('threat: forged trace context, text of a caller gets into records, spans and their ids', () => {
  it.each([
    ['nothing', ''],
    ['a prefix of it', PARENT.slice(0, -1)],
    ['something behind it', `${PARENT}0`],
    ['a fifth field in version 00', `${PARENT}-00`],
    ['the forbidden version', `ff${PARENT.slice(2)}`],
    ['upper case', PARENT.toUpperCase()],
    ['a trace id of zeros', `00-${'0'.repeat(32)}-${SPAN}-01`],
    ['a span id of zeros', `00-${TRACE}-${'0'.repeat(16)}-01`],
    ['a line break', `${PARENT}\n`],
    ['a space', ` ${PARENT}`],
    ['two of them', `${PARENT}, ${PARENT}`],
    ['other digits', PARENT.replace('4bf9', '٤bf9')],
  ])('does not take %s', (_name, value) => {
    expect(inHeader(value)).toBeUndefined()
    expect(inMessage({ traceparent: value })).toBeUndefined()
  })

  it.each([
    ['null', null],
    ['a number', 1],
    ['a list', [PARENT]],
    ['an object', { toString: PARENT }],
  ])('does not take %s in a message', (_name, value) => {
    expect(inMessage({ traceparent: value })).toBeUndefined()
    expect(inMessage(value)).toBeUndefined()
  })
})

describe('contract: trace context as W3C Trace Context has it', () => {
  it.each([
    ['version 00', PARENT, 1],
    ['no flags', `00-${TRACE}-${SPAN}-00`, 0],
    ['all flags', `00-${TRACE}-${SPAN}-ff`, 255],
    ['a later version', `01-${TRACE}-${SPAN}-01`, 1],
    ['a later version with more fields', `cc-${TRACE}-${SPAN}-01-what-may-come`, 1],
  ])('takes %s, in headers and in messages', (_name, value, traceFlags) => {
    const expected = { traceId: TRACE, spanId: SPAN, traceFlags, state: undefined }
    expect(inHeader(value)).toEqual(expected)
    expect(inMessage({ traceparent: value })).toEqual(expected)
  })

  it('takes tracestate along as text', () => {
    expect(inHeader(PARENT, 'a=b')?.state).toBe('a=b')
    expect(inMessage({ traceparent: PARENT, tracestate: 'a=b' })?.state).toBe('a=b')
    expect(inMessage({ traceparent: PARENT, tracestate: 1 })?.state).toBeUndefined()
  })
})
