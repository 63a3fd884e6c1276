import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readArguments, UsageError } from '../../examples/arguments.ts'

const URL_OF_SERVER = 'https://mcp.example.com/mcp'

describe('contract: the command line of the client', () => {
  let folder: string
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'client-'))
    writeFileSync(join(folder, 'b.md'), 'second')
    writeFileSync(join(folder, 'a.md'), 'first')
    writeFileSync(join(folder, 'not-utf8.bin'), Buffer.from([0xff, 0xfe, 0x00]))
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  it('has defaults for everything but the URL and the command', () => {
    const environment = { XDG_CONFIG_HOME: '/config' }
    expect(readArguments([URL_OF_SERVER, 'list'], environment)).toEqual({
      url: new URL(URL_OF_SERVER),
      command: 'list',
      target: '',
      input: {},
      key: undefined,
      json: false,
      era: 'auto',
      level: 'info',
      timeoutMs: 120_000,
      yes: false,
      stepUp: undefined,
      scope: undefined,
      identity: { metadataUrl: undefined },
      redirectPort: 0,
      opensBrowser: true,
      browser: undefined,
      loginFolder: '/config/gatehouse',
    })
  })

  it('takes files besides other arguments, sorted and named within their folder', () => {
    const options = ['--args', '{"title":"t"}', '--files', `${folder}/*.md`]
    expect(readArguments([URL_OF_SERVER, 'call', 'tool', ...options], {})?.input).toEqual({
      title: 't',
      documents: [
        { name: 'a.md', text: 'first' },
        { name: 'b.md', text: 'second' },
      ],
    })
  })

  it('takes the key of the command line before that of the environment', () => {
    const environment = { GATEHOUSE_KEY: 'from-environment' }
    const keyOf = (...options: string[]): string | undefined =>
      readArguments([URL_OF_SERVER, 'list', ...options], environment)?.key
    expect(keyOf()).toBe('from-environment')
    expect(keyOf('--key', 'from-option')).toBe('from-option')
  })

  it.each([
    ['the home folder without XDG_CONFIG_HOME', {}],
    ['the home folder when that is empty', { XDG_CONFIG_HOME: '' }],
    ['the home folder when that is relative', { XDG_CONFIG_HOME: 'config' }],
  ])('keeps logins in %s', (_name, environment) => {
    const folder = readArguments([URL_OF_SERVER, 'list'], environment)?.loginFolder
    expect(folder).toBe(join(homedir(), '.config/gatehouse'))
  })

  it('takes all that a login needs, and the secret from its file', () => {
    writeFileSync(join(folder, 'secret'), 'secret-1\n')
    const identity = ['--client-id', 'client-1', '--client-secret-file', `${folder}/secret`]
    const rest = ['--scope', 'a b', '--redirect-port', '4711', '--no-browser']
    const environment = { BROWSER: 'firefox', GATEHOUSE_KEY: 'key' }
    const options = readArguments([URL_OF_SERVER, 'login', ...identity, ...rest], environment)
    expect(options).toMatchObject({
      command: 'login',
      key: undefined,
      identity: { given: { client_id: 'client-1', client_secret: 'secret-1' } },
      scope: 'a b',
      redirectPort: 4711,
      opensBrowser: false,
      browser: 'firefox',
    })
  })

  it.each([
    ['--step-up', true],
    ['--no-step-up', false],
  ])('takes %s', (option, expected) => {
    expect(readArguments([URL_OF_SERVER, 'list', option], {})?.stepUp).toBe(expected)
  })

  it.each([
    ['no command', []],
    ['a login with a name', ['login', 'alice']],
    ['a login with a key', ['login', '--key', 'key-1']],
    ['a logout with a key', ['logout', '--key', 'key-1']],
    ['scopes without a login', ['list', '--scope', 'mcp:use']],
    ['a client without a login', ['call', 'tool', '--client-id', 'client-1']],
    ['a secret without its client', ['login', '--client-secret-file', 'secret']],
    [
      'a secret that is not there',
      ['login', '--client-id', 'id', '--client-secret-file', 'nowhere'],
    ],
    ['a metadata document over http', ['login', '--client-metadata-url', 'http://a.example/c']],
    ['a metadata document without a path', ['login', '--client-metadata-url', 'https://a.example']],
    ['a port over the last one', ['login', '--redirect-port', '65536']],
    ['a port below zero', ['login', '--redirect-port=-1']],
    ['a port that is no number', ['login', '--redirect-port', '0x50']],
    ['an unknown command', ['delete']],
    ['a command without its name', ['call']],
    ['a name too many', ['list', 'tools']],
    ['two names', ['call', 'echo', 'whoami']],
    ['an unknown option', ['list', '--verbose']],
    ['an option without its value', ['list', '--key']],
    ['an unknown era', ['list', '--era', '2025']],
    ['an era of the prototype', ['list', '--era', 'constructor']],
    ['an unknown level', ['list', '--log-level', 'INFO']],
    ['no timeout', ['list', '--timeout', '0']],
    ['a timeout that is no number', ['list', '--timeout', 'soon']],
    ['a timeout that a timer cannot hold', ['list', '--timeout', '2147484']],
    ['arguments that are not JSON', ['call', 'tool', '--args', '{']],
    ['arguments that are not an object', ['call', 'tool', '--args', '[]']],
    ['arguments that are null', ['call', 'tool', '--args', 'null']],
    ['files that do not exist', ['call', 'tool', '--files', 'nowhere/*.md']],
  ])('refuses %s', (_name, line) => {
    expect(() => readArguments([URL_OF_SERVER, ...line], {})).toThrow(UsageError)
  })

  it('refuses a file that is not text', () => {
    const line = [URL_OF_SERVER, 'call', 'tool', '--files', `${folder}/not-utf8.bin`]
    expect(() => readArguments(line, {})).toThrow(UsageError)
  })

  it.each([
    ['nothing', []],
    ['a path', ['/mcp', 'list']],
    ['another scheme', ['file:///etc/passwd', 'list']],
  ])('refuses %s for a URL', (_name, line) => {
    expect(() => readArguments(line, {})).toThrow(UsageError)
  })
})

describe('threat: an eavesdropper, who reads the key on its way', () => {
  it.each([
    ['another host', 'http://mcp.example.com/mcp'],
    ['a loopback name as a prefix', 'http://localhost.example.com/mcp'],
    ['a loopback address as a prefix', 'http://127.0.0.1.example.com/mcp'],
    ['a loopback address as user', 'http://127.0.0.1@example.com/mcp'],
    ['any address', 'http://0.0.0.0/mcp'],
  ])('sends no key over plain http to %s', (_name, url) => {
    expect(() => readArguments([url, 'list', '--key', 'secret-key'], {})).toThrow(/^(?!.*secret)/)
    expect(() => readArguments([url, 'list'], { GATEHOUSE_KEY: 'secret-key' })).toThrow(UsageError)
    expect(readArguments([url, 'list'], {})?.url.href).toBe(url)
    expect(() => readArguments([url, 'login'], {})).toThrow(UsageError)
  })

  it.each([
    ['https', 'https://mcp.example.com/mcp'],
    ['localhost', 'http://localhost:3000/mcp'],
    ['127.0.0.1', 'http://127.0.0.1:3000/mcp'],
    ['[::1]', 'http://[::1]:3000/mcp'],
  ])('sends it to %s', (_name, url) => {
    expect(readArguments([url, 'list', '--key', 'secret-key'], {})?.key).toBe('secret-key')
    expect(readArguments([url, 'login'], {})?.command).toBe('login')
  })
})
