/** @import { PageConfig, Token } from '../types.ts' */
import { stayConnected } from './connection.js'
import { byId, create } from './dom.js'
import { entrance } from './entrance.js'
import { explain } from './explain.js'
import { mcpClient } from './mcp.js'
import { returnFromIssuer, signIn } from './oauth.js'
import { toolsOf } from './tools.js'

/** @type {PageConfig} */
const config = await (await fetch('/config.json')).json()
const notice = byId('notice', HTMLElement)
/** Ends the connection. */
let end = new AbortController()

/**
 * @param {'off' | 'busy' | 'on' | 'lost'} state
 * @param {string} text
 */
function show(state, text) {
  document.body.dataset['connection'] = state
  byId('status', HTMLElement).textContent = text
}

/** @param {unknown} error that concerns the page as a whole */
function report(error) {
  notice.replaceChildren(create('p', {}, explain(error).text))
}

/** @param {boolean} isConnected */
function layOut(isConnected) {
  byId('connect', HTMLElement).hidden = isConnected
  byId('workspace', HTMLElement).hidden = !isConnected
  byId('disconnect', HTMLElement).hidden = !isConnected
}

function disconnect() {
  end.abort()
  notice.replaceChildren()
  byId('calls', HTMLElement).replaceChildren()
  byId('no-calls', HTMLElement).hidden = false
  layOut(false)
  show('off', 'Not connected')
  byId('key', HTMLElement).focus()
}

/**
 * @param {string} credential API key or access token
 * @param {Token} [token] where it came from, when it is a token
 * @param {string | null} [tool] to open
 */
async function connect(credential, token, tool) {
  end.abort()
  end = new AbortController()
  const { signal } = end
  const client = mcpClient(config.server, credential)
  /** @param {unknown} error */
  const refused = (error) => {
    disconnect()
    report(error)
  }
  const tools = toolsOf(
    client,
    { credentialRefused: refused, signInForMore: token && stepUp(token) },
    signal,
  )

  notice.replaceChildren()
  show('busy', 'Connecting')
  try {
    const { name } = await client.discover(signal)
    await tools.refresh(tool)
    layOut(true)
    show('on', `Connected to ${name}`)
    byId('tools-title', HTMLElement).focus()

    const refresh = () => tools.refresh().catch(report)
    const open = () => {
      if (document.body.dataset['connection'] === 'on') return
      show('on', `Connected to ${name} again`)
      void refresh()
    }
    const lost = (/** @type {number} */ waitMs) =>
      show('lost', `Connection lost. Trying again in ${Math.ceil(waitMs / 1000)} s`)
    await stayConnected(client, { open, lost, change: refresh, refused }, signal)
  } catch (error) {
    if (!signal.aborted) refused(error)
  }
}

/**
 * Signs in again for more, at the issuer of the token in use.
 *
 * @param {Token} token
 * @returns {(scopes: readonly string[], tool: string) => void}
 */
function stepUp({ issuer, scopes: granted }) {
  return (needed, tool) => {
    const scopes = [...new Set([...granted, ...needed])]
    const clientId = config.clientId ?? ''
    signIn({ issuer, clientId, server: config.server, scopes, tool }).catch(report)
  }
}

byId('server', HTMLElement).textContent = config.server
byId('disconnect', HTMLButtonElement).addEventListener('click', disconnect)
// A file that misses its place would otherwise replace the page.
for (const type of ['dragover', 'drop']) {
  addEventListener(type, (event) => event.preventDefault())
}
show('off', 'Not connected')
void entrance(config, { key: (key) => void connect(key), problem: report })
try {
  const back = await returnFromIssuer(config.server)
  if (back !== undefined) await connect(back.token.accessToken, back.token, back.tool)
} catch (error) {
  report(error)
}
