// optional: tasks

/** MCP Tasks extension (SEP-2663), in capabilities of clients and servers. */
export const TASKS_EXTENSION = 'io.modelcontextprotocol/tasks'

const CAPABILITIES = 'io.modelcontextprotocol/clientCapabilities'

/** Whether a request says that its client can follow a task. What earlier ones said does not count. */
export function declaresTasks(params: Readonly<Record<string, unknown>> | undefined): boolean {
  const capabilities = memberOf(memberOf(params, '_meta'), CAPABILITIES)
  const declared = memberOf(memberOf(capabilities, 'extensions'), TASKS_EXTENSION)
  return typeof declared === 'object' && declared !== null
}

function memberOf(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined
  return Reflect.get(value, name)
}
