import {
  type AuthProvider,
  Client,
  type ElicitRequest,
  type ElicitResult,
  type FetchLike,
  StreamableHTTPClientTransport,
} from '@modelcontextprotocol/client'
import { enter, leave, obtain, type Session, stepUpRequest } from './account.ts'
import { type Arguments, LEVELS, readArguments, UsageError } from './arguments.ts'
import { run } from './commands.ts'
import { EXIT, type Exchange, explain } from './failures.ts'
import { pretty } from './format.ts'
import { type Login, loginStore, serverKey } from './login-store.ts'
import { storedLogin } from './stored-login.ts'
import { jsonTerminal, peopleTerminal, type Terminal } from './terminal.ts'
import { USAGE } from './usage.ts'

async function main(): Promise<number> {
  let options: Arguments | undefined
  try {
    options = readArguments(process.argv.slice(2), process.env)
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    process.stderr.write(`${error.message}\nTry: npm run client -- --help\n`)
    return EXIT.usage
  }
  if (options === undefined) {
    process.stdout.write(`${USAGE}\n`)
    return EXIT.ok
  }

  const terminal = options.json ? jsonTerminal() : peopleTerminal()
  // The SDK writes to the console: hints for its users to standard output, and warnings that quote servers.
  console.debug = () => {}
  console.warn = (text: unknown) => terminal.log('warning', `${text}`, `${text}`)
  const cancel = new AbortController()
  process.on('SIGINT', () => {
    if (cancel.signal.aborted) process.exit(EXIT.cancelled)
    cancel.abort()
  })

  const store = loginStore(options.loginFolder)
  const session: Session = { options, terminal, store, exchange: {}, cancelled: cancel.signal }
  try {
    return await perform(session)
  } catch (error) {
    const failure = cancel.signal.aborted
      ? { exitCode: EXIT.cancelled, text: 'Cancelled.' }
      : explain(error, session.exchange, options)
    terminal.fail(failure)
    return failure.exitCode
  } finally {
    terminal.end()
  }
}

/** @returns the exit code. */
async function perform(session: Session): Promise<number> {
  const { options, store } = session
  if (options.command === 'logout') return leave(session)
  if (options.command === 'login') return enter(session, (login) => converse(session, login))

  const login = options.key === undefined ? await store.read(serverKey(options.url)) : undefined
  try {
    return await converse(session, login)
  } catch (error) {
    const request = stepUpRequest(session, login)
    if (request === undefined) throw error
    return converse(session, await obtain(session, request))
  }
}

/** One connection, from the first request to the last. */
async function converse(session: Session, login: Login | undefined): Promise<number> {
  const { options, terminal, store, exchange, cancelled } = session
  exchange.login = login
  const client = createClient(options, terminal, cancelled)
  const credential = login && storedLogin(options.url, store, login, cancelled)
  try {
    await client.connect(createTransport(options, exchange, credential), {
      signal: cancelled,
      timeout: options.timeoutMs,
    })
    return await run(client, options, terminal, cancelled)
  } finally {
    await client.close()
  }
}

/** Declares what this client can do for a server: show log messages and ask for confirmation. */
function createClient(options: Arguments, terminal: Terminal, signal: AbortSignal): Client {
  const client = new Client(
    { name: 'gatehouse-terminal-client', version: '1.0.0' },
    {
      capabilities: { elicitation: { form: {} } },
      versionNegotiation: { mode: options.era },
    },
  )
  client.setNotificationHandler('notifications/message', ({ params: { level, data } }) => {
    // 2025 servers without sessions cannot keep a level, so it is applied here as well.
    if (LEVELS.indexOf(level) < LEVELS.indexOf(options.level)) return
    terminal.log(level, typeof data === 'string' ? data : pretty(data), data)
  })
  client.setRequestHandler('elicitation/create', async ({ params }) => {
    const content = consent(params)
    if (content === undefined) return { action: 'decline' }
    const question = [params.message, ...prefilled(content)].join(' ')
    const agreed = options.yes || (await terminal.ask(question, signal))
    return agreed ? { action: 'accept', content } : { action: 'decline' }
  })
  return client
}

/**
 * What "yes" means for a form: its switches on, its other fields as they are filled in beforehand.
 * `undefined` for one that needs more than that.
 */
function consent(params: ElicitRequest['params']): ElicitResult['content'] {
  if (params.mode === 'url') return undefined
  const { properties, required = [] } = params.requestedSchema
  const content: NonNullable<ElicitResult['content']> = {}
  for (const [name, field] of Object.entries(properties)) {
    if (field.type === 'boolean') content[name] = true
    else if (field.default !== undefined) content[name] = field.default
  }
  return required.every((name) => Object.hasOwn(content, name)) ? content : undefined
}

/** The values that the person agrees to besides. */
function prefilled(content: NonNullable<ElicitResult['content']>): string[] {
  return Object.entries(content).flatMap(([name, value]) =>
    value === true ? [] : [pretty({ [name]: value })],
  )
}

function createTransport(
  options: Arguments,
  exchange: Exchange,
  authProvider: AuthProvider | undefined,
): StreamableHTTPClientTransport {
  const watchedFetch: FetchLike = async (url, init) => {
    if (init?.method !== 'POST') return fetch(url, init)
    delete exchange.response
    exchange.response = await fetch(url, init)
    return exchange.response
  }
  const headers = options.key === undefined ? {} : { authorization: `Bearer ${options.key}` }
  return new StreamableHTTPClientTransport(options.url, {
    fetch: watchedFetch,
    requestInit: { headers },
    ...(authProvider === undefined ? {} : { authProvider }),
  })
}

process.exitCode = await main()
