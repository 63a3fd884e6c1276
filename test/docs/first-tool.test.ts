import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { newcomer, stepsOf } from '../pages.ts'
import { startServer, stopServers } from '../server.ts'
import { textOf } from '../source-tree.ts'

/** Guards against hanging: compilers run here, on machines that do other things as well. */
const SLOW_MS = 600_000
const DEV = 'npm run dev\n'
const URL_OF_THE_PAGE = 'http://127.0.0.1:3000/mcp'

const person = await newcomer()
const clone = join(person.folder, 'gatehouse')
afterAll(async () => {
  await stopServers()
  await person[Symbol.asyncDispose]()
})

/** The server that `npm run dev` starts, on a free port. */
async function calling(command: string): Promise<string> {
  const { url, key, stop } = await startServer({
    entry: join(clone, 'src/main.ts'),
    env: { MCP_POLICY_DIR: join(clone, 'policies') },
  })
  const line = `exec 2>&1; ${command.replace(URL_OF_THE_PAGE, url)}`
  const answer = await person.run(line, clone, { KEY: key })
  await stop()
  return answer
}

const SHOWN = /^```text\n(.*?)^```$/ms.exec(textOf('docs/first-tool.md'))?.[1] ?? ''

describe('contract: docs/first-tool.md makes a tool that is called, and its tests', () => {
  it.each(stepsOf('docs/first-tool.md'))(
    '%s',
    async (heading, blocks) => {
      for (const block of blocks) {
        if (block === DEV) continue
        if (!block.includes(URL_OF_THE_PAGE)) {
          await person.run(block, heading.startsWith('1.') ? person.folder : clone)
        } else expect(await calling(block)).toContain(SHOWN)
      }
    },
    SLOW_MS,
  )

  it('shows what it shows', () => expect(SHOWN).toContain('average: 3\n'))

  it('policies and tools can be found wrong', async () => {
    const test = 'npm run policy -- test policies/tests/access.yaml'
    await expect(
      person.run(`sed -i 's/"numbers:average"/"other"/' policies/access.yaml && ${test}`, clone),
    ).rejects.toThrow('averages for those who have it')
  })
})
