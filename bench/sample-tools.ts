import { z } from 'zod'

/** Input and output of `echo`: the same in every server. */
export const echoInput = (): z.ZodObject<{ text: z.ZodString }> =>
  z.strictObject({ text: z.string().max(65_536).describe('Text to return.') })

/** Input and output of `count`, which reports progress `steps` times and returns the number. */
export const countInput = (): z.ZodObject<{ steps: z.ZodInt }> =>
  z.strictObject({ steps: z.int().min(1).max(1000).describe('How often to report progress.') })

/** Input and output of `hold`, which reports progress once and then waits until the caller leaves. */
export const holdInput = (): z.ZodObject<{ text: z.ZodString }> => echoInput()

/** `echo`, `count` and `hold`; the other tools of a server are samples. */
export const NAMED_TOOLS = 3

/** A tool that is only there: what a list of tools costs the call of another one. */
export function sampleName(index: number): string {
  return `sample_${index}`
}

/** Eight fields of the usual kinds. Types are the wide ones, so that all samples have one type. */
export function sampleInput(index: number): z.ZodObject {
  return z.strictObject({
    id: z.string().min(1).max(64).describe(`Record of sample ${index}.`),
    title: z.string().max(200).describe('Title of the record.'),
    state: z.enum(['open', 'held', 'closed']).describe('State to look for.'),
    limit: z.int().min(1).max(100).describe('Most records to return.'),
    ratio: z.number().min(0).max(1).describe('Share of the records.'),
    exact: z.boolean().describe('Whether the title must be equal.'),
    tags: z.array(z.string().max(40)).max(20).describe('Tags that must all be there.'),
    owner: z.strictObject({
      name: z.string().max(100).describe('Name of the owner.'),
      unit: z.string().max(100).nullable().describe('Unit of the owner, if known.'),
    }),
  })
}

export function sampleOutput(): z.ZodObject {
  return z.strictObject({
    ids: z.array(z.string().max(64)).max(100).describe('Records found.'),
    total: z.int().min(0).describe('How many there are.'),
  })
}

/** What a server of `BENCH_TOOLS` tools has besides the named ones. */
export function samples(): readonly number[] {
  const tools = Number(process.env['BENCH_TOOLS'] ?? 10)
  return Array.from({ length: Math.max(0, tools - NAMED_TOOLS) }, (_, index) => index)
}

/** Resolves when the caller has left, or after an hour. */
export function untilGone(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, 3_600_000)
    signal.addEventListener('abort', () => {
      clearTimeout(timer)
      resolve()
    })
  })
}
