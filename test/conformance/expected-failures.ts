/**
 * Scenarios of the suite that need a session: the server asks the client in the middle of a call, or
 * tells it later of a resource. Without sessions a 2025 client cannot be asked or told, and the server
 * says so instead of pretending.
 */
export const NEED_SESSIONS: readonly string[] = [
  'elicitation-sep1034-defaults',
  'elicitation-sep1330-enums',
  'resources-subscribe',
  'resources-unsubscribe',
  'tools-call-elicitation',
  'tools-call-sampling',
]
