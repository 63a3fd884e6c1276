import { z } from 'zod'

/** Input and output of `echo`, the tool that is measured: the same in every server. */
export const echoInput = (): z.ZodObject<{ text: z.ZodString }> =>
  z.strictObject({ text: z.string().max(65_536).describe('Text to return.') })

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
