import { describe, expect, it } from 'vitest'
import { prompts } from '../../src/prompts/index.ts'
import { resources } from '../../src/resources/index.ts'
import { tools } from '../../src/tools/index.ts'

describe('contract: what the template serves', () => {
  it('comes in a fixed order', () => {
    expect(tools.map(({ name }) => name)).toEqual([
      'echo',
      'whoami',
      'process_documents',
      'delete_report',
    ])
    expect(resources.map(({ uriTemplate }) => uriTemplate)).toEqual(['report://{id}'])
    expect(prompts.map(({ name }) => name)).toEqual(['summarize_report'])
  })
})
