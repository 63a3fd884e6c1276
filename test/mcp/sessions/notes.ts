// optional: legacy-sessions
import { z } from 'zod'
import { defineResource, defineTool } from '../../../src/define.ts'
import { isAnswerTo, isMethod, message, type Peer } from './peer.ts'

export const updated = isMethod('notifications/resources/updated')
const definition = { annotations: {}, longRunning: false, title: 'Note', description: 'A note.' }
/** A resource that each owner has, and a tool that changes it. */
export const note = defineResource({
  uriTemplate: 'note://{id}',
  name: 'note',
  title: 'Note',
  description: 'A note of its owner.',
  mimeType: 'text/plain',
  params: z.strictObject({ id: z.string().max(20) }),
  async read() {
    return 'text'
  },
  async list() {
    return []
  },
})
export const change = defineTool({
  ...definition,
  name: 'change',
  input: z.strictObject({ uri: z.string().max(100) }),
  output: z.strictObject({}),
  async run({ uri }, { resourceUpdated }) {
    resourceUpdated(uri)
    return {}
  },
})

export async function changes(peer: Peer, uri: string): Promise<void> {
  const call = await peer.post(message('tools/call', { name: 'change', arguments: { uri } }, 'c'))
  await call.event(isAnswerTo('c'))
  await call.ended
}

export async function subscribe(
  peer: Peer,
  uri: string,
  method = 'resources/subscribe',
): Promise<unknown> {
  const answer = await peer.post(message(method, { uri }, 's'))
  const { json } = await answer.event(isAnswerTo('s'))
  return json.error?.code ?? json.result
}
