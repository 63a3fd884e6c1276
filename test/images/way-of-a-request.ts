import { DENIALS } from '../../src/errors.ts'
import { textOf } from '../source-tree.ts'

/** What each control asks, in a few words. The order is that of `src/app.ts`. */
const QUESTIONS: Readonly<Record<string, string>> = {
  listen: 'Is it HTTP, in time, and not too large?',
  'request-id': 'Which request is this, from which address?',
  'security-headers': 'What must no browser do with the answer?',
  audit: 'Can it go on record?',
  'wire-guard': 'Would two parsers read it alike?',
  overload: 'Is there room for more?',
  'address-limit': 'How often has this address asked?',
  'host-guard': 'Is it meant for this server?',
  'origin-guard': 'May this web page call at all?',
  cors: 'May this web page read the answer?',
  route: 'Is there anything at this path?',
  authenticate: 'Who is it?',
  'credential-watch': 'Does the credential still hold?',
  'principal-limit': 'How often, and how much at once, does this caller ask?',
  'session-guard': 'Is it the session of this caller?',
  'parse-message': 'Is the body exactly one message?',
  'principal-calls': 'How many calls has this caller open?',
  'protocol-guard': 'Do headers and body say the same?',
  authorize: 'May this caller use this tool with this input?',
  'task-guard': 'Can the client follow what begins?',
  'call-limit': 'Is the tool free for this caller?',
}

/** Where records of the trail are written. */
const RECORDS: Readonly<Record<string, string>> = {
  audit: 'request, at the end',
  authenticate: 'authn.fail',
  authorize: 'decision, before it runs',
}

const WIDTH = 860
const ROW = 30
const TOP = 70

/** The picture of the README, as SVG that follows the colours of its reader. */
export function wayOfARequest(): string {
  const names = ['listen', ...controlsOf(textOf('src/app.ts'))]
  const bottom = TOP + names.length * ROW
  const rows = names.map((name, index) => row(name, TOP + index * ROW))
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${bottom + 96}" role="img" aria-labelledby="title">
<title id="title">The way of a request: ${names.join(', ')}, then the tool</title>
<style>
  text { font: 14px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: #1f2328 }
  .name { font: 600 13px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace }
  .head, .small { fill: #59636e; font-size: 12px }
  .status { fill: #b42318; font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace }
  .record { fill: #1a6f3c; font-size: 12px }
  .box { fill: #f6f8fa; stroke: #d1d9e0 }
  .end { fill: #ddf4ff; stroke: #54aeff }
  .way, .back { stroke: #59636e; stroke-width: 1.5; fill: none }
  .back { stroke-dasharray: 4 3 }
  .stop { fill: #59636e }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .head, .small { fill: #9198a1 }
    .status { fill: #ff9492 }
    .record { fill: #56d364 }
    .box { fill: #151b23; stroke: #3d444d }
    .end { fill: #0c2d48; stroke: #388bfd }
    .way, .back { stroke: #9198a1 }
    .stop { fill: #9198a1 }
  }
</style>
<rect class="end" x="40" y="8" width="500" height="28" rx="6"/>
<text x="54" y="27">A client sends a request</text>
<text class="head" x="562" y="56">refused with</text>
<text class="head" x="690" y="56">on record as</text>
<path class="way" d="M 40 28 H 24 V ${bottom + 20} H 38 m -6 -4 l 6 4 l -6 4"/>
<path class="back" d="M 40 ${bottom + 32} H 10 V 16 H 36"/><path class="way" d="M 32 12 l 6 4 l -6 4"/>
${rows.join('\n')}
<rect class="end" x="40" y="${bottom + 12}" width="500" height="28" rx="6"/>
<text x="54" y="${bottom + 31}">The tool runs, under a deadline, and tells how far it is</text>
<text class="record" x="690" y="${bottom + 31}">outcome</text>
<text class="small" x="40" y="${bottom + 66}">The answer goes back past them: its headers are set, slots are given back when it has ended, the request goes on record.</text>
</svg>
`
}

/** Names of the controls, in their order. */
function controlsOf(app: string): readonly string[] {
  return [...app.matchAll(/^ {2}app\.use\((\w+)\(/gm)].map(([, factory = '']) =>
    factory.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`),
  )
}

function row(name: string, y: number): string {
  const question = QUESTIONS[name]
  if (question === undefined) throw new Error(`What does ${name} ask?`)
  const statuses = Object.entries(DENIALS)
    .filter(([reason]) => reason.startsWith(`${name}.`))
    .map(([, { status }]) => status)
  const all = [...new Set(statuses)].sort((a, b) => a - b).join(' ')
  const record = RECORDS[name] ?? ''
  return `<circle class="stop" cx="24" cy="${y + 12}" r="3.5"/><path class="way" d="M 24 ${y + 12} H 40"/>
<rect class="box" x="40" y="${y}" width="500" height="24" rx="5"/>
<text class="name" x="54" y="${y + 17}">${name}</text><text x="196" y="${y + 17}">${question}</text>
<text class="status" x="562" y="${y + 17}">${all}</text><text class="record" x="690" y="${y + 17}">${record}</text>`
}
