import { stripVTControlCharacters } from 'node:util'

/** Longest text a record keeps, UTF-16 code units. */
const MAX_TEXT_LENGTH = 256

/** How much of a text is looked at: a bound on the work that a caller can cause. */
const MAX_INPUT_LENGTH = 1024

const PLAIN = /^[ -~]{0,256}$/

/**
 * Control characters (C0, C1), format characters (bidirectional overrides, zero-width, tags), line
 * and paragraph separators, and whatever else a display leaves out.
 */
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu

/** An API key of this server or a JWT, whole or cut off: callers put them into paths and ids. */
const CREDENTIAL = /mcpk_[\w-]+|eyJ[\w-]{8,}(?:\.[\w-]*)*/g

/**
 * Text of a caller as records may show it: terminal sequences and invisible characters removed, what
 * looks like a credential masked, at most 256 long, well-formed (a lone surrogate becomes U+FFFD).
 * What a person reads in a record is all there is to it; quotes and backslashes are left to the JSON
 * encoding.
 *
 * Source: CWE-117 (log injection), CWE-150 (terminal sequences), CWE-532 (secrets in logs),
 * CVE-2021-42574 (Trojan Source).
 */
export function cleanText(text: string): string {
  const visible = PLAIN.test(text)
    ? text
    : stripVTControlCharacters(text.slice(0, MAX_INPUT_LENGTH)).replace(INVISIBLE, '')
  return visible.replace(CREDENTIAL, '[credential]').slice(0, MAX_TEXT_LENGTH).toWellFormed()
}
