import { z } from 'zod'
import { defineTool, type Tool, ToolError } from '../../src/define.ts'

/** What the service answers. It is another party: its answers are parsed as strictly as a caller's input. */
const answer = z.object({ rate: z.number().positive() })

const currency = z
  .string()
  .max(3)
  .regex(/^[A-Z]{3}$/)

/**
 * A tool that asks another service. It holds no credential: `policies/egress.yaml` names a file, and the
 * server adds what is in it. The token of the caller was issued for this server and stays here.
 *
 * @param service origin and path of the service; the policy has to list it
 */
export function exchangeRate(service: string): Tool {
  return defineTool({
    name: 'exchange_rate',
    title: 'Exchange rate',
    description: 'Tells the rate of the day between two currencies.',
    annotations: { readOnlyHint: true, idempotentHint: true, openWorldHint: true },
    input: z.strictObject({
      from: currency.describe('ISO 4217 code, such as EUR.'),
      to: currency.describe('ISO 4217 code, such as USD.'),
    }),
    output: z.strictObject({ rate: z.number().describe('Units of `to` for one unit of `from`.') }),
    longRunning: false,

    async run({ from, to }, { fetch }) {
      const response = await fetch(`${service}/v1/rates/${from}/${to}`)
      if (response.status === 404) throw new ToolError('There is no rate for these currencies.')
      if (response.status !== 200) throw new Error(`The service answered ${response.status}`)
      const { rate } = answer.parse(response.json())
      return { rate }
    },
  })
}
