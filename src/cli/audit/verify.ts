import type { Damage, Place } from '../../audit/damage.ts'
import { inOrder, linesOf, sizeOf } from '../../audit/log-files.ts'
import { createVerifier, type Verdict, type VerifierOptions } from '../../audit/verifier.ts'
import type { WriterState } from '../../audit/writer-state.ts'
import { progress } from './progress.ts'
import { grouped, shown, type Terminal } from './terminal.ts'

/**
 * Verifies a log and says what was verified, and what was not.
 *
 * @returns the exit code: 0 complete and unchanged, 1 damaged
 */
export async function verify(
  files: readonly string[],
  options: VerifierOptions,
  terminal: Terminal,
): Promise<0 | 1> {
  const verdict = await read(files, options, terminal)
  const { damage, records, writers, torn } = verdict
  if (damage !== undefined) {
    terminal.out(`${damageText(damage)}\n`)
    terminal.err(`${grouped(records)} records before it are in order. The rest was not verified.\n`)
    return 1
  }
  const unsigned = writers.reduce((sum, writer) => sum + unsignedOf(writer), 0)
  const unverified = options.macKeys.size > 0 ? 0 : unsigned
  const whose = `of ${grouped(writers.length)} ${writers.length === 1 ? 'writer' : 'writers'}`
  terminal.out(`${grouped(records - unverified)} records ${whose}: complete and unchanged.\n`)
  if (unverified > 0) {
    terminal.out(`${grouped(unverified)} records are NOT verified: no signature covers them.\n`)
  }
  terminal.out('\n')
  for (const writer of writers) terminal.out(writerText(writer, options))
  for (const place of torn) terminal.out(tornText(place))
  terminal.out('\nHeads, for --head of the next verification:\n')
  for (const { writer, sequence, mac } of writers) terminal.out(`  ${writer}:${sequence}:${mac}\n`)
  if (options.publicKeys.size === 0) {
    terminal.out('\nSignatures were not verified: no --public-key.\n')
  }
  terminal.out(`\n${LIMITS}`)
  return 0
}

const LIMITS = `No chain shows records that were cut off behind the last one of a writer (compare with a
head that you keep elsewhere), a whole writer that nobody names, or what was written by somebody who
holds the keys.
`

async function read(
  files: readonly string[],
  options: VerifierOptions,
  terminal: Terminal,
): Promise<Verdict> {
  const verifier = createVerifier(options)
  const bar = progress(terminal, sizeOf(files))
  try {
    for (const file of await inOrder(files)) {
      let line = 0
      for await (const batch of linesOf(file, bar.add)) {
        for (const raw of batch) {
          line += 1
          if (!verifier.add(raw, { file, line })) return verifier.finish()
        }
      }
    }
    return verifier.finish()
  } finally {
    bar.end()
  }
}

/** One line: where, what kind, which record, in words. */
function damageText({ kind, place, writer, sequence, detail }: Damage): string {
  const where = place === undefined ? '' : `${shown(place.file)}:${place.line}: `
  const number = sequence === undefined ? '' : ` record ${sequence}`
  const whose = writer === undefined ? '' : `,${number} of writer ${writer}`
  return `${where}${kind}${whose}. ${detail}`
}

function writerText(state: WriterState, { publicKeys }: VerifierOptions): string {
  const { writer, first, sequence, stopped, dropped, signed } = state
  const facts = [
    ...(first.sequence === 1 ? [] : [`begins at ${grouped(first.sequence)}`]),
    stopped ? 'ends with server.stop' : 'no server.stop: it runs, was killed, or was cut',
    ...(dropped === 0 ? [] : [`${grouped(dropped)} lost to full queues, as it says itself`]),
    ...(publicKeys.size === 0 ? [] : [signedText(signed)]),
  ]
  return `${writer}  ${grouped(first.sequence)} to ${grouped(sequence)}  ${facts.join('; ')}\n`
}

function signedText(signed: WriterState['signed']): string {
  return signed === undefined
    ? 'not signed'
    : `signed from ${grouped(signed.from)} to ${grouped(signed.to)}`
}

function tornText({ file, line }: Place): string {
  return `${shown(file)}:${line} is half a record of a killed process, as the next chain says.\n`
}

function unsignedOf({ first, sequence, signed }: WriterState): number {
  const all = sequence - first.sequence + 1
  return signed === undefined ? all : all - (signed.to - signed.from + 1)
}
