// optional: introspection
import type { RequestListener } from 'node:http'
import { httpServer, json, type TestServer } from '../http-server.ts'

/** One request as it arrived. */
export interface Question {
  readonly method: string | undefined
  readonly path: string | undefined
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  /** As it was sent. */
  readonly body: string
  /** Of the form. */
  readonly token: string | null
}

/** An authorization server on loopback that knows opaque tokens. */
export interface IntrospectionServer extends Pick<TestServer, 'down' | 'up'> {
  /** The value of `iss`. */
  readonly url: string
  readonly endpoint: string
  /** What was asked, oldest first. */
  readonly questions: readonly Question[]
  /** How often somebody asked about a token. */
  asked(token: string): number
  /** Answers of one token; `inactive` for those that have none. */
  readonly answers: Map<string, RequestListener>
  /** Answers all tokens like this; `undefined` goes back to those of each. */
  always: RequestListener | undefined
}

export const INACTIVE: RequestListener = json({ active: false })

export async function startIntrospectionServer(): Promise<IntrospectionServer> {
  const questions: Question[] = []
  const server = await httpServer(async (request, response) => {
    let body = ''
    for await (const chunk of request.setEncoding('utf8')) body += chunk
    const token = new URLSearchParams(body).get('token')
    const { method, url: path, headers } = request
    questions.push({ method, path, headers, body, token })
    const answer = introspection.always ?? introspection.answers.get(token ?? '') ?? INACTIVE
    answer(request, response)
  })
  const introspection: IntrospectionServer = {
    down: server.down,
    up: server.up,
    url: server.origin,
    endpoint: `${server.origin}/introspect`,
    questions,
    asked: (token) => questions.filter((question) => question.token === token).length,
    answers: new Map(),
    always: undefined,
  }
  return introspection
}
