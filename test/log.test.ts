import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { describeError } from '../src/log.ts'

const CANARY = 'canary-4711-secret'
const SOURCE = new URL('../src/', import.meta.url).href
const run = promisify(execFile)

/** Runs statements with a `logger` in a process of their own; its standard error, line by line. */
async function logged(level: string, statements: string): Promise<readonly string[]> {
  const script = `import { createLogger } from '${SOURCE}log.ts'
    const logger = createLogger('${level}')
    ${statements}`
  const { stdout, stderr } = await run(process.execPath, ['--input-type=module', '-e', script])
  expect(stdout).toBe('')
  return stderr.split('\n').filter((line) => line !== '')
}

describe('threat: secrets in the log, whoever reads logs gains tokens and arguments', () => {
  it('lets no message, stack, cause, value or unknown field out', async () => {
    const lines = await logged(
      'debug',
      `const error = new TypeError('${CANARY}', { cause: new Error('${CANARY}') })
       error.code = '${CANARY} with spaces'
       error.token = '${CANARY}'
       logger.error('failed', { requestId: 'r1', error, token: '${CANARY}', err: error })
       logger.error('failed', { error: '${CANARY}' })
       logger.error('failed', { error: { name: '${CANARY}', message: '${CANARY}' } })`,
    )
    expect(lines).toHaveLength(3)
    expect(lines.join()).not.toContain(CANARY)
    expect(JSON.parse(lines[0] ?? '')).toEqual({
      level: 'error',
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      requestId: 'r1',
      error: { name: 'TypeError' },
      msg: 'failed',
    })
  })

  it('keeps a line one line', async () => {
    const lines = await logged('info', String.raw`logger.info('a\n{"level":"fatal"}\x1b[2J')`)
    expect(lines).toHaveLength(1)
    expect(JSON.parse(lines[0] ?? '').msg).toBe('a{"level":"fatal"}')
  })

  it.each([
    ['a name that is data', () => Object.assign(new Error('x'), { name: CANARY })],
    ['a code that is data', () => Object.assign(new Error('x'), { code: `${CANARY}` })],
    ['a string', () => CANARY],
    ['an object', () => ({ message: CANARY })],
    ['a symbol', () => Symbol(CANARY)],
    ['null', () => null],
    [
      'a getter that throws',
      () =>
        Object.defineProperty(new Error('x'), 'name', {
          get() {
            throw new Error(CANARY)
          },
        }),
    ],
    [
      'a message that looks like a frame',
      () => new Error(`x\n    at f (${SOURCE}${CANARY}.ts:1:1)`),
    ],
  ])('says nothing of %s', (_name, thrown) => {
    expect(JSON.stringify(describeError(thrown(), 'production'))).not.toContain(CANARY)
  })
})

describe('contract: the log', () => {
  it('says class, code and own source of an error', async () => {
    const lines = await logged(
      'info',
      `const { secretRing } = await import('${SOURCE}secrets.ts')
       try { secretRing(null)('args') } catch (error) { logger.error('failed', { error }) }
       logger.error('failed', { error: Object.assign(new Error('x'), { code: 'ECONNREFUSED' }) })`,
    )
    expect(lines.map((line) => JSON.parse(line).error)).toEqual([
      { name: 'TypeError', at: expect.stringMatching(/^src\/secrets\.ts:\d+:\d+$/) },
      { name: 'Error', code: 'ECONNREFUSED' },
    ])
  })

  it('says the message in development', () => {
    expect(describeError(new Error('a\nb'), 'development')).toMatchObject({ message: 'ab' })
    expect(describeError(new Error('a\nb'), 'production')).not.toHaveProperty('message')
  })

  it('writes from its level on, and nothing when silent', async () => {
    const statements = `for (const level of ['debug', 'info', 'warn', 'error', 'fatal']) logger[level](level)`
    const messages = (await logged('warn', statements)).map((line) => JSON.parse(line).msg)
    // A pipe may be handed the flush of `fatal` before what waits: the order is not the logger's.
    expect(messages.toSorted()).toEqual(['error', 'fatal', 'warn'])
    expect(await logged('silent', statements)).toEqual([])
  })
})
