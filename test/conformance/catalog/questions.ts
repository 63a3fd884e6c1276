import { inputRequired, type PrimitiveSchemaDefinition } from '@modelcontextprotocol/server'

type Question = ReturnType<typeof inputRequired.elicit>

export const STRING = { type: 'string' } as const

/** A form with these fields, all of them required. */
export function ask(
  message: string,
  properties: Readonly<Record<string, PrimitiveSchemaDefinition>>,
): Question {
  const required = Object.keys(properties)
  return inputRequired.elicit({
    message,
    requestedSchema: { type: 'object', properties: { ...properties }, required },
  })
}

/** A question to the model of the client. */
export function sample(question: string, maxTokens = 100): Question {
  const content = { type: 'text' as const, text: question }
  return inputRequired.createMessage({ messages: [{ role: 'user', content }], maxTokens })
}
