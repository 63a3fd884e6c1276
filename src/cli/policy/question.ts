import { UsageError } from '../audit/terminal.ts'
import type { Question } from './decision.ts'

/** Options of a command line, by name. */
export type OptionValues = Readonly<Partial<Record<string, string>>>

/**
 * What `explain` is asked on the command line.
 *
 * @throws {UsageError} never with the text that is wrong
 */
export function questionOf(values: OptionValues, nowMs: number): Question {
  const { issuer, subject, era = 'modern' } = values
  if (subject === undefined) throw new UsageError('--subject is missing.')
  if (values['scopes'] === undefined) throw new UsageError('--scopes is missing; it may be empty.')
  if (era !== 'modern' && era !== 'legacy') throw new UsageError('--era is modern or legacy.')
  return {
    principal: {
      kind: issuer === undefined ? 'api-key' : 'oauth',
      issuer: issuer ?? 'gatehouse',
      client: values['client'] ?? '',
      subject,
      scopes: words(values['scopes']),
      roles: words(values['roles']),
      tenant: values['tenant'] ?? null,
    },
    claims: claimsOf(values['claims']),
    ip: values['ip'] ?? '192.0.2.1',
    era,
    nowMs,
    use: useOf(values),
  }
}

function useOf({ tool, prompt, resource, args }: OptionValues): Question['use'] {
  if ([tool, prompt, resource].filter((name) => name !== undefined).length !== 1) {
    throw new UsageError('Give one of --tool, --prompt and --resource.')
  }
  if (resource !== undefined) {
    if (args !== undefined) throw new UsageError('The URI of a resource has its arguments.')
    return { kind: 'resource', name: resource }
  }
  const parsed = args === undefined ? {} : json('--args', args)
  return tool === undefined
    ? { kind: 'prompt', name: prompt ?? '', args: parsed }
    : { kind: 'tool', name: tool, args: parsed }
}

function claimsOf(text: string | undefined): Question['claims'] {
  const claims = text === undefined ? {} : json('--claims', text)
  if (typeof claims === 'object' && claims !== null && !Array.isArray(claims)) return { ...claims }
  throw new UsageError('--claims must be a JSON object.')
}

function json(option: string, text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new UsageError(`${option} must be JSON.`)
  }
}

function words(text = ''): readonly string[] {
  return text.split(' ').filter(Boolean)
}
