// optional: oauth
import { person } from '../identity/browser.ts'

/**
 * A person and a browser, for `BROWSER`: `node person.ts ACCOUNT yes|no PAGE` logs in there, answers the
 * question for consent, and goes where the issuer sends the browser.
 */
const [account = '', consent, page = ''] = process.argv.slice(2)
const back = await person(account, consent === 'no' ? 'no' : 'yes').visit(new URL(page))
await fetch(back)
