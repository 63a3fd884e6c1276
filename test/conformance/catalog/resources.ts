import { z } from 'zod'
import { defineResource, type Resource } from '../../../src/define.ts'
import { PNG } from './content.ts'

/** A resource without variables: one that there is for everybody. */
function fixed(
  name: string,
  uri: string,
  mimeType: string,
  content: string | Uint8Array,
): Resource {
  return defineResource({
    uriTemplate: uri,
    name,
    title: name,
    description: `The resource ${name} of the conformance suite.`,
    mimeType,
    params: z.strictObject({}),
    shared: true,
    read: async () => content,
    list: async () => [{ uri, title: name }],
  })
}

export const resources: readonly Resource[] = [
  fixed(
    'static-text',
    'test://static-text',
    'text/plain',
    'This is the content of the static text resource.',
  ),
  fixed('static-binary', 'test://static-binary', 'image/png', PNG),
  fixed('watched', 'test://watched-resource', 'text/plain', 'Watched.'),
  defineResource({
    uriTemplate: 'test://template/{id}/data',
    name: 'template',
    title: 'Template',
    description: 'The resource template of the conformance suite.',
    mimeType: 'application/json',
    params: z.strictObject({ id: z.string().max(64) }),
    shared: true,
    read: async ({ id }) => JSON.stringify({ id, templateTest: true, data: `Data for ID: ${id}` }),
    list: async () => [],
    complete: async (_argument, value) => ['1', '2', '12'].filter((id) => id.startsWith(value)),
  }),
]
