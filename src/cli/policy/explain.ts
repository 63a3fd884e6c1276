import type { Rule } from '../../access/rules.ts'
import type { AccessPolicy } from '../../policy.ts'
import { shown } from '../audit/terminal.ts'
import type { Decision, Question } from './decision.ts'

const OUTCOME = {
  unknown: 'refused: there is no such name (-32602)',
  'missing-scope': 'denied: a scope is missing (403 authorize.missing-scope)',
  condition: 'denied: the condition does not hold (403 authorize.condition)',
  'invalid-arguments': 'allowed, but the arguments do not parse: nothing runs',
} as const

/** Which entry decided, and what was missing. One fact a line. */
export function explanation(
  access: AccessPolicy,
  { use, principal }: Question,
  { why, rule, parsed }: Decision,
): string {
  const outcome = why === undefined ? 'allowed' : OUTCOME[why]
  const facts: (readonly [string, string])[] = []
  if (rule !== undefined) {
    const entry = access[`${rule.kind}s`][rule.name]
    facts.push(['entry', `access.yaml ${rule.kind}s.${rule.name}`])
    facts.push(['why', entry?.why ?? ''])
    facts.push(['scopes', scopesOf(rule, principal.scopes)])
    if (entry?.when !== undefined) facts.push(['when', entry.when])
  }
  for (const { path, message } of (parsed?.issues ?? []).slice(0, 10)) {
    facts.push(['argument', [path.map(String).join('.'), message].filter(Boolean).join(': ')])
  }
  const lines = [`${use.kind} ${use.name}: ${outcome}`]
  lines.push(...facts.map(([name, value]) => `  ${name.padEnd(9)} ${value}`))
  return lines.map((line) => `${shown(line)}\n`).join('')
}

function scopesOf({ scopes }: Rule, held: readonly string[]): string {
  return scopes.map((scope) => `${scope} ${held.includes(scope) ? 'held' : 'MISSING'}`).join(', ')
}
