// optional: oauth
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import {
  type AuthorizationServer,
  startAuthorizationServer,
} from '../identity/authorization-server.ts'
import { issuersPolicy } from '../identity/target.ts'
import { type Server, startServer, stopServers } from '../server.ts'
import { type Chromium, describeInChromium } from './chromium.ts'
import { type Console, openConsole, status } from './console.ts'

let issuer: AuthorizationServer
let server: Server
beforeAll(async () => {
  issuer = await startAuthorizationServer()
  server = await startServer({ policies: [issuersPolicy([issuer])] })
})
afterAll(async () => {
  await stopServers()
  await issuer[Symbol.asyncDispose]()
})

function openPage(chromium: Chromium): Promise<Console> {
  const { client_id: clientId } = issuer.publicClient
  return openConsole(chromium, server.url, { issuers: [issuer.url], clientId })
}

/** The person answers the page of the issuer, which asks in JSON. */
async function answer(page: Page, prompt: 'login' | 'consent', value: string): Promise<void> {
  await page.waitForURL(`${issuer.url}/interaction/**`)
  await page.getByText(`"prompt":"${prompt}"`).waitFor()
  await page.evaluate(`(() => {
    const form = document.createElement('form')
    form.method = 'POST'
    const field = document.createElement('input')
    Object.assign(field, { name: '${prompt}', value: '${value}' })
    form.append(field)
    document.body.append(form)
    form.submit()
  })()`)
}

/** Goes to the issuer, and no further. @returns the state */
async function begin(page: Page): Promise<string | null> {
  const asked = page.waitForRequest((request) => new URL(request.url()).pathname === '/auth')
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.waitForURL(`${issuer.url}/interaction/**`)
  return new URL((await asked).url()).searchParams.get('state')
}

async function signIn({ page }: Console, consent: 'yes' | 'no' = 'yes'): Promise<void> {
  await page.getByRole('checkbox', { name: 'reports:delete' }).uncheck()
  await begin(page)
  await answer(page, 'login', 'alice')
  await answer(page, 'consent', consent)
}

/** What of the sign-in the browser has kept beyond the memory of the page. */
const kept = (page: Page): Promise<unknown> =>
  page.evaluate('[location.href, ...Object.values({ ...sessionStorage, ...localStorage })]')

const tokenRequests = (): number => issuer.requests.filter(({ url }) => url === '/token').length

describeInChromium('contract: a person signs in at a real issuer, with PKCE', (chromium) => {
  it('connects with the token, which is in memory alone', async () => {
    await using at = await openPage(chromium)
    const home = at.page.url()
    const pages: URL[] = []
    at.page.on('request', (request) => {
      if (request.isNavigationRequest()) pages.push(new URL(request.url()))
    })
    await signIn(at)
    await status(at.page, /^Connected/)
    expect(await kept(at.page)).toEqual([home])
    const asked = pages.find(({ pathname }) => pathname === '/auth')?.searchParams
    expect(Object.fromEntries(asked ?? [])).toEqual({
      response_type: 'code',
      client_id: issuer.publicClient.client_id,
      redirect_uri: `${home}callback`,
      scope: 'documents:process mcp:use reports:read',
      resource: server.url,
      state: expect.stringMatching(/^[\w-]{43}$/),
      code_challenge: expect.stringMatching(/^[\w-]{43}$/),
      code_challenge_method: 'S256',
    })
    await at.tool('Who am I')
    await at.run()
    await at.call.getByText('Done', { exact: true }).waitFor()
    expect(await at.call.locator('dl').textContent()).toMatch(/kindoauth.*subjectalice/)
    const ownErrors = at.errors.filter((text) => !text.startsWith(issuer.url)) // It has no icon.
    expect(ownErrors).toEqual([])
  })

  it('asks for more rights when a tool needs them, and comes back to that tool', async () => {
    await using at = await openPage(chromium)
    await signIn(at)
    await status(at.page, /^Connected/)
    await at.tool('Delete a report')
    await at.field('id').fill('x'.repeat(22))
    await at.run()
    await at.call.getByText('This needs more rights: mcp:use, reports:delete').waitFor()
    await at.page.getByRole('button', { name: 'Sign in with these rights' }).click()
    await answer(at.page, 'consent', 'yes')
    await status(at.page, /^Connected/)
    await at.field('id').fill('x'.repeat(22))
    await at.run()
    await at.call.getByText('Done', { exact: true }).waitFor()
    expect(await at.call.locator('dl').textContent()).toBe('deletedfalse')
  })

  it('says so when the person says no', async () => {
    await using at = await openPage(chromium)
    await signIn(at, 'no')
    await at.page.getByText('You, or a policy of the issuer, said no.').waitFor()
    await status(at.page, /^Not connected/)
  })
})

describeInChromium(
  "threat: a code of somebody else, the person works under an attacker's account",
  (chromium) => {
    /** Somebody leads the browser to the page with a code that the person never asked for. */
    async function inject(page: Page, home: string, parameters: object): Promise<void> {
      const all = { code: 'stolen', iss: issuer.url, ...parameters }
      const entries = Object.entries(all).filter(([, value]) => value !== undefined)
      await page.goto(`${home}callback?${new URLSearchParams(entries)}`)
    }

    it('refuses a code when nobody has begun to sign in', async () => {
      await using at = await openPage(chromium)
      const before = tokenRequests()
      await inject(at.page, at.page.url(), { state: 'any' })
      await at.page.getByText('Nobody has begun to sign in here.').waitFor()
      expect(tokenRequests()).toBe(before)
    })

    it.each<[string, object]>([
      ['another state', { state: 'x'.repeat(43) }],
      ['no state', { state: undefined }],
      ['another issuer', { iss: 'https://evil.example' }],
      ['no issuer', { iss: undefined }],
    ])('refuses a code with %s, and the sign-in is over', async (_name, change) => {
      await using at = await openPage(chromium)
      const { page } = at
      const home = page.url()
      const state = await begin(page)
      const before = tokenRequests()
      await inject(page, home, { state, ...change })
      await page.getByText('The answer does not belong to this sign-in').waitFor()
      await status(page, /^Not connected/)
      expect(tokenRequests()).toBe(before)
      expect(await kept(page)).toEqual([home])

      await inject(page, home, { state })
      await page.getByText('Nobody has begun to sign in here.').waitFor()
      expect(tokenRequests()).toBe(before)
    })

    it('redeems a code with the right ones, which only the issuer then refuses', async () => {
      await using at = await openPage(chromium)
      const { page } = at
      const home = page.url()
      const state = await begin(page)
      const before = tokenRequests()
      await inject(page, home, { state })
      await page.getByText('The issuer refused: invalid_grant.').waitFor()
      expect(tokenRequests()).toBeGreaterThan(before)
    })
  },
)
