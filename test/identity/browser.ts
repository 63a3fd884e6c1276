// optional: oauth
import { z } from 'zod'

/** Somebody at a browser, with an account at the authorization servers of the tests. */
export interface Person {
  /**
   * Opens a page of an issuer, logs in and answers the question for consent.
   *
   * @returns where the issuer sends the browser in the end: a place that is not the issuer's own. It
   *   is not opened.
   * @throws {Error} with the issuer's text when it shows an error page.
   */
  visit(page: URL): Promise<URL>
  /** What issuers have asked so far, oldest first. */
  readonly asked: readonly Question[]
}

const question = z.object({
  prompt: z.enum(['login', 'consent']),
  client: z.string(),
  scope: z.string(),
})

/** The page of `startAuthorizationServer`. */
export type Question = z.output<typeof question>

/** @param consent what the person says when asked for consent */
export function person(account: string, consent: 'yes' | 'no' = 'yes'): Person {
  const cookies = new Map<string, string>()
  const asked: Question[] = []

  async function open(url: URL, form?: Readonly<Record<string, string>>): Promise<URL> {
    const response = await fetch(url, {
      redirect: 'manual',
      headers: { cookie: [...cookies].map((pair) => pair.join('=')).join('; ') },
      ...(form === undefined ? {} : { method: 'POST', body: new URLSearchParams(form) }),
    })
    for (const line of response.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? []
      if (value === '') cookies.delete(name)
      else cookies.set(name, value)
    }
    const location = response.headers.get('location')
    if (location !== null) {
      const next = new URL(location, url)
      return next.origin === url.origin ? open(next) : next
    }
    if (response.status !== 200) throw new Error(await response.text())
    const page = question.parse(await response.json())
    asked.push(page)
    return open(url, page.prompt === 'login' ? { login: account } : { consent })
  }

  return { asked, visit: (page) => open(page) }
}
