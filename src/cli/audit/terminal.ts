/** Where a command writes. */
export interface Terminal {
  /** Results alone. */
  out(text: string): void
  /** Notes, problems and usage. */
  err(text: string): void
  /** Whether results may be coloured. */
  readonly colors: boolean
  /** Whether somebody watches notes as they come. */
  readonly watched: boolean
}

/** What is wrong with the arguments. Exit code 2. */
export class UsageError extends Error {}

const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\p{Cs}]/gu

/**
 * Text from a log, for a terminal: whoever edited the log may have put control sequences in.
 *
 * Source: CWE-150, CVE-2021-42574.
 */
export function shown(text: string): string {
  return text.replace(UNSAFE, '\ufffd')
}

/** For numbers of records. */
export function grouped(count: number): string {
  return count.toLocaleString('en-US')
}
