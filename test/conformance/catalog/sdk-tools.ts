import { setTimeout as sleep } from 'node:timers/promises'
import {
  type CallToolResult,
  CLIENT_CAPABILITIES_META_KEY,
  type InputRequiredResult,
  inputRequired,
  inputResponse,
} from '@modelcontextprotocol/server'
import { z } from 'zod'
import type { Tool } from '../../../src/define.ts'
import { defineSdkTool, type SdkRequest } from '../../../src/mcp/sdk-body.ts'
import { ask, STRING, sample } from './questions.ts'

type Answer = CallToolResult | InputRequiredResult

function answer(text: string): CallToolResult {
  return { content: [{ type: 'text', text }] }
}

/** A tool without input. */
function tool(name: string, body: (request: SdkRequest) => Answer | Promise<Answer>): Tool {
  return withInput(name, z.strictObject({}), (_input, request) => body(request))
}

function withInput<I extends z.ZodObject>(
  name: string,
  input: I,
  body: (input: z.output<I>, request: SdkRequest) => Answer | Promise<Answer>,
): Tool {
  return defineSdkTool({
    name,
    title: name,
    description: `The tool ${name} of the conformance suite.`,
    annotations: {},
    input,
    longRunning: false,
    answer: async (values, _context, request) => body(values, request),
  })
}

type Questions = Parameters<typeof inputRequired>[0]['inputRequests']

/** Asks until every question has an answer, and tells all of them. */
function asking(
  { inputResponses, cameBack }: SdkRequest,
  questions: NonNullable<Questions>,
  { state, prefix = 'Answered' }: { state?: string; prefix?: string } = {},
): Answer {
  const views = Object.keys(questions).map((key) => inputResponse(inputResponses, key))
  const isAnswered = views.every(({ kind }) => kind !== 'missing')
  if (isAnswered && (state === undefined || cameBack(state))) {
    return answer(`${prefix}: ${views.map((view) => JSON.stringify(view)).join(', ')}`)
  }
  const requestState = state === undefined ? {} : { requestState: state }
  return inputRequired({ inputRequests: questions, ...requestState })
}

const CHOICES = ['option1', 'option2', 'option3']
const titled = (names: readonly string[], word: string): { const: string; title: string }[] =>
  names.map((name, index) => ({ const: name, title: `${word} ${index + 1}` }))
const VALUES = ['value1', 'value2', 'value3']

const ENUMS = {
  untitledSingle: { type: 'string', enum: CHOICES },
  titledSingle: { type: 'string', oneOf: titled(VALUES, 'Option') },
  legacyEnum: {
    type: 'string',
    enum: ['opt1', 'opt2', 'opt3'],
    enumNames: ['Option One', 'Option Two', 'Option Three'],
  },
  untitledMulti: { type: 'array', items: { type: 'string', enum: CHOICES } },
  titledMulti: { type: 'array', items: { anyOf: titled(VALUES, 'Choice') } },
} as const

const DEFAULTS = {
  name: { type: 'string', default: 'John Doe' },
  age: { type: 'integer', default: 30 },
  score: { type: 'number', default: 95.5 },
  status: { type: 'string', enum: ['active', 'inactive', 'pending'], default: 'active' },
  verified: { type: 'boolean', default: true },
} as const

const text = z.string().max(1024)
const NAME = ask('What is your name?', { name: STRING })
const ROOTS = inputRequired.listRoots()

const envelopeSchema = z.object({
  [CLIENT_CAPABILITIES_META_KEY]: z.object({
    sampling: z.unknown().optional(),
    elicitation: z.unknown().optional(),
  }),
})

function capabilitiesOf(envelope: unknown): { sampling?: unknown; elicitation?: unknown } {
  return envelopeSchema.safeParse(envelope).data?.[CLIENT_CAPABILITIES_META_KEY] ?? {}
}

/** What a tool needs the SDK for: more than one question, sampling, roots, capabilities, streams. */
export const sdkTools: readonly Tool[] = [
  tool('test_reconnection', async ({ closeStream }) => {
    closeStream()
    await sleep(100)
    return answer('Reconnected.')
  }),
  withInput('test_sampling', z.strictObject({ prompt: text }), ({ prompt }, request) =>
    asking(request, { sampled: sample(prompt) }, { prefix: 'LLM response' }),
  ),
  withInput('test_elicitation', z.strictObject({ message: text }), ({ message }, request) =>
    asking(
      request,
      { form: ask(message, { username: STRING, email: STRING }) },
      { prefix: 'User response' },
    ),
  ),
  tool('test_elicitation_sep1034_defaults', (request) =>
    asking(request, { form: ask('Defaults', DEFAULTS) }, { prefix: 'Elicitation completed' }),
  ),
  tool('test_elicitation_sep1330_enums', (request) =>
    asking(request, { form: ask('Choices', ENUMS) }, { prefix: 'Elicitation completed' }),
  ),
  tool('test_missing_capability', (request) =>
    asking(request, { sampled: sample('Whatever you like') }),
  ),
  tool('test_streaming_elicitation', (request) => asking(request, { user_name: NAME })),
  tool('test_trigger_tool_change', ({ listsChanged }) => {
    listsChanged()
    return answer('Told.')
  }),
  tool('test_trigger_prompt_change', ({ listsChanged }) => {
    listsChanged()
    return answer('Told.')
  }),
  tool('test_input_required_result_elicitation', (request) =>
    asking(request, { user_name: NAME }, { prefix: 'Hello' }),
  ),
  tool('test_input_required_result_sampling', (request) =>
    asking(request, { capital_question: sample('What is the capital of France?') }),
  ),
  tool('test_input_required_result_list_roots', (request) =>
    asking(request, { client_roots: ROOTS }),
  ),
  tool('test_input_required_result_request_state', (request) =>
    asking(
      request,
      { confirm: ask('Please confirm', { ok: { type: 'boolean' } }) },
      { state: 'confirm', prefix: 'state-ok' },
    ),
  ),
  tool('test_input_required_result_tampered_state', (request) =>
    asking(request, { user_name: NAME }, { state: 'name' }),
  ),
  tool('test_input_required_result_multiple_inputs', (request) =>
    asking(
      request,
      { user_name: NAME, greeting: sample('Generate a greeting', 50), client_roots: ROOTS },
      { state: 'all' },
    ),
  ),
  tool('test_input_required_result_multi_round', (request) => {
    const color = ask('Step 2: What is your favorite color?', { color: STRING })
    const name = ask('Step 1: What is your name?', { name: STRING })
    if (request.cameBack('named') || request.cameBack('colored')) {
      return asking(request, { step2: color }, { state: 'colored' })
    }
    return asking(request, { step1: name }, { state: 'named' })
  }),
  tool('test_input_required_result_capabilities', ({ envelope, inputResponses }) => {
    const { sampling, elicitation } = capabilitiesOf(envelope)
    const asked = {
      ...(sampling !== undefined && { greeting: sample('Generate a greeting') }),
      ...(elicitation !== undefined && { user_name: NAME }),
    }
    const isAsked = inputResponses === undefined && Object.keys(asked).length > 0
    return isAsked ? inputRequired({ inputRequests: asked }) : answer('Nothing was asked.')
  }),
]
