import { expect } from 'vitest'
import type { Server } from '../server.ts'

/** One sample of the text format of Prometheus. */
export interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

export interface Scrape {
  readonly text: string
  /** Type by name of each metric, whether it has samples or not. */
  readonly types: ReadonlyMap<string, string>
  readonly samples: readonly Sample[]
  /** Sum of the samples of this name that have these labels; 0 when there are none. */
  total(name: string, labels?: Readonly<Record<string, string>>): number
}

const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"(?:,|$)/g

export async function scrape({ adminUrl }: Pick<Server, 'adminUrl'>): Promise<Scrape> {
  const response = await fetch(`${adminUrl}/metrics`)
  expect(response.status).toBe(200)
  expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
  return parse(await response.text())
}

/** @throws {Error} for a line that is not of the format. */
function parse(text: string): Scrape {
  const lines = text.split('\n').filter((line) => line !== '')
  const types = new Map(
    lines.flatMap((line): [string, string][] => {
      const [, name = '', type = ''] = /^# TYPE (\S+) (\S+)$/.exec(line) ?? []
      return name === '' ? [] : [[name, type]]
    }),
  )
  const samples = lines
    .filter((line) => !line.startsWith('# '))
    .map((line): Sample => {
      const [, name, labels = '', value] = SAMPLE.exec(line) ?? []
      if (name === undefined) throw new Error(`Not a sample: ${line}`)
      const pairs = [...labels.matchAll(LABEL)].map(([, label = '', is = '']) => [label, is])
      return {
        name,
        labels: Object.fromEntries(pairs),
        value: Number(value?.replace('Inf', 'Infinity')),
      }
    })
  return {
    text,
    types,
    samples,
    total: (name, labels = {}) =>
      samples
        .filter((sample) => sample.name === name)
        .filter((sample) => Object.entries(labels).every(([key, is]) => sample.labels[key] === is))
        .reduce((sum, { value }) => sum + value, 0),
  }
}
