import type { Server, ServerEvent } from '@modelcontextprotocol/server'

/** Tells the client of a connection what has changed. A client that has left hears nothing. */
export async function tell(server: Server, event: ServerEvent): Promise<void> {
  await notification(server, event).catch(() => undefined)
}

function notification(server: Server, event: ServerEvent): Promise<void> {
  switch (event.kind) {
    case 'tools_list_changed':
      return server.sendToolListChanged()
    case 'resources_list_changed':
      return server.sendResourceListChanged()
    case 'prompts_list_changed':
      return server.sendPromptListChanged()
    case 'resource_updated':
      return server.sendResourceUpdated({ uri: event.uri })
  }
}
